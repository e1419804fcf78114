"""Programs through a real node in this process: run to the end, readers that leave, cancelling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.node.clock import RealClock
from lithox.node.config import NodeConfig
from lithox.node.runs_from_outside import READER_GONE_NS
from lithox.security.identities import LOCAL_OPERATOR

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HELLO = """
print("hello", ...)
io.stderr:write("noted\\n")
return 7, "x"
"""
FLOOD = "local line = ('x'):rep(1023) .. '\\n' for i = 1, 3072 do io.write(line) end"
SLEEPER = "print('sleeping') os.sleep(3600000)"
READER = "print(io.read('l')) print(io.read('l'))"


class MovedClock(RealClock):
    """Real time, some of which a test may let pass at once."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def monotonic_ns(self) -> int:  # type: ignore[override]
        return RealClock.monotonic_ns() + self.ahead_ns


Work = Callable[[lithox.Node, MovedClock], Awaitable[None]]


def use(folder: Path, work: Work, **config: Any) -> None:
    """Runs `work(node, clock)` with an open node."""

    async def whole() -> None:
        clock = MovedClock()
        async with lithox.Node(folder / "data", config=NodeConfig(**config), clock=clock) as node:
            await work(node, clock)

    asyncio.run(whole())


@pytest.mark.parametrize("is_cooperative", [False, True])
def test_a_program_is_run_to_its_end(tmp_path, is_cooperative):
    """Its output by stream, its values, its mode; what is wrong is in the result."""

    async def work(node: lithox.Node, _clock: MovedClock) -> None:
        await node.store_set("program", "hello", HELLO)
        await node.store_set("program", "fail", "os.exit(9)")
        result = (await node.run("hello", 5, True)).check()
        assert (result.output, result.errors) == (b"hello\t5\ttrue\n", b"noted\n")
        assert (result.status, result.values) == (0, [7, "x"])
        failed = await node.run("fail")
        assert (failed.status, failed.code, failed.exit_status) == (9, "process.exited", 9)
        with pytest.raises(lithox.GuestError):
            failed.check()
        with pytest.raises(lithox.NotFound):
            await node.run("nothing-here")

    use(tmp_path, work, is_cooperative=is_cooperative)


def test_a_run_that_is_cancelled_ends_its_program(tmp_path):
    """Nothing runs on for nobody."""

    async def work(node: lithox.Node, _clock: MovedClock) -> None:
        await node.store_set("program", "sleeper", SLEEPER)
        running = asyncio.ensure_future(node.run("sleeper"))
        while not await _runs(node, "sleeper"):
            pass
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not await _runs(node, "sleeper")

    use(tmp_path, work)


async def _runs(node: lithox.Node, name: str) -> bool:
    """Returns whether a program of that name runs, once the node has had a turn."""
    await asyncio.sleep(0)
    return any(row.get("program") == name for row in node.processes(LOCAL_OPERATOR))


def test_a_reader_that_stays_away_is_told_what_it_missed(tmp_path):
    """The program goes on without it; the newest output is kept, and the rest is counted."""

    async def work(node: lithox.Node, clock: MovedClock) -> None:
        pid = await node.run_program(code=FLOOD, name="flood")
        first = await node.read_output(pid, wait_ms=10_000)
        assert first["missed"] == 0
        clock.ahead_ns += READER_GONE_NS + 1
        node.program_side.runs.sweep()
        while await _runs(node, "flood"):
            pass
        page = await node.read_output(pid, after=first["next"], wait_ms=10_000)
        kept = sum(len(chunk["data"]) for chunk in page["chunks"])
        assert page["missed"] > 0
        assert first["next"] + page["missed"] + kept == 3072 * 1024
        assert page["next"] == 3072 * 1024
        end = await node.read_output(pid, after=page["next"])
        assert (end["missed"], end["exit"]["status"]) == (0, 0)

    use(tmp_path, work)


def test_a_reader_that_comes_back_in_time_misses_nothing(tmp_path):
    """The same offset gives the same bytes until a later one is asked for."""

    async def work(node: lithox.Node, clock: MovedClock) -> None:
        pid = await node.run_program(code=FLOOD, name="flood")
        after, size, ended = 0, 0, None
        while ended is None:
            page = await node.read_output(pid, after=after, wait_ms=10_000)
            clock.ahead_ns += READER_GONE_NS // 2
            node.program_side.runs.sweep()
            again = await node.read_output(pid, after=after)
            assert again["chunks"][: len(page["chunks"]) - 1] == page["chunks"][:-1]
            assert page["missed"] == 0
            size += sum(len(chunk["data"]) for chunk in page["chunks"])
            after, ended = page["next"], page["exit"]
        assert size == 3072 * 1024

    use(tmp_path, work)


def test_waiting_for_input_is_told_once_each_time(tmp_path):
    """A reader hears at once that the program waits, then sleeps until there is something new."""

    async def work(node: lithox.Node, _clock: MovedClock) -> None:
        pid = await node.run_program(code=READER, name="reader")
        page = await node.read_output(pid, wait_ms=30_000)
        assert (page["chunks"], page["reading"]) == ([], True)
        waiting = asyncio.ensure_future(node.read_output(pid, wait_ms=30_000))
        await asyncio.sleep(0)
        assert not waiting.done()
        await node.write_input(pid, b"one\n")
        page = await waiting
        assert page["chunks"][0]["data"] == b"one\n"
        page = await node.read_output(pid, after=page["next"], wait_ms=30_000)
        assert page["reading"]
        await node.write_input(pid, b"", is_end=True)
        page = await node.read_output(pid, after=page["next"], wait_ms=30_000)
        assert page["chunks"][0]["data"] == b"nil\n"

    use(tmp_path, work)


def test_only_administrators_run_programs(tmp_path):
    """Refused by name, each time with an audit record."""
    nobody = lithox.Caller(identity=_as("nobody"), account=_as("nobody"))

    async def work(node: lithox.Node, _clock: MovedClock) -> None:
        pid = await node.run_program(code=SLEEPER, name="sleeper")
        refused: list[Callable[[], Awaitable[Any]]] = [
            lambda: node.run_program(code="", name="x", caller=nobody),
            lambda: node.read_output(pid, caller=nobody),
            lambda: node.write_input(pid, b"x", caller=nobody),
            lambda: node.run("x", caller=nobody),
        ]
        for ask in refused:
            with pytest.raises(lithox.NotPermitted):
                await ask()
        with pytest.raises(lithox.NotFound):
            node.process_show(pid, nobody)
        assert node.process_show(pid, LOCAL_OPERATOR)["program"] == "sleeper"

    use(tmp_path, work)


def _as(name: str) -> Any:
    return name

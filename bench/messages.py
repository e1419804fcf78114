"""Rows 30 to 32: messages and timers on SQLite, in process, with the real Lua guest.

    hop     from `self:send` in one handler to the first instruction of the handler it is for,
            one message at a time; beside it, messages a second from 64 callers
    due     10,000 timers of 1,000 entities that are due within one second: from the first due time
            to the last handler's run
    idle    processor time a node uses in a second of doing nothing, with 100,000 armed timers and
            with none, in interleaved rounds

The moment inside a handler is when its log line reaches the node, so a system call is in each end.

Usage: python -m bench.messages {hop,due,idle} [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any, Final

import uvloop

import lithox
from bench.counter import CALLERS, ROOT, data_directory
from bench.figures import ROUNDS_DEFAULT, Series, percentile, ratio_of, report, say

BUNDLE: Final = ROOT / "bench" / "bundles" / "messages"
HOPS: Final = 300
BURST: Final = 4_000
HOP_MS: Final = 2.0
DUE: Final = 10_000
DUE_ENTITIES: Final = 1_000
DUE_S: Final = 3.0
DUE_IN_MS: Final = 12_000
"""Time to arm them all before the first one is due."""
ARMED: Final = 100_000
ARMED_ENTITIES: Final = 100
FAR_MS: Final = 30 * 24 * 3600 * 1000
IDLE_S: Final = 3.0
IDLE_ALLOWED: Final = 1.5
"""Ratio above which idle time would have a cost that can be measured."""


class Probe:
    """When handlers logged: "sent" and "landed", by the number in the line."""

    def __init__(self, node: lithox.Node) -> None:
        self.sent: dict[int, float] = {}
        self.landed: dict[int, float] = {}
        self.count = 0
        self.last = 0.0
        node.dispatcher.runs.endpoints._log = self._note

    def _note(self, frame: object, level: str, text: str, fields: dict[str, Any]) -> None:
        del frame, level
        now = time.perf_counter()
        (self.sent if text == "sent" else self.landed)[fields["number"]] = now
        if text == "landed":
            self.count += 1
            self.last = now

    async def wait_landed(self, count: int) -> None:
        """Returns when `count` handlers have run."""
        while self.count < count:  # noqa: ASYNC110 - it must not slow the handlers it waits for
            await asyncio.sleep(0.002)


async def wait_quiet(node: lithox.Node) -> None:
    """Returns when no message waits and no request is open."""
    mail, dispatcher = node.dispatcher.mail, node.dispatcher
    while mail.waiting.count or dispatcher.open_count:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.005)


async def measure_hops(data: Path) -> tuple[float, float, float]:
    """Returns (median ms, 99th percentile ms, messages a second of 64 callers)."""
    async with lithox.Node(data) as node:
        await node.deploy(BUNDLE)
        await node.call("post/a", "send", "post/b", 0)
        await wait_quiet(node)
        probe = Probe(node)
        for number in range(1, HOPS + 1):
            await node.call("post/a", "send", f"post/b{number % 16}", number)
            await probe.wait_landed(number)
        hops = [(probe.landed[one] - probe.sent[one]) * 1e3 for one in probe.sent]
        await wait_quiet(node)
        probe.count = 0
        begun = time.perf_counter()

        async def caller(first: int) -> None:
            for number in range(first, BURST, CALLERS):
                await node.call(f"post/s{first}", "send", f"post/r{first}", number)

        await asyncio.gather(*map(caller, range(CALLERS)))
        await wait_quiet(node)
        rate = BURST / (time.perf_counter() - begun)
        return percentile(hops, 0.5), percentile(hops, 0.99), rate


def run_hop(rounds: int) -> None:
    median = Series(name="median hop", unit="ms")
    slow = Series(name="99th percentile", unit="ms")
    rate = Series(name="messages, 64 callers", unit="1/s")
    for number in range(rounds):
        with data_directory() as data:
            values = uvloop.run(measure_hops(data))
        for series, value in zip((median, slow, rate), values, strict=True):
            series.add(value)
        say(f"round {number + 1}: {values[0]:.2f} ms, {values[2]:,.0f} messages/s")
    report(
        row=30,
        what="Message: send to handler start",
        figure=median,
        reach="2 ms median",
        is_reached=median.median <= HOP_MS,
        beside=(slow, rate),
    )


async def measure_due(data: Path) -> float:
    """Returns seconds from the first due time to the last of 10,000 handlers."""
    async with lithox.Node(data) as node:
        await node.deploy(BUNDLE)
        probe = Probe(node)
        each = DUE // DUE_ENTITIES
        first_ms = time.time_ns() // 1_000_000 + DUE_IN_MS
        wall_to_counter = time.perf_counter() - time.time()
        names = [f"post/t{index}" for index in range(DUE_ENTITIES)]
        for start in range(0, DUE_ENTITIES, CALLERS):
            calls = (
                node.call(name, "arm", each, first_ms, 1_000)
                for name in names[start : start + CALLERS]
            )
            await asyncio.gather(*calls)
        late_s = time.time() - first_ms / 1e3
        if late_s > 0:
            say(f"arming took {late_s:.1f} s too long")
        await probe.wait_landed(DUE)
        return probe.last - (first_ms / 1e3 + wall_to_counter)


def run_due(rounds: int) -> None:
    took = Series(name="10,000 due in a second, all run", unit="s")
    for number in range(rounds):
        with data_directory() as data:
            took.add(uvloop.run(measure_due(data)))
        say(f"round {number + 1}: {took.values[-1]:.2f} s")
    report(
        row=31,
        what="Timers: 10,000 due in one second",
        figure=took,
        reach="3 s",
        is_reached=took.median <= DUE_S,
    )


async def fill(data: Path) -> None:
    """Arms 100,000 timers that are a month away."""
    async with lithox.Node(data) as node:
        await node.deploy(BUNDLE)
        far_ms = time.time_ns() // 1_000_000 + FAR_MS
        each = ARMED // ARMED_ENTITIES
        for index in range(ARMED_ENTITIES):
            await node.call(f"post/f{index}", "arm", each, far_ms, 1_000_000)


async def measure_idle(data: Path, armed: int) -> float:
    """Returns milliseconds of processor time in a second of an idle node."""
    async with lithox.Node(data) as node:
        await node.deploy(BUNDLE)
        timers = node.dispatcher.timers
        while timers.armed.count < armed:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)  # What follows a start is not idling.
        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(IDLE_S)
        return (time.process_time() - cpu) * 1e3 / (time.perf_counter() - begun)


def run_idle(rounds: int) -> None:
    with_timers = Series(name="idle with 100,000 timers", unit="ms/s")
    without = Series(name="idle with none", unit="ms/s")
    with data_directory() as full, data_directory() as empty:
        uvloop.run(fill(full))
        for number in range(rounds):
            with_timers.add(uvloop.run(measure_idle(full, ARMED)))
            without.add(uvloop.run(measure_idle(empty, 0)))
            say(f"round {number + 1}: {with_timers.values[-1]:.2f}, {without.values[-1]:.2f} ms/s")
    ratio = ratio_of(with_timers, without)
    report(
        row=32,
        what="Timers: 100,000 armed, node idle",
        figure=with_timers,
        yardstick=without,
        ratio=ratio,
        reach="no measurable cost",
        is_reached=ratio <= IDLE_ALLOWED,
    )


def main() -> None:
    """Measures what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("hop", "due", "idle"))
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    options = parser.parse_args()
    {"hop": run_hop, "due": run_due, "idle": run_idle}[options.what](options.rounds)


if __name__ == "__main__":
    main()

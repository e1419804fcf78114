"""The yardstick of durable runs: the bare store committing what real runs committed.

`capture` records the commits of real runs (cells read and written, values). `GroupCommit` replays
them on a store of its own: 64 outstanding, each answered by the next one as soon as it is durable,
all from the loop's thread. The thread is kept in one of three ways between submits:

    idle    it sleeps in the loop's poll; the writer's thread has the interpreter to itself
    busy    it never sleeps: it executes Python (reads a clock in a loop) for SPIN_US, lets the loop
            look for what has become durable, and spins again, as a thread does that has runs to
            dispatch. Nothing that is ready to be submitted waits for more than one spin.
    loaded  before each submit it executes Python for as long as the loop's thread took for a run
            (given as `work_us`), and sleeps when all that are outstanding wait for the disk: what
            a dispatcher of that cost would reach if it lost nothing to waiting
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import lithox
from bench.counter import CALLERS, increment, prepare
from lithox.store.contract import Commit, Store
from lithox.store.embedded.store import EmbeddedStore

SPIN_US: Final = 100
"""About one run of a dispatcher: what passes between two looks of the loop when it is busy."""
CAPTURED: Final = 4096


@dataclass(slots=True, kw_only=True)
class Captured:
    """Commits of real runs: `first` made the entities, `steady` came afterwards."""

    first: list[Commit]
    steady: list[Commit]

    def describe(self) -> str:
        """Returns what an average steady commit holds."""
        count = len(self.steady)
        cells = sum(len(one.writes) for one in self.steady) / count
        size = sum(len(value or b"") for one in self.steady for value in one.writes.values())
        reads = sum(len(list(one.reads)) for one in self.steady) / count
        return f"{cells:.2f} cells of {size / count / cells:.0f} bytes written, {reads:.2f} read"


async def capture(data: Path) -> Captured:
    """Returns the commits of a node's runs, by listening between dispatcher and store."""
    async with lithox.Node(data) as node:
        store: Store = node.dispatcher.runs.store
        found: list[Commit] = []
        submit = store.submit

        def listen(commit: Commit, on_done: Any) -> int | None:
            found.append(
                Commit(0, list(commit.reads), list(commit.ranges), dict(commit.writes), None)
            )
            return submit(commit, on_done)

        cast("Any", store).submit = listen
        await prepare(node)
        first, found = found, []
        for number in range(0, CAPTURED, CALLERS):
            await asyncio.gather(*[increment(node, number + index) for index in range(CALLERS)])
        return Captured(first=first, steady=found)


class GroupCommit:
    """A store that commits captured write sets; open it once, ask it for rates."""

    def __init__(self, path: Path, captured: Captured, *, outstanding: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = EmbeddedStore.open(path, post=self._loop.call_soon_threadsafe)
        self._captured = captured
        self._outstanding = outstanding
        self._next = 0

    async def fill(self) -> None:
        """Makes the entities, as the node did before its rounds."""
        for commit in self._captured.first:
            done = self._loop.create_future()
            self._submit(commit, lambda failure, done=done: done.set_result(failure))
            await done

    def _submit(self, commit: Commit, on_done: Callable[[Any], None]) -> None:
        store = self._store
        commit.snapshot_version = store.visible_version
        if store.submit(commit, on_done) is None:
            raise SystemExit("a replayed commit was refused; nothing else writes to this store")

    async def rate(self, *, seconds: float, is_busy: bool = False, work_us: float = 0) -> float:
        """Returns durable commits a second over `seconds`."""
        loop, steady = self._loop, self._captured.steady
        ended = loop.create_future()
        durable, out, end = 0, 0, time.perf_counter() + seconds

        def send() -> None:
            _spin(work_us)
            commit = steady[self._next % len(steady)]
            self._next += 1
            self._submit(commit, on_done)

        def on_done(failure: Exception | None) -> None:
            nonlocal durable, out
            if failure is not None:
                raise SystemExit(f"the store failed: {failure}")
            durable += 1
            out -= 1
            if time.perf_counter() < end:
                out += 1
                # Work for each in a turn of the loop of its own, as the dispatcher's pump takes.
                loop.call_soon(send) if work_us else send()
            elif out == 0:
                ended.set_result(None)

        def spin() -> None:
            _spin(SPIN_US)
            if not ended.done():
                loop.call_soon(spin)

        begun = time.perf_counter()
        out = self._outstanding
        for _ in range(out):
            send()
        if is_busy:
            loop.call_soon(spin)
        await ended
        return durable / (time.perf_counter() - begun)

    def close(self) -> None:
        """Closes the store. Blocks."""
        self._store.close()


def _spin(duration_us: float) -> None:
    """Executes Python for `duration_us`, holding the interpreter lock as far as it may."""
    end = time.perf_counter_ns() + round(duration_us * 1000)
    while time.perf_counter_ns() < end:
        pass

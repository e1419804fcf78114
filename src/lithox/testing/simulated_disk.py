"""A disk that is slow, fails, and forgets: the engine under a simulated node.

Theory of operation. Batches are written one after the other, as the embedded engine's writer does:
what is queued when one ends makes the next. A batch takes a drawn time and then is there as a
whole, or has failed as a whole; the node hears of it later, in its own time. A failed disk drops
what it is given until the core has withdrawn, then probes until writing works again.

    IDLE -> (something is queued) WRITING -> (synced) IDLE
                                  WRITING -> (failed) FAILED -> (withdrawn) PROBING -> IDLE

At a power cut the batch being written is a tail of rows of which any prefix may have reached the
disk, its end mark included or not. So is a failed batch after which nothing was written, whatever
ends the node: whoever reads the log next finds it or does not. What has its end mark is there after
the restart, anything else is rolled back as a whole, as SQLite's log does it (the end mark is the
commit frame, https://www.sqlite.org/walformat.html).

Invariants: what was synced is never lost; versions are never used twice, not even after a cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from lithox.errors import StoreUnavailable
from lithox.store.contract import Cell, Post, Range
from lithox.store.engine import AuditPart, Listener, Part, ResultKey
from lithox.store.memory import MemoryDisk
from lithox.testing.world import World

VERSION_STEP: Final = 1_000_000
"""Versions set aside at each start, so that those a cut has lost are not used again."""


class DiskState(Enum):
    """Where the disk stands between two events; see the module's header."""

    IDLE = "idle"
    WRITING = "writing"
    FAILED = "failed"
    PROBING = "probing"


@dataclass(slots=True, kw_only=True)
class DiskHabits:
    """How the disk behaves; a rate of 0 means never.

    Attributes:
        sync_ns: mean time of a sync.
        slow_one_in: one in so many syncs takes `SLOW_FACTOR` times as long.
        fail_one_in: one in so many batches cannot be written.
        probe_ns: time between two probes of a failed disk.
        batch_parts_max: parts of one batch.
    """

    sync_ns: int = 20_000
    slow_one_in: int = 0
    fail_one_in: int = 0
    probe_ns: int = 100_000
    batch_parts_max: int = 64


SLOW_FACTOR: Final = 40


@dataclass(slots=True, kw_only=True)
class Tail:
    """What a power cut left of the batch that was being written.

    Attributes:
        parts: the whole batch.
        rows_left: how many of its rows reached the disk, in order.
        has_end: whether its end mark did too; then all rows did.
    """

    parts: list[Part | AuditPart]
    rows_left: int
    has_end: bool


class SimulatedDisk(MemoryDisk):
    """Durable dictionaries behind a write queue whose time and luck are drawn.

    Attributes:
        habits: may be changed at any time.
        on_synced: told of every part in the moment it is on the disk, before the node hears of it.
        synced_version: the newest version on the disk.
    """

    def __init__(self, world: World, habits: DiskHabits) -> None:
        self._world = world
        self.habits = habits
        self.on_synced: list[Callable[[Part], None]] = []
        self.synced_version = 0
        self._version_limit = VERSION_STEP
        self._life = 0
        self._state = DiskState.IDLE
        self._batch: list[Part | AuditPart] = []
        self._ghost: list[Part | AuditPart] = []
        super().__init__()

    # Starting and ending.

    def attach(self, listener: Listener, post: Post) -> None:
        """Begins a new life under `listener`; `version` is above every version ever visible."""
        super().attach(listener, post)
        self._life += 1
        self._state = DiskState.IDLE
        self._batch = []
        self.version = self._version_limit
        self._version_limit += VERSION_STEP

    def cut_power(self) -> None:
        """Ends the node that was open over this disk; see the module's header for what stays."""
        if self._state is DiskState.WRITING:
            self._ghost = self._batch
        super().cut_power()
        self._end_life()

    def _end_life(self) -> None:
        self._life += 1
        doubtful, self._batch, self._ghost = self._ghost, [], []
        self._state = DiskState.IDLE
        if doubtful:
            self._recover(self._tear(doubtful))

    def _tear(self, parts: list[Part | AuditPart]) -> Tail:
        rows = sum(_count_rows(part) for part in parts)
        left = self._world.random.randrange(rows + 2)
        return Tail(parts=parts, rows_left=min(left, rows), has_end=left > rows)

    def _recover(self, tail: Tail) -> None:
        """Keeps a batch that has its end mark, and rolls back any other."""
        self._world.note("torn" if not tail.has_end else "whole", tail.rows_left)
        if tail.has_end:
            self._apply(tail.parts)

    def install(self, writes: dict[Cell, bytes | None]) -> None:
        """Puts cells on the disk that were there before the first life."""
        self._write(Part(1, writes, None, 0, None))

    # The engine's contract, where it differs.

    def enqueue(self, part: Part | AuditPart) -> None:
        if self._state in {DiskState.FAILED, DiskState.PROBING}:
            return
        self._queue.append(part)
        self._begin_batch()

    def confirm_withdrawal(self) -> None:
        self._queue.clear()
        if self._state is DiskState.FAILED:
            self._state = DiskState.PROBING
            self._later(self.habits.probe_ns, self._probe)

    def close(self) -> None:
        """Writes what is queued and says so, unless the disk has failed."""
        if self._state in {DiskState.IDLE, DiskState.WRITING}:
            rest = self._batch + self._queue
            self._batch, self._queue = [], []
            if rest and self._listener is not None:
                self._apply(rest)
                self._listener.notify_durable(self.version, self.audit_sequence)
        self._listener = None
        self._end_life()

    def statistics(self) -> dict[str, Any]:
        return {**super().statistics(), "disk_state": self._state.value}

    # Inside.

    def _later(self, mean_ns: int, action: Callable[[], None]) -> None:
        life = self._life
        delay_ns = self._world.random.randrange(1, 2 * mean_ns)
        self._world.clock.call_after(delay_ns, lambda: action() if life == self._life else None)

    def _begin_batch(self) -> None:
        if self._state is not DiskState.IDLE or not self._queue:
            return
        self._state = DiskState.WRITING
        count = self.habits.batch_parts_max
        self._batch, self._queue = self._queue[:count], self._queue[count:]
        factor = SLOW_FACTOR if self._world.has_luck(self.habits.slow_one_in) else 1
        self._later(self.habits.sync_ns * factor, self._end_batch)

    def _end_batch(self) -> None:
        batch, self._batch = self._batch, []
        listener, post = self._listener, self._post
        assert listener is not None, "a life ends with its listener"
        assert post is not None, "a life ends with its post"
        if self._world.has_luck(self.habits.fail_one_in):
            self._state, self._ghost = DiskState.FAILED, batch
            self._queue.clear()
            self._world.note("disk failed", len(batch))
            error = StoreUnavailable("the disk did not take a batch", retry_after_ms=1)
            post(lambda: listener.notify_failed(error))
            return
        self._apply(batch)
        self._state = DiskState.IDLE
        version, sequence = self.version, self.audit_sequence
        self._syncs += 1
        post(lambda: listener.notify_durable(version, sequence))
        self._begin_batch()

    def _probe(self) -> None:
        if self._world.has_luck(2 if self.habits.fail_one_in else 0):
            self._later(self.habits.probe_ns, self._probe)
            return
        self._ghost = []
        self._state = DiskState.IDLE
        listener, post = self._listener, self._post
        assert listener is not None, "a life ends with its listener"
        assert post is not None, "a life ends with its post"
        self._world.note("disk resumed")
        post(listener.notify_resumed)

    def _apply(self, parts: list[Part | AuditPart]) -> None:
        """Puts a whole batch on the disk."""
        self._ghost = []
        for part in parts:
            if isinstance(part, AuditPart):
                self._audit.append(part)
                self.audit_sequence = part.sequence
                continue
            self._write(part)
            self.synced_version = part.version
            for tell in self.on_synced:
                tell(part)

    # What tests and checkers ask.

    def read_entity(self, entity: str) -> dict[str, bytes]:
        """Returns all keys and values of an entity on the disk, system keys included."""
        page = self.scan_items(Range(entity, "", None), 1 << 30, 1 << 60)
        return {key: item.value for key, item in page.items}

    def list_results(self) -> list[ResultKey]:
        """Returns (identity, entity, request id) of every recorded result, sorted."""
        return sorted(self._results)


class LenientDisk(SimulatedDisk):
    """A broken disk, for tests that must be able to fail: it keeps the rows of a torn batch."""

    def _recover(self, tail: Tail) -> None:
        if tail.has_end:
            super()._recover(tail)
            return
        self._world.note("torn rows kept", tail.rows_left)
        left = tail.rows_left
        for part in tail.parts:
            if isinstance(part, AuditPart):
                left -= 1
                continue
            cells = list(part.writes.items())[: max(0, left)]
            left -= len(part.writes)
            result = part.result if left > 0 else None
            left -= len(part.result_keys())
            self._write(Part(part.version, dict(cells), result, 0, None))


def _count_rows(part: Part | AuditPart) -> int:
    return 1 if isinstance(part, AuditPart) else len(part.writes) + len(part.result_keys())

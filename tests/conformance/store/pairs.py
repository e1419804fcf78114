"""Two nodes' stores over one database, each with its own thread's queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from lithox.errors import TransactionError
from lithox.store.contract import Cell, Commit, Range
from lithox.store.postgres import PostgresStore
from tests.conformance.store.worlds import WAIT_S_MAX, PostgresWorld


class NodeStore:
    """One node: a store and the queue of calls for its thread."""

    def __init__(self, world: PostgresWorld) -> None:
        self.posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.store: PostgresStore = world.open_another(self.posted.put)

    def go_round(self) -> None:
        while True:
            try:
                call = self.posted.get_nowait()
            except Empty:
                return
            call()

    def wait_until(self, is_reached: Callable[[], bool]) -> None:
        self.go_round()
        while not is_reached():
            self.posted.get(timeout=WAIT_S_MAX)()
            self.go_round()

    def wait_until_counted(self, name: str, count: int) -> None:
        """Waits until a counter of the engine's own thread has reached `count`."""
        end = time.monotonic() + WAIT_S_MAX
        while self.store.statistics()[name] < count:
            assert time.monotonic() < end, f"{name} does not reach {count}"
            self.go_round()

    def read(self, entity: str, key: str = "k") -> bytes | None:
        """Returns what a new snapshot shows."""
        snapshot = self.store.open_snapshot()
        item = snapshot.find(entity, key)
        snapshot.release()
        return None if item is None else item.value

    def begin(self, *cells: Cell) -> Commit:
        """Returns a commit that has read `cells`."""
        snapshot = self.store.open_snapshot()
        for cell in cells:
            snapshot.find(*cell)
        snapshot.release()
        return Commit(snapshot.version, reads=cells)

    def finish(self, commit: Commit) -> Outcome:
        """Hands in `commit` and returns what becomes of it."""
        outcome = Outcome()
        outcome.is_taken = self.store.submit(commit, outcome.add) is not None
        return outcome

    def write(self, entity: str, value: str, key: str = "k") -> None:
        """Commits one blind write durably."""
        outcome = self.finish(
            Commit(self.store.visible_version, writes={(entity, key): value.encode()})
        )
        self.wait(outcome)
        assert outcome.errors == [None]

    def confirm(self, commit: Commit) -> TransactionError | None:
        """Returns what an answer that only read comes to; None: it may leave."""
        told = Outcome()
        ranges: tuple[Range, ...] = tuple(commit.ranges)
        if self.store.when_read_durable(
            commit.reads, ranges, told.add, up_to_version=commit.snapshot_version
        ):
            return None
        self.wait(told)
        return told.errors[0]

    def wait(self, outcome: Outcome) -> None:
        self.wait_until(lambda: not outcome.is_taken or bool(outcome.errors))


class Outcome:
    """What became of one commit: not taken at all, or what was told."""

    def __init__(self) -> None:
        self.is_taken = True
        self.errors: list[TransactionError | None] = []

    def add(self, error: TransactionError | None) -> None:
        self.errors.append(error)

    @property
    def is_committed(self) -> bool:
        return self.errors == [None]

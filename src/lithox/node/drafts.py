"""One commit in the making: cells of the node's own entities, read and changed in memory.

A draft sees a snapshot with its own changes over it and remembers every cell it read, so the
commit it becomes loses against anybody who changed one of those meanwhile. A draft is for the few
cells of an administrative act; it has no bound of its own, its users have theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import msgspec

from lithox.errors import Conflict, StoreCorrupt, TransactionError
from lithox.store.contract import Cell, Commit, Range, Snapshot, Store

ATTEMPTS_MAX: Final = 10
"""How often a change is planned again because another was faster."""
RETRY_AFTER_MS: Final = 50
_encoder: Final = msgspec.msgpack.Encoder()
_count_decoder: Final = msgspec.msgpack.Decoder(int)
Result = TypeVar("Result")


class Draft:
    """What an act has read and will write, over one snapshot that stays open while it is used."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.reads: set[Cell] = set()
        self.ranges: list[Range] = []
        self.writes: dict[Cell, bytes | None] = {}

    def find(self, entity: str, key: str) -> bytes | None:
        """Returns the value as this draft leaves it, or None."""
        cell = (entity, key)
        if cell in self.writes:
            return self.writes[cell]
        self.reads.add(cell)
        item = self.snapshot.find(entity, key)
        return None if item is None else item.value

    def put(self, entity: str, key: str, value: bytes | None) -> None:
        """Writes `value`, or deletes for None."""
        self.writes[entity, key] = value

    def find_count(self, entity: str, key: str) -> int:
        """Returns the number kept under `key`, 0 if there is none."""
        data = self.find(entity, key)
        return 0 if data is None else read_count(data)

    def put_count(self, entity: str, key: str, count: int) -> None:
        """Keeps a number under `key`; 0 deletes it."""
        self.put(entity, key, _encoder.encode(count) if count else None)

    def scan(self, area: Range, limit: int) -> Iterable[tuple[str, bytes]]:
        """Returns the first items of `area` by key, as the snapshot has them; a read of it all."""
        self.ranges.append(area)
        return [(key, item.value) for key, item in self.snapshot.scan(area, limit).items]

    def to_commit(self) -> Commit:
        """Returns the commit of all this; it loses when anything that was read has changed."""
        return Commit(self.snapshot.version, self.reads, self.ranges, self.writes)


def read_count(data: bytes) -> int:
    """Returns the number that `put_count` stored; raises StoreCorrupt for anything else."""
    try:
        return _count_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(
            f"a stored count cannot be read ({error}); restore the data from a backup"
        ) from None


def submit_change(
    store: Store,
    plan: Callable[[Draft], Result],
    on_done: Callable[[Result, TransactionError | None], None],
) -> Result:
    """Plans a change on the newest version and makes it visible; again when another was faster.

    Args:
        plan: writes into the draft; what it returns is the result of this.
        on_done: told the result, and None when durable or why it was withdrawn. Called once, after
            this has returned, and not at all when this raises.

    Raises:
        Conflict: lost `ATTEMPTS_MAX` times.
        StoreUnavailable: writes are stopped.
        LithoxError: what `plan` raises; nothing has happened.

    Blocks: no.
    """
    for _ in range(ATTEMPTS_MAX):
        snapshot = store.open_snapshot()
        try:
            draft = Draft(snapshot)
            result = plan(draft)
            commit = draft.to_commit()
        finally:
            snapshot.release()
        done = _bind(on_done, result)
        if store.submit(commit, done) is not None:
            return result
    raise Conflict(
        f"lost {ATTEMPTS_MAX} times against other changes", retry_after_ms=RETRY_AFTER_MS
    )


def _bind(
    on_done: Callable[[Result, TransactionError | None], None], result: Result
) -> Callable[[TransactionError | None], None]:
    return lambda error: on_done(result, error)

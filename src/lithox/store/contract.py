"""What every store engine promises; names no engine.

A store remembers, per entity, an ordered map from text keys to bytes, plus results of requests
and audit records. Versions are integers that grow with every commit and are never reused.

Visible and durable are two things: `submit` validates and makes a commit *visible* at once, in
memory, in the caller's thread; a writer makes it *durable* later, many commits to one sync. Reads
see the newest visible version. When a sync fails, every version that is not durable is withdrawn:
its keys show their older values again, count as modified (so a run that read them cannot commit),
and everyone who waits for it is told `StoreUnavailable`.

All methods are called from one thread (the node's); none waits for the disk but reads that miss
the cache. Call-backs arrive through the `post` function given at opening, in version order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lithox.errors import TransactionError

if TYPE_CHECKING:
    from lithox.store.dump import DumpSource

Post = Callable[[Callable[[], None]], object]
"""Runs a function on the node's thread soon; safe to call from any thread."""
OnDone = Callable[[TransactionError | None], None]
"""Told None when durable, the error when withdrawn. Called exactly once, on the node's thread.
`Conflict`: another node has committed first, nothing happened, run it again; only engines that
several nodes share say that, of commits and of answers that only read."""
Cell = tuple[str, str]
"""(entity, key)."""


class Item(NamedTuple):
    """One stored value. `value` is never changed in place."""

    value: bytes
    version: int


class Range(NamedTuple):
    """Keys of one entity with start <= key < end; `end` None means to the last key."""

    entity: str
    start: str
    end: str | None


class Page(NamedTuple):
    """Part of a range, ordered by key (by Unicode code point). `more` says it was cut."""

    items: list[tuple[str, Item]]
    more: bool


class Loaded(NamedTuple):
    """All user items of a small entity in `items` (do not change it); else None with `items` empty.

    `is_complete` False: the entity has more bytes than asked for, read keys one by one.
    """

    items: Mapping[str, Item]
    is_complete: bool


@dataclass(slots=True, kw_only=True)
class ResultRecord:
    """The recorded answer of a request with an id; found again under (identity, entity, id)."""

    identity: str
    entity: str
    request_id: str
    account: str
    asked_digest: bytes
    answer: bytes
    expires_ns: int
    """Wall-clock nanoseconds since 1970 after which the record may be dropped."""


@dataclass(slots=True, kw_only=True)
class AuditRecord:
    """Who did what to what, when, and how it ended. Kept in a bounded ring."""

    at_ns: int
    identity: str
    act: str
    entity: str
    outcome: str
    detail: str = ""


@dataclass(slots=True)
class Commit:
    """What one transaction read and writes; unfrozen for speed, not changed after `submit`.

    Attributes:
        snapshot_version: the version all its reads saw.
        reads: cells read, absent ones included.
        ranges: ranges scanned.
        writes: cell -> new value, or None to delete.
        result: recorded under its id in the same commit, or None.
        now_ns: wall-clock time by which an answer that is recorded under that id has not expired:
            then this commit is a conflict. None: whatever is recorded there is replaced.
    """

    snapshot_version: int
    reads: Iterable[Cell] = ()
    ranges: Iterable[Range] = ()
    writes: Mapping[Cell, bytes | None] = field(default_factory=dict[Cell, "bytes | None"])
    result: ResultRecord | None = None
    now_ns: int | None = None


class Snapshot(Protocol):
    """A stable view of everything at one version. Cheap; release it when the run ends.

    Reads raise Conflict when the snapshot is older than the history the store keeps (bounded by
    the changes since, not by time): the run must be run again.
    """

    version: int

    def find(self, entity: str, key: str) -> Item | None:
        """Returns the item, or None. Raises StoreUnavailable, StoreCorrupt."""
        ...

    def load(self, entity: str, bytes_max: int) -> Loaded:
        """Returns every item of a small entity, system keys included, from the cache if it can.

        Not a read for validation: the caller reports what the run really used.
        """
        ...

    def scan(self, area: Range, limit: int, bytes_max: int | None = None) -> Page:
        """Returns the first items of `area` in key order.

        Args:
            area: what to read.
            limit: number of items at most, at least 1.
            bytes_max: bytes of keys (UTF-8) and values at most; the first item is given whatever
                its size. None: no such bound.
        """
        ...

    def release(self) -> None:
        """Lets the store forget what only this snapshot needs. Idempotent."""
        ...


class Store(Protocol):
    """One database: a group of entities stored together."""

    visible_version: int
    durable_version: int
    withdrawn_version: int
    """The version of the newest withdrawal, 0 if there was none since opening. What a snapshot
    below it showed, and what was not durable then, may never have happened."""

    def open_snapshot(self) -> Snapshot:
        """Returns a view of the newest visible version."""
        ...

    def prefetch(self, entity: str, on_ready: Callable[[], None]) -> bool:
        """Returns True when reading `entity` waits for no server; else fetches it.

        Then `on_ready` is called once, on the node's thread, when it is cached or cannot be
        (reading it says why). Never blocks.
        """
        ...

    def submit(self, commit: Commit, on_done: OnDone) -> int | None:
        """Validates `commit` and makes it visible.

        Returns:
            The commit's version, or None when something it read was modified after its snapshot
            (nothing happened, `on_done` is never called). A commit without writes or result
            gets no version of its own: `visible_version` is returned and `on_done` waits for
            what it read.

        Raises:
            StoreUnavailable: writes are stopped (disk full, read-only, closed).
        """
        ...

    def is_current(
        self, snapshot_version: int, reads: Iterable[Cell], ranges: Iterable[Range]
    ) -> bool:
        """Returns whether nothing of these was modified after `snapshot_version`."""
        ...

    def when_read_durable(
        self,
        reads: Iterable[Cell],
        ranges: Iterable[Range],
        on_done: OnDone,
        up_to_version: int | None = None,
    ) -> bool:
        """Returns True when all that these read is durable now (`on_done` is not called); else
        False, and `on_done` is called once it is, or was withdrawn.

        Args:
            reads: cells read, absent ones included.
            ranges: ranges scanned.
            on_done: see OnDone.
            up_to_version: the snapshot they were read at: changes after it are not waited for.
                None: the newest.
        """
        ...

    def find_result(self, identity: str, entity: str, request_id: str) -> ResultRecord | None:
        """Returns the recorded answer, visible ones included; expired ones too until dropped."""
        ...

    def count_results(self, account: str) -> int:
        """Returns how many results of `account` are kept."""
        ...

    def drop_expired_results(self, now_ns: int, limit: int) -> int:
        """Queues the removal of up to `limit` results with expires_ns <= now_ns.

        Returns how many; 0 while writes are stopped.
        """
        ...

    def record_audit(self, record: AuditRecord) -> None:
        """Queues `record` with the next sync; never blocks, drops the oldest beyond its bound."""
        ...

    def read_audit(self, limit: int) -> list[AuditRecord]:
        """Returns the newest `limit` records, newest first."""
        ...

    def list_entities(self, prefix: str, after: str, limit: int) -> list[str]:
        """Returns entity paths with `prefix`, greater than `after`, ordered, up to `limit`."""
        ...

    def measure_entity(self, entity: str) -> tuple[int, int]:
        """Returns (number of user keys, bytes of their keys and values)."""
        ...

    def open_dump(self) -> DumpSource:
        """Returns everything that is durable, to be read in another thread; see `store/dump.py`.

        Nothing of the store waits for it. It holds all that was acknowledged before this call.
        """
        ...

    def statistics(self) -> dict[str, Any]:
        """Returns counters for metrics: commits, batches, syncs, cache hits, sizes."""
        ...

    def close(self) -> None:
        """Makes all that is visible durable, then releases every resource. Blocks."""
        ...

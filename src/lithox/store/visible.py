"""When is a change seen, when is it safe: versions, validation, waiting, withdrawal; any engine.

Theory of operation. `submit` gives a valid commit the next version, applies it to the visible
cells and queues it at the engine. The engine tells up to which version everything is durable:
that settles the commits and calls who waits. When it fails instead, all versions that are not
durable are withdrawn together: one further version, durable at once, restores the older values,
so whoever read a withdrawn one cannot commit. Then commits that write are refused until the
engine tells that writing works again; reads go on.

Invariants: durable_version <= visible_version < next version; commits become durable in version
order; each `on_done` is called once, on the node's thread, never from inside the call it was
given to (but `close` calls those that wait).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mypy_extensions import mypyc_attr

from lithox.errors import StoreUnavailable, TransactionError
from lithox.store.cells import VisibleCells
from lithox.store.contract import AuditRecord, Cell, Commit, OnDone, Post, Range, ResultRecord
from lithox.store.dump import DumpSource
from lithox.store.engine import (
    AuditPart,
    Engine,
    Part,
    ResultKey,
    key_of_result,
    make_storable,
)
from lithox.store.recent import RecentChanges
from lithox.store.results import VisibleResults
from lithox.store.snapshot import StableView
from lithox.store.views import CACHE_BYTES_MAX, EntityViews

PENDING_COMMITS_MAX: Final = 262_144
"""Commits that may wait for the disk; several seconds of the fastest disk measured."""
PENDING_BYTES_MAX: Final = 256 << 20
"""Bytes of values that may wait for the disk."""
AUDIT_PENDING_MAX: Final = 16_384
"""Audit records that may wait for the disk; beyond it the oldest are dropped and counted."""
RETRY_AFTER_MS: Final = 1_000


@dataclass(slots=True, kw_only=True)
class Options:
    """Bounds of the core; see the constants for what they mean."""

    cache_bytes_max: int = CACHE_BYTES_MAX
    pending_commits_max: int = PENDING_COMMITS_MAX
    pending_bytes_max: int = PENDING_BYTES_MAX


@mypyc_attr(allow_interpreted_subclasses=True)
class VisibleStore:
    """Everything of a `Store` but the engine; see the contract for what the methods promise."""

    def __init__(  # noqa: PLR0913 - what its subclasses' `open` has collected; all by keyword
        self,
        *,
        engine: Engine,
        post: Post,
        version: int,
        audit_sequence: int,
        options: Options,
        is_shared: bool = False,
    ) -> None:
        """Makes the core of a store whose durable data have versions up to `version`.

        Args:
            is_shared: other nodes may change what the engine holds; see `shared.py`.
        """
        self._version_step = 1  # from one version to the next
        self.visible_version = version
        self.durable_version = version
        self.withdrawn_version = 0
        self._next_version = version + self._version_step
        self._engine = engine
        self._post = post
        self._options = options
        self._cells = VisibleCells(
            engine,
            RecentChanges(floor_version=version),
            EntityViews(bytes_max=options.cache_bytes_max),
            is_shared=is_shared,
        )
        self._results = VisibleResults(engine, is_shared=is_shared)
        self._pending: deque[Part] = deque()
        self._pending_bytes = 0
        self._waiters: dict[int, list[OnDone]] = {}
        self._ready: list[OnDone] = []
        self._audit: deque[AuditPart] = deque()
        self._next_audit_sequence = audit_sequence
        self._refusal: StoreUnavailable | None = None
        self._is_closed = False
        self._commits = self._conflicts = self._withdrawals = self._audit_dropped = 0

    # Reading.

    def prefetch(self, entity: str, on_ready: Callable[[], None]) -> bool:
        del entity, on_ready  # Whoever keeps its data in this process waits for no server.
        return True

    def open_snapshot(self) -> StableView:
        return StableView(self._cells, self.visible_version)

    def is_current(
        self, snapshot_version: int, reads: Iterable[Cell], ranges: Iterable[Range]
    ) -> bool:
        return self._cells.recent.is_current(snapshot_version, reads, ranges)

    def find_result(self, identity: str, entity: str, request_id: str) -> ResultRecord | None:
        return self._results.find(ResultKey(identity, entity, request_id))

    def count_results(self, account: str) -> int:
        return self._results.count(account)

    def list_entities(self, prefix: str, after: str, limit: int) -> list[str]:
        return self._cells.list_entities(prefix, after, limit)

    def measure_entity(self, entity: str) -> tuple[int, int]:
        return self._cells.measure_newest(entity)

    def read_audit(self, limit: int) -> list[AuditRecord]:
        waiting = list(self._audit)[::-1]
        newest = [part.record for part in waiting[:limit]]
        if len(newest) < limit:
            below = self._audit[0].sequence if self._audit else self._next_audit_sequence
            newest += self._engine.read_audit(below, limit - len(newest))
        return newest

    def open_dump(self) -> DumpSource:
        return self._engine.open_dump()

    def statistics(self) -> dict[str, Any]:
        cells = self._cells
        return {
            "visible_version": self.visible_version,
            "durable_version": self.durable_version,
            "is_writable": self._refusal is None and not self._is_closed,
            "commits": self._commits,
            "conflicts": self._conflicts,
            "withdrawals": self._withdrawals,
            "pending_commits": len(self._pending),
            "pending_bytes": self._pending_bytes,
            "audit_pending": len(self._audit),
            "audit_dropped": self._audit_dropped,
            "cache_hits": cells.hits,
            "cache_misses": cells.misses,
            "cache_bytes": cells.views.bytes_used,
            "cache_evictions": cells.views.evictions,
            "reads_saved": cells.absent.saved + self._results.absent.saved,
            **cells.recent.statistics(),
            **self._engine.statistics(),
        }

    # Writing.

    def submit(self, commit: Commit, on_done: OnDone) -> int | None:
        is_writing = bool(commit.writes) or commit.result is not None
        if is_writing or self._is_closed:
            self._check_writable()
        recent = self._cells.recent
        if not recent.is_current(commit.snapshot_version, commit.reads, commit.ranges):
            self._conflicts += 1
            return None
        if not is_writing:
            if self.when_read_durable(commit.reads, commit.ranges, on_done):
                self._call_soon(on_done)
            return self.visible_version
        version = self._next_version
        writes = commit.writes
        if commit.result is not None:
            # First, since it may read the disk and fail; what follows `apply` may not.
            replaced = self._results.prepare(commit.result)
            if self._results.is_taken(replaced, commit.now_ns):
                self._conflicts += 1
                return None
        value_bytes = self._cells.apply(version, writes)
        if commit.result is not None:
            self._results.put(version, commit.result)
            value_bytes += len(commit.result.answer)
        self._queue(Part(version, writes, commit.result, value_bytes, on_done))
        self._commits += 1
        return version

    def when_read_durable(
        self,
        reads: Iterable[Cell],
        ranges: Iterable[Range],
        on_done: OnDone,
        up_to_version: int | None = None,
    ) -> bool:
        version = self._cells.recent.newest_read(reads, ranges, above_version=self.durable_version)
        if up_to_version is not None:
            # A cell changed again since: what was read is of some version up to the snapshot's,
            # and versions become durable in order.
            version = min(version, up_to_version)
        if version <= self.durable_version:
            return True
        self._waiters.setdefault(version, []).append(on_done)
        return False

    def drop_expired_results(self, now_ns: int, limit: int) -> int:
        if self._refusal is not None or self._is_closed:
            return 0
        expired = self._results.list_expired(now_ns, limit)
        if not expired:
            return 0
        version = self._next_version
        for record in expired:
            self._results.drop(version, record)
        part = Part(version, {}, None, 0, None)
        part.dropped_results = tuple(key_of_result(record) for record in expired)
        self._queue(part)
        return len(expired)

    def record_audit(self, record: AuditRecord) -> None:
        part = AuditPart(self._next_audit_sequence, make_storable(record))
        self._next_audit_sequence += 1
        self._audit.append(part)
        if len(self._audit) > AUDIT_PENDING_MAX:
            self._audit.popleft()
            self._audit_dropped += 1
        if self._refusal is None and not self._is_closed:
            self._engine.enqueue(part)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._engine.close()
        if self._pending:  # The engine could not write them and has said so, or died.
            call_each(self._withdraw(), refusal_of("the store is closed"))
        self._call_ready()

    # What the engine tells.

    def notify_durable(self, version: int, audit_sequence: int) -> None:
        calls: list[OnDone] = []
        pending = self._pending
        settle = self._cells.recent.settle
        while pending and pending[0].version <= version:
            part = pending.popleft()
            self._pending_bytes -= part.value_bytes
            settle(part.version, part.writes)
            if part.result is not None or part.dropped_results:
                for key in part.result_keys():
                    self._results.settle(part.version, key)
            if part.on_done is not None:
                calls.append(part.on_done)
            if self._waiters:
                calls.extend(self._waiters.pop(part.version, ()))
        self.durable_version = max(self.durable_version, version)
        while self._audit and self._audit[0].sequence <= audit_sequence:
            self._audit.popleft()
        self._cells.recent.prune(self.durable_version)
        call_each(calls, None)

    def notify_failed(self, error: TransactionError) -> None:
        self._refusal = refusal_of(error.message)
        calls = self._withdraw()
        self._engine.confirm_withdrawal()
        call_each(calls, error)

    def notify_resumed(self) -> None:
        self._refusal = None
        for part in self._audit:
            self._engine.enqueue(part)

    def refuse_writes(self, error: TransactionError) -> None:
        """Starts without a working disk: commits are refused until `notify_resumed`."""
        self._refusal = refusal_of(error.message)

    # Inside.

    def _check_writable(self) -> None:
        if self._is_closed:
            raise refusal_of("the store is closed")
        if self._refusal is not None:
            raise refusal_of(self._refusal.message)
        if (
            len(self._pending) >= self._options.pending_commits_max
            or self._pending_bytes >= self._options.pending_bytes_max
        ):
            raise StoreUnavailable(
                "more waits for the disk than the node may hold; try again",
                retry_after_ms=RETRY_AFTER_MS,
                pending_commits=len(self._pending),
                pending_bytes=self._pending_bytes,
            )

    def _queue(self, part: Part) -> None:
        self._pending_bytes += part.value_bytes
        self._pending.append(part)
        self.visible_version = part.version
        self._next_version = part.version + self._version_step
        self._engine.enqueue(part)

    def _withdraw(self) -> list[OnDone]:
        """Takes back all that is not durable; returns who must be told."""
        pending, self._pending = self._pending, deque()
        waiters, self._waiters = self._waiters, {}
        self._pending_bytes = 0
        calls: list[OnDone] = []
        cells: dict[Cell, None] = {}
        for lost in pending:
            cells.update(dict.fromkeys(lost.writes))
            if lost.on_done is not None:
                calls.append(lost.on_done)
            calls.extend(waiters.get(lost.version, ()))
        version = self._next_version
        self._next_version += self._version_step
        self._cells.withdraw(version, cells)
        self._results.withdraw()
        self.visible_version = self.durable_version = version
        if pending:
            self.withdrawn_version = version
        self._withdrawals += len(pending)
        return calls

    def _call_soon(self, on_done: OnDone) -> None:
        self._ready.append(on_done)
        if len(self._ready) == 1:
            self._post(self._call_ready)

    def _call_ready(self) -> None:
        ready, self._ready = self._ready, []
        call_each(ready, None)


def refusal_of(message: str) -> StoreUnavailable:
    """Returns a new error that says why nothing is written now."""
    return StoreUnavailable(message, retry_after_ms=RETRY_AFTER_MS)


def call_each(calls: Sequence[OnDone], error: TransactionError | None) -> None:
    """Calls every one, even when some raise; then raises the first of what they raised."""
    raised: Exception | None = None
    for call in calls:
        try:
            call(error)
        except Exception as problem:  # noqa: BLE001 - one waiter's bug must not stop the rest
            raised = raised or problem
    if raised is not None:
        raise raised

"""A store that forgets everything when the process ends: for tests, simulation and first steps.

It keeps the whole contract, `durable` included: what is synced survives `withdrawal` and a
simulated power cut. A sync happens when the posted function runs, so nothing is durable before
the node's thread has gone round once. `MemoryDisk` lets a test or a simulator hold, fail or
resume syncs.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from lithox.errors import BadArguments, TransactionError
from lithox.store.contract import AuditRecord, Item, Page, Post, Range, ResultRecord
from lithox.store.dump import CellRow, DumpRow, LoadedVersions
from lithox.store.dump_memory import MemoryDump
from lithox.store.engine import (
    AuditPart,
    Listener,
    Part,
    ResultKey,
    key_of_result,
    take_page,
    text_bytes,
)
from lithox.store.visible import Options, VisibleStore

AUDIT_ROWS_MAX: Final = 10_000


class MemoryStore(VisibleStore):
    """A store in memory; `disk` controls when and whether its syncs succeed."""

    def __init__(
        self, *, post: Post, disk: MemoryDisk | None = None, options: Options | None = None
    ) -> None:
        """Opens the store over `disk`, a new empty one by default.

        Args:
            post: runs a function on the node's thread soon.
            disk: what an earlier store left; one open store at a time.
            options: bounds of the core.
        """
        self.disk = disk or MemoryDisk()
        self.disk.attach(self, post)
        super().__init__(
            engine=self.disk,
            post=post,
            version=self.disk.version,
            audit_sequence=self.disk.audit_sequence + 1,
            options=options or Options(),
        )


class MemoryDisk:
    """The engine: durable dictionaries and a queue in front of them."""

    def __init__(self) -> None:
        self.version = 0
        self.audit_sequence = 0
        self._entities: dict[str, dict[str, Item]] = {}
        self._names: list[str] = []
        self._results: dict[ResultKey, ResultRecord] = {}
        self._audit: deque[tuple[int, AuditRecord]] = deque(maxlen=AUDIT_ROWS_MAX)
        self._reset()

    def _reset(self) -> None:
        self._queue: list[Part | AuditPart] = []
        self._listener: Listener | None = None
        self._post: Post | None = None
        self._is_held = False
        self._is_posted = False
        self._is_failed = False
        self._error: TransactionError | None = None
        self._syncs = 0

    # Faults, for tests and simulators.

    def hold(self) -> None:
        """Lets nothing become durable until `release`."""
        self._is_held = True

    def release(self) -> None:
        """Ends `hold`; what waits is synced when the node's thread goes round."""
        self._is_held = False
        self._schedule()

    def fail(self, error: TransactionError) -> None:
        """Fails the next sync, and every one after it until `mend`."""
        self._error = error

    def mend(self) -> None:
        """Ends `fail`; a store that has stopped writing resumes when the thread goes round."""
        self._error = None
        if self._is_failed and self._post is not None:
            self._post(self._resume)

    def cut_power(self) -> None:
        """Forgets what is not durable and the store that was open over this disk."""
        self._reset()

    def attach(self, listener: Listener, post: Post) -> None:
        """Makes `listener` the one told of syncs."""
        self._reset()
        self._listener = listener
        self._post = post

    # The engine's contract.

    def find_item(self, entity: str, key: str) -> Item | None:
        items = self._entities.get(entity)
        return None if items is None else items.get(key)

    def load_items(self, entity: str, bytes_max: int) -> dict[str, Item] | None:
        items = self._entities.get(entity, {})
        size = sum(text_bytes(key) + len(item.value) for key, item in items.items())
        return None if size > bytes_max else dict(items)

    def scan_items(self, area: Range, limit: int, bytes_max: int) -> Page:
        entity, start, end = area
        items = self._entities.get(entity, {})
        keys = sorted(key for key in items if start <= key and (end is None or key < end))
        return take_page(((key, items[key]) for key in keys), limit, bytes_max)

    def list_entities(self, prefix: str, after: str, limit: int) -> list[str]:
        found: list[str] = []
        for name in self._names[bisect_left(self._names, max(prefix, after)) :]:
            if len(found) >= limit or (not name.startswith(prefix) and name > prefix):
                break
            if name > after:
                found.append(name)
        return found

    def measure_keys(self, entity: str, start: str) -> tuple[int, int]:
        items = self._entities.get(entity, {})
        sizes = [text_bytes(k) + len(i.value) for k, i in items.items() if k >= start]
        return len(sizes), sum(sizes)

    def find_result(self, key: ResultKey) -> ResultRecord | None:
        return self._results.get(key)

    def count_results(self, account: str, among: Iterable[ResultKey]) -> tuple[int, set[ResultKey]]:
        own = {key for key, record in self._results.items() if record.account == account}
        return len(own), own.intersection(among)

    def list_result_keys(self, start: ResultKey, limit: int) -> list[ResultKey]:
        return sorted(key for key in self._results if key >= start)[:limit]

    def list_expired_results(self, now_ns: int, limit: int) -> list[ResultRecord]:
        expired = [record for record in self._results.values() if record.expires_ns <= now_ns]
        return sorted(expired, key=lambda record: record.expires_ns)[:limit]

    def read_audit(self, below_sequence: int, limit: int) -> list[AuditRecord]:
        rows = [record for sequence, record in self._audit if sequence < below_sequence]
        return rows[::-1][:limit]

    def enqueue(self, part: Part | AuditPart) -> None:
        self._queue.append(part)
        self._schedule()

    def confirm_withdrawal(self) -> None:
        self._queue.clear()
        if self._error is None and self._post is not None:
            self._post(self._resume)

    def open_dump(self) -> MemoryDump:
        # Rows are shared, only what holds them is copied: about 50 ns a cell.
        return MemoryDump(
            {name: dict(self._entities[name]) for name in self._names},
            [self._results[key] for key in sorted(self._results)],
            [record for _, record in self._audit],
        )

    def load_rows(self, rows: Iterable[DumpRow]) -> None:
        """Fills an empty disk, over which no store is open, with the rows of a dump.

        Raises:
            BadArguments: the disk is not empty; or what `rows` raises, and it stays empty.
        """
        if self._entities or self._results or self._audit:
            raise BadArguments("what is loaded goes into an empty store; this one is not empty")
        filled = MemoryDisk()
        versions = LoadedVersions()
        for row in rows:
            if isinstance(row, CellRow):
                filled._put(row.entity, row.key, Item(row.value, versions.of(row)))
            elif isinstance(row, ResultRecord):
                filled._results[key_of_result(row)] = row
            else:
                filled.audit_sequence += 1
                filled._audit.append((filled.audit_sequence, row))
        self.version, self.audit_sequence = versions.newest, filled.audit_sequence
        self._entities, self._names = filled._entities, filled._names
        self._results, self._audit = filled._results, filled._audit

    def statistics(self) -> dict[str, Any]:
        return {"syncs": self._syncs, "entities": len(self._names)}

    def close(self) -> None:
        self._is_held = False
        self._sync()
        self._listener = None

    # Inside.

    def _schedule(self) -> None:
        if self._queue and not self._is_held and not self._is_posted and self._post is not None:
            self._is_posted = True
            self._post(self._sync)

    def _sync(self) -> None:
        self._is_posted = False
        if self._is_held or self._listener is None or not self._queue or self._is_failed:
            return
        if self._error is not None:
            self._is_failed = True
            self._listener.notify_failed(self._error)
            return
        queue, self._queue = self._queue, []
        for part in queue:
            if isinstance(part, AuditPart):
                self._audit.append(part)
                self.audit_sequence = part.sequence
            else:
                self._write(part)
        self._syncs += 1
        self._listener.notify_durable(self.version, self.audit_sequence)

    def _resume(self) -> None:
        if self._is_failed and self._error is None and self._listener is not None:
            self._is_failed = False
            self._listener.notify_resumed()

    def _put(self, entity: str, key: str, item: Item) -> None:
        items = self._entities.get(entity)
        if items is None:
            items = self._entities[entity] = {}
            insort(self._names, entity)
        items[key] = item

    def _write(self, part: Part) -> None:
        for (entity, key), value in part.writes.items():
            items = self._entities.get(entity)
            if value is not None:
                self._put(entity, key, Item(value, part.version))
            elif items is not None:
                items.pop(key, None)
                if not items:
                    del self._entities[entity]
                    self._names.remove(entity)
        if part.result is not None:
            self._results[key_of_result(part.result)] = part.result
        for key in part.dropped_results:
            self._results.pop(key, None)
        self.version = part.version

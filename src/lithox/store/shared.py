"""The core over a database that other nodes write too: versions checked there, never trusted here.

Theory of operation. The core sees a commit as soon as it is valid against what this node knows.
Its part carries, for every entity it read or wrote, the version at which this node believed it
(`beliefs.py`); the database commits a batch only if all of them still hold. If one does not, the
parts that rest on it are withdrawn, their callers are told `Conflict`, and what is stale is
forgotten. An answer that only reads leaves when the database has confirmed what it read.

Why that is serializable: whoever commits holds locks on the rows of all entities it has checked
until it is durable, so commits of all nodes have one order in which each read what was newest. An
answer that reads is placed at its snapshot's moment: all it read was there then, since each entity
is confirmed after that moment at the version it had, and versions never come back.

Invariants: what is cached of an entity is of the version believed; when another version shows
(a read, a notice of another node, a failed check), what is cached is forgotten and the entity
counts as changed now, so that a run cannot join two versions of it.

The module is long because each of its methods is a part of keeping that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from lithox.errors import Conflict, LithoxError, TransactionError
from lithox.store.beliefs import Belief, Beliefs, Token
from lithox.store.cells import QUEUE_PREFIX
from lithox.store.contract import Cell, Commit, Item, OnDone, Post, Range
from lithox.store.dependents import split_pending
from lithox.store.engine import ResultKey, check_text, key_of_result
from lithox.store.fresh import FreshView
from lithox.store.shared_engine import Fetched, ReadCheck, SharedEngine, SharedPart
from lithox.store.snapshot import StableView
from lithox.store.views import View
from lithox.store.visible import Options, VisibleStore, call_each, refusal_of

PREFETCH_BYTES_MAX: Final = 1 << 20
"""An entity up to this size is fetched whole before a run; of a larger one nothing."""


class SharedStore(VisibleStore):
    """A `Store` whose engine other nodes write too; see the module's header."""

    _engine: SharedEngine

    def __init__(
        self,
        *,
        engine: SharedEngine,
        post: Post,
        version: int,
        audit_sequence: int,
        options: Options,
    ) -> None:
        """Makes the core; `version` is above all that this node's slot has ever used."""
        self._beliefs = Beliefs(slot=engine.slot)
        super().__init__(
            engine=engine,
            post=post,
            version=version,
            audit_sequence=audit_sequence,
            options=options,
            is_shared=True,
        )
        self._next_version = self._beliefs.next_version(version)
        self._version_step = self._beliefs.next_version(0) - engine.slot
        self._confirmed: set[str] = set()
        self._is_submitting = False
        self._late: list[tuple[Token, int]] = []
        self._fetching: dict[str, list[Callable[[], None]]] = {}
        self._foreign_changes = self._checks = self._checks_failed = 0

    # What the node asks.

    def open_snapshot(self) -> StableView:
        return FreshView(self._cells, lambda: self.visible_version)

    def submit(self, commit: Commit, on_done: OnDone) -> int | None:
        if not commit.writes and commit.result is None:
            return super().submit(commit, on_done)
        self._check_writable()
        tokens = self._tokens_of(commit)
        if tokens is None or not self._cells.recent.is_current(
            commit.snapshot_version, commit.reads, commit.ranges
        ):
            self._conflicts += 1
            return None
        entries = self._beliefs.entries
        checks = {token: entries[token].newest for token in tokens}
        replaced = None if commit.result is None else self._results.prepare(commit.result)
        if self._results.is_taken(replaced, commit.now_ns):
            self._conflicts += 1
            return None
        self._is_submitting = True
        try:
            # Taken after the last read, since a read may have moved it.
            version = self._next_version
            value_bytes = self._cells.apply(version, commit.writes)
        finally:
            self._is_submitting = False
        part = SharedPart(version, commit.writes, commit.result, value_bytes, on_done)
        part.checks = checks
        if commit.result is not None:
            self._results.put(version, commit.result)
            part.value_bytes += len(commit.result.answer)
            part.replaced = replaced
        self._believe_written(part)
        self._queue(part)
        self._commits += 1
        self._tell_late()
        self._trim()
        return version

    def when_read_durable(
        self,
        reads: Iterable[Cell],
        ranges: Iterable[Range],
        on_done: OnDone,
        up_to_version: int | None = None,
    ) -> bool:
        recent, entries = self._cells.recent, self._beliefs.entries
        version = self.visible_version if up_to_version is None else up_to_version
        named = {cell[0] for cell in reads}
        named.update(area.entity for area in ranges)
        entities = [entity for entity in named if not entity.startswith(QUEUE_PREFIX)]
        if not entities:
            return super().when_read_durable(reads, ranges, on_done, up_to_version)
        check = ReadCheck(entities, version, on_done)
        # Read from the database after the snapshot: there it may be newer than the rest of it,
        # unless all that was read is what is newest now.
        is_late = any((b := entries.get(name)) is None or b.since > version for name in entities)
        if is_late and not recent.is_current(version, reads, ranges):
            self._soon(on_done, _lost())
            return False
        self._trim()
        needed = recent.newest_read(reads, ranges, above_version=self.durable_version)
        needed = min(needed, version)
        if needed > self.durable_version:
            self._waiters.setdefault(needed, []).append(self._then_confirm(check))
        else:
            self._confirm(check)
        return False

    def prefetch(self, entity: str, on_ready: Callable[[], None]) -> bool:
        if entity.startswith(QUEUE_PREFIX) or entity in self._cells.views.views or self._is_closed:
            return True
        waiting = self._fetching.get(entity)
        if waiting is None:
            self._fetching[entity] = [on_ready]
            self._engine.prefetch(entity, PREFETCH_BYTES_MAX)
        else:
            waiting.append(on_ready)
        return False

    def drop_expired_results(self, now_ns: int, limit: int) -> int:
        if self._refusal is not None or self._is_closed:
            return 0
        self._results.forget_counts()
        expired = self._results.list_expired(now_ns, limit)
        if not expired:
            return 0
        version = self._next_version
        for record in expired:
            self._results.drop(version, record)
        part = SharedPart(version, {}, None, 0, None)
        part.dropped_results = tuple(key_of_result(record) for record in expired)
        part.expired_ns = now_ns
        self._queue(part)
        return len(expired)

    def statistics(self) -> dict[str, object]:
        return {
            **super().statistics(),
            "foreign_changes": self._foreign_changes,
            "read_checks": self._checks,
            "read_checks_failed": self._checks_failed,
            "beliefs": len(self._beliefs.entries),
        }

    # What the engine tells, on the node's thread.

    def learn(self, token: Token, version: int) -> None:
        """The database shows `version`; what is read next is of that version."""
        if version >= self._next_version:
            self._next_version = self._beliefs.next_version(version)
        if not self._beliefs.is_consistent(token, version):
            self.notify_changed([(token, version)])
        elif token not in self._beliefs.entries:
            self._beliefs.learn(token, version, self.visible_version)

    def notify_changed(self, changed: Iterable[tuple[Token, int]]) -> None:
        """Other nodes have written these, at these versions; what is older news is left out."""
        news = [pair for pair in changed if not self._beliefs.is_consistent(*pair)]
        if not news:
            return
        if self._is_submitting:
            self._late += news
            return
        self._foreign_changes += len(news)
        self._mark([token for token, _ in news])
        for token, version in news:
            if version >= self._next_version:
                self._next_version = self._beliefs.next_version(version)
            self._beliefs.learn(token, version, self.visible_version)

    def notify_rumour(self, changed: Iterable[tuple[str, int]]) -> None:
        """Somebody says that other nodes have written these, at these versions.

        Whoever may connect to the database can say so. So the versions only tell old news from
        new, and none is believed: what is cached is forgotten, and the next read asks the database.
        """
        news = [name for name, version in changed if not self._beliefs.is_consistent(name, version)]
        if not news:
            return
        self._foreign_changes += len(news)
        self._mark(news)
        for name in news:
            self._beliefs.forget(name, self.durable_version)

    def notify_durable(self, version: int, audit_sequence: int) -> None:
        if self._waiters:
            for part in self._pending:
                if part.version > version:
                    break
                if isinstance(part, SharedPart):
                    self._confirmed.update(name for name in part.checks if isinstance(name, str))
        try:
            super().notify_durable(version, audit_sequence)
        finally:
            self._confirmed.clear()

    def notify_conflict(
        self, stale: Sequence[tuple[Token, int]], results: Sequence[ResultKey]
    ) -> None:
        """The oldest parts that are not durable rest on what is stale: such are withdrawn.

        What rests on nothing stale stays as it is, and is written next.
        """
        pending = [part for part in self._pending if isinstance(part, SharedPart)]
        lost, kept = split_pending(pending, dict(stale), results)
        calls = self._take_back(lost, kept)
        changed = dict.fromkeys(token for token, _ in stale)
        for part in lost:
            changed.update(dict.fromkeys(cell[0] for cell in part.writes if cell[0] in part.checks))
        for token, version in stale:
            self._beliefs.learn(token, version, self.visible_version)
        self._foreign_changes += len(stale)
        self._results.forget(results)
        self._engine.confirm_withdrawal()
        for part in (*self._audit, *kept):
            self._engine.enqueue(part)
        self._mark(list(changed))
        for token, _ in stale:
            self._beliefs.entries[token].since = self.visible_version
        call_each(calls, _lost())

    def notify_stalled(self, error: TransactionError) -> None:
        """The database cannot be reached: who waits goes on waiting, new commits are refused."""
        self._refusal = refusal_of(error.message)

    def notify_checked(
        self,
        checks: Sequence[ReadCheck],
        versions: Mapping[str, int],
        error: TransactionError | None,
    ) -> None:
        """The database showed `versions` of the entities of `checks`, or could not be asked."""
        if error is None:
            self.notify_changed(versions.items())
        raised: Exception | None = None
        for check in checks:
            try:
                if error is not None:
                    check.on_done(error)
                else:
                    self._finish(check)
            except Exception as problem:  # noqa: BLE001 - one waiter's bug must not stop the rest
                raised = raised or problem
        if raised is not None:
            raise raised

    def notify_loaded(self, entity: str, loaded: Fetched | None) -> None:
        """The fetch of `entity` came to this; None: it could not be read."""
        calls = self._fetching.pop(entity, [])
        if loaded is not None and not self._is_closed:
            self.learn(entity, loaded.version)
            belief = self._beliefs.entries[entity]
            # While it was fetched this node may have written more: then a read fetches it anew.
            if belief.newest == loaded.version and entity not in self._cells.views.views:
                if loaded.items is None:
                    self._cells.views.keep(entity, View({}, is_complete=False))
                else:
                    items: dict[str, Item | None] = {**loaded.items}
                    self._cells.keep_loaded(entity, items)
        for call in calls:
            call()

    # Inside.

    def _tokens_of(self, commit: Commit) -> list[Token] | None:
        """Returns all that the commit rests on; None: a cell it read is no longer known."""
        entries = self._beliefs.entries
        named: dict[Token, None] = {}
        for cell in commit.reads:
            entity = cell[0]
            if entity in named:
                continue
            if not entity.startswith(QUEUE_PREFIX):
                named[entity] = None
                continue
            belief = entries.get(cell)
            if belief is None:
                return None
            if belief.newest:
                named[cell] = None
        for entity, _, _ in commit.ranges:
            if not entity.startswith(QUEUE_PREFIX):
                named[entity] = None
        for entity, _ in commit.writes:
            if entity not in named and not entity.startswith(QUEUE_PREFIX):
                named[entity] = None
        unknown = [token for token in named if token not in entries]
        if unknown:
            names = [name for name in unknown if isinstance(name, str)]
            for name in names:
                check_text(name)
            for entity, version in self._engine.read_versions(names).items():
                self.learn(entity, version)
        return list(named)

    def _believe_written(self, part: SharedPart) -> None:
        entries, version = self._beliefs.entries, part.version
        believed = ""
        for cell, value in part.writes.items():
            entity = cell[0]
            if entity == believed:
                continue
            if not entity.startswith(QUEUE_PREFIX):
                entries[entity].newest = version
                believed = entity
            elif value is None:
                entries.pop(cell, None)
            else:
                entries[cell] = Belief(version, version)

    def _withdraw(self) -> list[OnDone]:
        self._believe_unwritten([part for part in self._pending if isinstance(part, SharedPart)])
        return super()._withdraw()

    def _take_back(self, lost: Sequence[SharedPart], kept: list[SharedPart]) -> list[OnDone]:
        """Makes `lost` undone, while `kept`, which share nothing with them, go on waiting.

        To those it adds what stands for the withdrawal itself.
        """
        self._believe_unwritten(lost)
        calls: list[OnDone] = []
        cells: dict[Cell, None] = {}
        for part in lost:
            cells.update(dict.fromkeys(part.writes))
            self._pending_bytes -= part.value_bytes
            self._results.take_back(part.result_keys())
            if part.on_done is not None:
                calls.append(part.on_done)
            calls.extend(self._waiters.pop(part.version, ()))
        version = self._next_version
        self._next_version += self._version_step
        self._cells.withdraw(version, cells)
        if kept:
            # Who reads what is visible again waits for this version, so something must bring it.
            kept.append(SharedPart(version, {}, None, 0, None))
        self._pending.clear()
        self._pending.extend(kept)
        self.withdrawn_version = self.visible_version = version
        if not kept:
            self.durable_version = version
        self._withdrawals += len(lost)
        return calls

    def _believe_unwritten(self, lost: Sequence[SharedPart]) -> None:
        """Believes of what `lost` wrote what was believed before."""
        entries = self._beliefs.entries
        for part in reversed(lost):
            for cell in part.writes:
                entity = cell[0]
                if entity.startswith(QUEUE_PREFIX):
                    entries.pop(cell, None)
                elif entity in entries and entries[entity].newest == part.version:
                    entries[entity].newest = part.checks[entity]

    def _mark(self, tokens: Sequence[Token]) -> None:
        """Makes what is known of `tokens` a matter of the past, at a version of its own."""
        version = self._next_version
        self._next_version = version + self._version_step
        entities = [token for token in tokens if isinstance(token, str)]
        cells = [token for token in tokens if not isinstance(token, str)]
        self._cells.notify_changed(version, entities, cells)
        if self._pending:
            self._queue(SharedPart(version, {}, None, 0, None))
        else:
            self.visible_version = self.durable_version = version

    def _tell_late(self) -> None:
        if self._late:
            late, self._late = self._late, []
            self.notify_changed(late)

    def _trim(self) -> None:
        dropped = self._beliefs.trim(self.durable_version)
        if dropped:
            self._mark(dropped)

    def _then_confirm(self, check: ReadCheck) -> OnDone:
        def confirm(error: TransactionError | None) -> None:
            if error is not None:
                check.on_done(error)
            else:
                self._confirm(check)

        return confirm

    def _confirm(self, check: ReadCheck) -> None:
        """Answers the check, at once if a commit just now confirmed all it asks."""
        if self._confirmed.issuperset(check.entities):
            self._finish(check)
            return
        self._checks += 1
        self._engine.enqueue_check(check)

    def _finish(self, check: ReadCheck) -> None:
        recent = self._cells.recent
        is_lost = check.version < recent.floor_version or any(
            recent.is_marked(entity, check.version) for entity in check.entities
        )
        self._checks_failed += is_lost
        check.on_done(_lost() if is_lost else None)

    def _soon(self, on_done: OnDone, error: LithoxError) -> None:
        assert isinstance(error, TransactionError)
        self._post(lambda: on_done(error))


def _lost() -> Conflict:
    return Conflict("another node committed first; nothing of this run happened, run it again")

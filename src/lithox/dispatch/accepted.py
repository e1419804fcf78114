"""Requests that are accepted now and answered later: durable from acceptance to outcome.

Theory of operation. An acceptance is a row (`accepted_records`); whoever asked is told once that is
durable. Then the request runs like any other with its id, so that it takes effect once however
often it is begun: its own commit records its success and marks the row as done. What follows from
the outcome, the pointer by which it is found, the order of a call-back and the end of the row, is
one more commit. After a crash before that one, a row that is done is not run again.

    accepted -> waiting -> running -> (outcome known) -> finishing -> gone
                   ^           |
                   +- resting -+   the node's own fault: later, longer each time

A request ends with a definite outcome only: that others were faster, that a bound was reached or
that the disk was full says nothing about it, and while the node closes nothing does.

Invariants: of one id at most one run is under way; rows are never decoded before their turn, so
memory holds a bounded record of each, not its arguments; a request is not run before its
acceptance is durable.

It is long because each of the states above has its way in and its way out here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from typing import Final

from lithox.dispatch.accepted_records import (
    ACCEPTED,
    ASYNC_PLACE,
    CLAIM_PLACE,
    AcceptedRecord,
    PointerRecord,
    ResultBounds,
    decode_accepted,
    encode_accepted,
    encode_pointer,
    key_of,
)
from lithox.dispatch.accepted_requests import digest_of_accepted, record_of, request_of
from lithox.dispatch.accepted_table import AcceptedTable, Entry, OnAccepted, State
from lithox.dispatch.fair_queue import FairQueue
from lithox.dispatch.faults import is_retried
from lithox.dispatch.inflight import digest_of_job
from lithox.dispatch.job import Clock, Job, OnAnswer
from lithox.dispatch.results import Results
from lithox.errors import (
    Conflict,
    IdReused,
    InternalError,
    LithoxError,
    Overloaded,
    StoreCorrupt,
    StoreUnavailable,
)
from lithox.model.ids import RequestId
from lithox.model.request import Answer, Request
from lithox.store.contract import Cell, Commit, Range, ResultRecord, Store

PAGE_MAX: Final = 512
"""Rows looked at at a time at the start and by a sweep."""
ADOPTED_AFTER_MS: Final = 60_000
"""Age at which a request that another node has accepted is taken over."""
ACCEPT_ATTEMPTS_MAX: Final = 5
WATCHERS_MAX: Final = 1_000
"""Lookups that may wait for one accepted request."""
ACCEPTING_MAX: Final = 1_000
"""Callers that may wait for one acceptance."""
REST_FIRST_MS: Final = 100
REST_LAST_MS: Final = 30_000
NS_PER_MS: Final = 1_000_000
_log: Final = logging.getLogger("lithox.dispatch")

OnOutcome = Callable[[str, str, AcceptedRecord], dict[Cell, bytes]]
"""(identity, request id, record) -> what else is written with the end of a row."""
Cancel = Callable[[], object]


@dataclass(slots=True)
class Counters:
    """What has happened since the start; read by metrics."""

    accepted: int = 0
    finished: int = 0
    rested: int = 0


class Accepted:
    """The accepted requests of one node. Every method is called on the node's thread.

    Attributes:
        is_shared: other nodes use the same store: who accepts an id first is decided by a record
            of it, since a row that is not there yet cannot be checked.
        on_deadline: asks for `notify_time` at a monotonic time.
        on_outcome: asked what else to write when an outcome is known.
        on_finished: told (identity, request id) when the outcome is durable.
    """

    def __init__(  # noqa: PLR0913 - where its parts come together; all by keyword
        self,
        *,
        store: Store,
        clock: Clock,
        results: Results,
        bounds: ResultBounds,
        check: Callable[[Request], Job],
        submit: Callable[[Request, OnAnswer], None],
        schedule: Callable[[Callable[[], None]], object],
    ) -> None:
        self._store = store
        self._clock = clock
        self._results = results
        self._bounds = bounds
        self._check = check
        self._submit = submit
        self._schedule = schedule
        self._table = AcceptedTable(bounds)
        self._queue: FairQueue[Entry] = FairQueue(
            all_max=bounds.running_max, account_max=bounds.running_account_max
        )
        self._resting: list[tuple[int, str]] = []
        self._is_pump_planned = False
        self._is_running = False
        self.counters = Counters()
        self.is_shared = False
        self.on_deadline: Callable[[int], None] | None = None
        self.on_outcome: OnOutcome | None = None
        self.on_finished: Callable[[str, str], None] | None = None

    # -- in ---------------------------------------------------------------------------------

    def accept(self, request: Request, on_accepted: OnAccepted, *, callback: str | None) -> None:
        """Accepts a request with an id; `on_accepted` is told once that is durable.

        Accepting the same again is told as done, whatever became of the first.

        Args:
            request: its `deadline_ns` is kept as a time of the wall clock.
            callback: where the outcome is sent besides; checked by the caller.

        Raises:
            LithoxError: as a waiting caller would be refused; IdReused; Overloaded.
        """
        assert request.request_id is not None
        if not self._is_running:
            raise StoreUnavailable("this node is closing", retry_after_ms=1000)
        job = self._check(request)
        identity, request_id = request.caller.identity, request.request_id
        digest = digest_of_accepted(job)
        known = self._table.find(key_of(identity, request_id))
        if known is not None:
            _check_same(known.digest, digest, request_id)
            if known.state is State.ACCEPTING:
                if len(known.accepting) >= ACCEPTING_MAX:
                    raise Overloaded(
                        "too many wait for the acceptance of this request id", retry_after_ms=100
                    )
                known.accepting.append(on_accepted)
            else:
                on_accepted(None)
            return
        asked = self._results.asked_digest(identity, ASYNC_PLACE, request_id)
        if asked is not None:
            _check_same(asked, digest, request_id)
            on_accepted(None)
            return
        asked = self._results.asked_digest(identity, job.place, request_id)
        if asked is not None:
            _check_same(asked, digest_of_job(job), request_id)
        self._begin_acceptance(job, digest, on_accepted, callback)

    def _begin_acceptance(
        self, job: Job, digest: bytes, on_accepted: OnAccepted, callback: str | None
    ) -> None:
        request = job.request
        assert request.request_id is not None
        record = record_of(job, digest=digest, callback=callback, clock=self._clock)
        value = encode_accepted(record)
        entry = Entry(
            identity=request.caller.identity,
            request_id=request.request_id,
            account=request.caller.account,
            digest=digest,
            size_bytes=len(value),
            accepting=[on_accepted],
        )
        self._table.check_bounds(entry)
        cell = (ACCEPTED, entry.key)
        claim = None
        if self.is_shared:
            asked = self._results.asked_digest(entry.identity, CLAIM_PLACE, entry.request_id)
            if asked is not None:
                _check_same(asked, digest, request.request_id)
                on_accepted(None)
                return
            claim = self._result_of(entry, CLAIM_PLACE, b"")
        for _ in range(ACCEPT_ATTEMPTS_MAX):
            commit = Commit(self._store.visible_version, [cell], (), {cell: value}, claim)
            snapshot = self._store.open_snapshot()
            try:
                found = snapshot.find(*cell)
            finally:
                snapshot.release()
            if found is not None:
                # Another node has accepted it, and answers it.
                _check_same(decode_accepted(found.value).digest, digest, request.request_id)
                on_accepted(None)
                return
            if self._store.submit(commit, partial(self._acceptance_ended, entry)) is not None:
                self._table.add(entry)
                return
        raise Conflict("others accepted at the same time; try again", retry_after_ms=50)

    def _acceptance_ended(self, entry: Entry, error: Exception | None) -> None:
        accepting, entry.accepting = entry.accepting, []
        if error is None:
            self.counters.accepted += 1
            self._wait(entry)
        else:
            self._table.remove(entry)
            if self.is_shared and isinstance(error, Conflict):
                error = self._find_rival(entry, error)
        for tell in accepting:
            tell(error)

    def _find_rival(self, entry: Entry, conflict: Conflict) -> LithoxError | None:
        """Returns what is told when another node was first: None when it accepted the same."""
        try:
            asked = self._results.asked_digest(entry.identity, CLAIM_PLACE, entry.request_id)
            if asked is None:
                return conflict
            _check_same(asked, entry.digest, entry.request_id)
        except LithoxError as error:
            return error
        return None

    def _result_of(self, entry: Entry, place: str, answer: bytes) -> ResultRecord:
        return ResultRecord(
            identity=entry.identity,
            entity=place,
            request_id=entry.request_id,
            account=entry.account,
            asked_digest=entry.digest,
            answer=answer,
            expires_ns=self._clock.wall_ns() + self._bounds.kept_ns,
        )

    # -- running ----------------------------------------------------------------------------

    def _wait(self, entry: Entry) -> None:
        entry.state = State.WAITING
        self._queue.push(entry.account, entry)
        self._plan()

    def _plan(self) -> None:
        if self._is_running and not self._is_pump_planned:
            self._is_pump_planned = True
            self._schedule(self._pump)

    def _pump(self) -> None:
        self._is_pump_planned = False
        while self._is_running and (entry := self._queue.pop()) is not None:
            entry.state = State.RUNNING
            try:
                self._run(entry)
            except LithoxError as error:
                self._answered(entry, None, Answer(error=error))

    def _run(self, entry: Entry) -> None:
        """Reads the row of an entry and submits what it asks for."""
        snapshot = self._store.open_snapshot()
        try:
            item = snapshot.find(ACCEPTED, entry.key)
        finally:
            snapshot.release()
        if item is None:
            # Another node has finished it.
            self._queue.end(entry.account)
            self._finish(entry)
            return
        record = decode_accepted(item.value)
        if record.is_done:
            self._answered(entry, record, Answer())
            return
        request = request_of(record, entry.request_id, self._clock)
        self._submit(request, partial(self._answered, entry, record))

    def _answered(self, entry: Entry, record: AcceptedRecord | None, answer: Answer) -> None:
        """A run has ended: with the outcome, or with nothing that counts."""
        self._queue.end(entry.account)
        self._plan()
        error = answer.error
        if error is not None and not self._is_running:
            # Ended because the node closes: the next one to open the store runs it again.
            return
        if record is None or is_retried(error):
            self._rest(entry)
            return
        entry.state = State.FINISHING
        if not self._submit_outcome(entry, record, error):
            self._rest(entry)

    def _submit_outcome(
        self, entry: Entry, record: AcceptedRecord, error: Exception | None
    ) -> bool:
        """Commits what follows from an outcome; False when that is not possible now."""
        pointer = PointerRecord(record.entity)
        if isinstance(error, LithoxError):
            pointer = PointerRecord(record.entity, error.code, error.to_fields())
        elif error is not None:
            pointer = PointerRecord(record.entity, InternalError.code, {"message": str(error)})
        result = self._result_of(entry, ASYNC_PLACE, encode_pointer(pointer))
        writes: dict[Cell, bytes | None] = {(ACCEPTED, entry.key): None}
        try:
            if entry.tries and self._results.find_accepted(entry.identity, entry.request_id):
                # Another node was faster with what follows from it; only the row is left.
                result = None
            elif self.on_outcome is not None:
                writes |= self.on_outcome(entry.identity, entry.request_id, record)
            now_ns = self._clock.wall_ns()
            commit = Commit(self._store.visible_version, (), (), writes, result, now_ns)
            version = self._store.submit(commit, partial(self._outcome_ended, entry))
        except LithoxError:
            return False
        return version is not None

    def _outcome_ended(self, entry: Entry, error: Exception | None) -> None:
        if error is not None:
            self._rest(entry)
            return
        self.counters.finished += 1
        self._finish(entry)
        if self.on_finished is not None:
            self.on_finished(entry.identity, entry.request_id)

    def _finish(self, entry: Entry) -> None:
        """The outcome of an entry is durable: tells whoever waits for it."""
        self._table.remove(entry)
        watchers, entry.watchers = entry.watchers, {}
        if not watchers:
            return
        request_id, found = RequestId(entry.request_id), None
        try:
            found = self._results.find_accepted(entry.identity, entry.request_id)
        except LithoxError as error:
            found = Answer(request_id=request_id, error=error)
        for tell in watchers.values():
            tell(found or Answer(request_id=request_id, error=_lost()))

    def _rest(self, entry: Entry) -> None:
        """Lets an entry wait for better times, longer each time."""
        self.counters.rested += 1
        entry.state = State.RESTING
        rest_ms = min(REST_FIRST_MS << min(entry.tries, 20), REST_LAST_MS)
        entry.tries += 1
        due_ns = self._clock.monotonic_ns() + rest_ms * NS_PER_MS
        heappush(self._resting, (due_ns, entry.key))
        self._arm()

    def _arm(self) -> None:
        if self._resting and self.on_deadline is not None and self._is_running:
            self.on_deadline(self._resting[0][0])

    def notify_time(self) -> None:
        """To be called when a rest may have ended."""
        now_ns = self._clock.monotonic_ns()
        while self._resting and self._resting[0][0] <= now_ns:
            entry = self._table.find(heappop(self._resting)[1])
            if entry is not None and entry.state is State.RESTING:
                self._wait(entry)
        self._arm()

    # -- looking ----------------------------------------------------------------------------

    def is_pending(self, identity: str, request_id: str) -> bool:
        """Returns whether this node holds the request and its outcome is not known yet."""
        return key_of(identity, request_id) in self._table

    def watch(self, identity: str, request_id: str, on_end: OnAnswer) -> Cancel:
        """Has `on_end` told the outcome of a pending request; returns how to stop.

        Raises:
            Overloaded: too many wait for it already.
        """
        entry = self._table.find(key_of(identity, request_id))
        assert entry is not None
        watchers, token = entry.watchers, object()
        if len(watchers) >= WATCHERS_MAX:
            raise Overloaded("too many lookups wait for this request id", retry_after_ms=100)
        watchers[token] = on_end
        return partial(watchers.pop, token, None)

    def statistics(self) -> dict[str, int]:
        """Returns counts for metrics."""
        return {
            "pending": len(self._table),
            "pending_bytes": self._table.bytes_used,
            "resting": len(self._resting),
            "accepted_total": self.counters.accepted,
            "finished_total": self.counters.finished,
            "rested_total": self.counters.rested,
        }

    # -- start and end ----------------------------------------------------------------------

    def start(self) -> None:
        """Takes up what was accepted before, page by page between other work."""
        self._is_running = True
        self._scan(accepted_before_ms=None)

    def sweep(self) -> None:
        """Takes over what another node accepted long ago and has not finished."""
        if self._is_running:
            wall_ms = self._clock.wall_ns() // NS_PER_MS
            self._scan(accepted_before_ms=wall_ms - ADOPTED_AFTER_MS)

    def _scan(self, *, accepted_before_ms: int | None) -> None:
        self._schedule(partial(self._scan_page, "", accepted_before_ms))

    def _scan_page(self, start: str, before_ms: int | None) -> None:
        if not self._is_running:
            return
        # Each page is of a moment of its own: one snapshot over all could get too old.
        snapshot = self._store.open_snapshot()
        try:
            page = snapshot.scan(Range(ACCEPTED, start, None), PAGE_MAX)
            for key, item in page.items:
                if key not in self._table:
                    self._adopt(key, item.value, before_ms)
        except LithoxError:
            return
        finally:
            snapshot.release()
        if page.more:
            after = page.items[-1][0] + "\x00"
            self._schedule(partial(self._scan_page, after, before_ms))

    def _adopt(self, key: str, value: bytes, before_ms: int | None) -> None:
        try:
            record = decode_accepted(value)
        except StoreCorrupt as error:
            # It stays where it is, and keeps none of those behind it from being run.
            _log.warning("accepted request %r is passed over: %s", key, error)
            return
        if before_ms is not None and record.accepted_ms > before_ms:
            return
        entry = Entry(
            identity=record.identity,
            request_id=key.partition("/")[2],
            account=record.account,
            digest=record.digest,
            size_bytes=len(value),
        )
        self._table.add(entry)
        self._wait(entry)

    def stop(self) -> None:
        """Begins nothing more and forgets no row: what has no outcome runs after the next start."""
        self._is_running = False
        closing = StoreUnavailable("this node is closing", retry_after_ms=1000)
        for entry in self._table.entries():
            watchers, entry.watchers = entry.watchers, {}
            for tell in watchers.values():
                tell(Answer(request_id=RequestId(entry.request_id), error=closing))


def _check_same(known: bytes, asked: bytes, request_id: str) -> None:
    if known != asked:
        raise IdReused(
            f"request id {request_id!r} was used for something else; "
            "take a new id for a new request"
        )


def _lost() -> LithoxError:
    return StoreUnavailable("the outcome was known and is not kept any more")

"""The way in: admits requests, gives answers, ends runs from outside.

`submit` never raises for what a caller did: a refusal is an answer like any other, and leaves a
bounded audit record. What cannot be explained is an `InternalError`: counted, logged by the node,
and the request has done nothing.

It is long because every way in and out of the node's runs is here, and checked in one order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final

from lithox.dispatch.accepted import Accepted
from lithox.dispatch.accepted_records import DEFAULT_RESULTS, ResultBounds
from lithox.dispatch.atomic import encode_calls, prefetch_group
from lithox.dispatch.catalog import Catalog, Resolution
from lithox.dispatch.cold_code import Workers
from lithox.dispatch.counters import Counters
from lithox.dispatch.elsewhere import AskedElsewhere, Elsewhere
from lithox.dispatch.endpoints import Endpoint
from lithox.dispatch.handover import Handover, without_value
from lithox.dispatch.inflight import InFlight, digest_of_job, id_reused, key_of
from lithox.dispatch.job import UNKNOWN, Clock, Frame, GroupCall, Job, LogSink, OnAnswer
from lithox.dispatch.lanes import Lanes, LongSteps, LongThread, Schedule
from lithox.dispatch.messages.bounds import DEFAULT_BOUNDS, MessageBounds
from lithox.dispatch.messages.mail import Mail
from lithox.dispatch.results import Results, find_recorded
from lithox.dispatch.runs import Runs
from lithox.dispatch.schedules.bounds import DEFAULT_TIMER_BOUNDS, TimerBounds
from lithox.dispatch.schedules.timers import Timers
from lithox.dispatch.starting import (
    actor_of_request,
    check_access,
    find_record,
    limits_of,
    may_call,
    refusal_of,
)
from lithox.errors import (
    DeadlinePassed,
    InternalError,
    LithoxError,
    NotFound,
    NotPermitted,
    ResultsFull,
    StoreUnavailable,
)
from lithox.kernel.kernel import Kernel
from lithox.kernel.process import ProcessView
from lithox.model.ids import Pid, is_system_entity
from lithox.model.limits import Limits
from lithox.model.quantities import format_duration
from lithox.model.request import Answer, Caller, Request
from lithox.model.values import decode_value, encode_value
from lithox.security.access import actor_of
from lithox.store.contract import AuditRecord, ResultRecord, Store

RESULTS_PER_ACCOUNT_MAX: Final = 1_000_000
AUDIT_DETAIL_CHARACTERS_MAX: Final = 500
Native = Callable[[Request], Any]
"""A handler of the node entity: runs at once, returns a plain value, raises LithoxError."""


class Dispatcher:
    """The dispatcher of one node. All methods are called on the node's thread."""

    is_closing = False

    def __init__(  # noqa: PLR0913 - the one place where its parts come together; all by keyword
        self,
        *,
        store: Store,
        kernel: Kernel,
        catalog: Catalog,
        clock: Clock,
        seeds: Callable[[], int],
        schedule: Schedule,
        post: Schedule,
        log: LogSink,
        on_bug: Callable[[Exception], None],
        native_entity: str,
        results_per_account_max: int = RESULTS_PER_ACCOUNT_MAX,
        results: ResultBounds = DEFAULT_RESULTS,
        long: LongSteps | None = None,
        messages: MessageBounds = DEFAULT_BOUNDS,
        timers: TimerBounds = DEFAULT_TIMER_BOUNDS,
        workers: Workers | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._store = store
        self._kernel = kernel
        self._clock = clock
        self._on_bug = on_bug
        self._native_entity = native_entity
        self._results_max = results_per_account_max
        self._open_results(schedule, results)
        self._waiting: list[tuple[int, int, Job]] = []
        self._waiting_seq = 0
        self._jobs: set[Job] = set()
        self._away = None if elsewhere is None else self._open_handover(elsewhere)
        self._open_mail(schedule, messages, timers)
        self.natives: dict[str, Native] = {}
        self.catalog = catalog
        self.counters = Counters()
        self.on_idle: Callable[[], None] | None = None
        """Called when the last request has been answered while closing."""
        self.runs = Runs(
            kernel=kernel,
            store=store,
            catalog=catalog,
            clock=clock,
            seeds=seeds,
            settle=self._settle,
            log=log,
            on_bug=self._internal,
            restart=self._restart,
            submit_child=self._submit_child,
            wake=lambda: self.lanes.wake(),  # noqa: PLW0108 - the lanes are made after it
            native_entity=native_entity,
            result_kept_ns=results.kept_ns,
            schedule=schedule,
            workers=workers,
            is_elsewhere=None if self._away is None else self._away.is_elsewhere,
            more=self._more,
            on_committed=[self.mail.delivery.notify_committed, self.timers.notify_committed],
        )
        self._open_lanes(schedule, long or LongThread(post=post, clock=clock))

    def _open_lanes(self, schedule: Schedule, long: LongSteps) -> None:
        self.lanes = Lanes(
            kernel=self._kernel,
            by_pid=self.runs.table.by_pid,
            on_bug=self._internal,
            clock=self._clock,
            schedule=schedule,
            long=long,
        )

    def _open_handover(self, elsewhere: Elsewhere) -> Handover:
        return Handover(
            elsewhere=elsewhere,
            store=self._store,
            on_bug=self._internal,
            on_returned=self._note_left,
        )

    def _open_results(self, schedule: Schedule, bounds: ResultBounds) -> None:
        self._result_kept_ns = bounds.kept_ns
        self._in_flight = InFlight()
        self.results = Results(store=self._store, clock=self._clock, in_flight=self._in_flight)
        self.accepted = Accepted(
            store=self._store,
            clock=self._clock,
            results=self.results,
            bounds=bounds,
            check=self.check,
            submit=self.submit,
            schedule=schedule,
        )

    def _open_mail(self, schedule: Schedule, messages: MessageBounds, timers: TimerBounds) -> None:
        store, clock = self._store, self._clock
        self.mail = Mail(
            store=store,
            clock=clock,
            submit=self.submit,
            schedule=schedule,
            bounds=messages,
            away=self._away,
        )
        self.timers = Timers(
            store=store, clock=clock, schedule=schedule, mail=self.mail, bounds=timers
        )
        self._more: dict[str, Endpoint] = {**self.mail.endpoints, **self.timers.endpoints}

    # -- in ---------------------------------------------------------------------------------

    def submit(self, request: Request, on_answer: OnAnswer) -> None:
        """Takes a request; `on_answer` is called exactly once, perhaps before this returns.

        One for an entity of another process is answered by that.
        """
        away = self._away
        if away is not None and away.is_away(request) and not self.is_closing:
            away.send(request, on_answer)
            return
        self.counters.requests += 1
        self._take(self._job_of(request, on_answer))

    def arrive(self, request: Request, on_answer: OnAnswer) -> None:
        """Takes what another process has handed over; like `submit`, but it goes no further."""
        away = self._away
        if away is not None and away.end_here(request, on_answer):
            return
        self.counters.requests += 1
        job = self._job_of(request, on_answer)
        if isinstance(request.origin, AskedElsewhere):
            job.bound = request.origin.bound
        elif request.origin is not None:
            job.on_answer = without_value(on_answer)
        self._take(job)

    def _submit_child(
        self, request: Request, on_answer: OnAnswer, parent: Frame, bound: Limits
    ) -> None:
        """Takes the request of a handler; like `submit`, but also while the node is closing."""

        def wake_parent(answer: Answer) -> None:
            on_answer(answer)
            self.lanes.wake()

        away = self._away
        if away is not None and away.is_away(request):
            away.send_child(request, wake_parent, parent, bound)
            return
        self.counters.requests += 1
        job = self._job_of(request, wake_parent)
        job.parent, job.bound = parent, bound
        self._take(job)

    def _job_of(self, request: Request, on_answer: OnAnswer) -> Job:
        return Job(
            request=request,
            actor=actor_of_request(request),
            on_answer=on_answer,
            now_ns=self._clock.monotonic_ns(),
        )

    def _take(self, job: Job) -> None:
        """Takes a job in; it is answered exactly once."""
        self._jobs.add(job)
        # A cold entity behind a server is fetched first: reading it then makes nobody wait.
        let_in = partial(self._let_in, job)
        if job.request.calls:
            prefetch_group(self._store, job.request.calls, let_in)
        elif self._store.prefetch(job.request.entity, let_in):
            self._let_in(job)

    def _let_in(self, job: Job) -> None:
        """Admits a job, or answers it at once."""
        request = job.request
        if job.is_over:
            return
        try:
            if request.entity == self._native_entity:
                self._answer(job, self._run_native(request), None)
            else:
                self._admit(job)
        except LithoxError as error:
            self.counters.refused += 1
            self._answer(job, None, error)
        except Exception as bug:  # noqa: BLE001 - the border: our bug must not stop the node
            self._answer(job, None, self._internal(bug))

    def check(self, request: Request) -> Job:
        """Returns a request as a job that may be admitted, without admitting it.

        Raises:
            LithoxError: why it may not, as its answer would say; it leaves an audit record.
        """
        job = self._job_of(request, lambda _: None)
        try:
            self._check(job)
        except LithoxError as error:
            self.counters.refused += 1
            self._audit(job, error.code, str(error))
            raise
        return job

    def check_call(self, caller: Caller, entity: str) -> None:
        """Raises NotPermitted unless `caller` may call `entity`; NotFound if there is none."""
        if is_system_entity(entity):
            raise NotPermitted(f"{entity} belongs to the node")
        check_access(actor_of(caller), self._resolve(entity))

    def _admit(self, job: Job) -> None:
        first = self._check(job)
        if job.is_recorded and not self._enter(job):
            return
        self._start(job, first)

    def _check(self, job: Job) -> Resolution | None:
        """Encodes the arguments; returns what the entity was last resolved to, if it is one."""
        request = job.request
        if self.is_closing and job.parent is None:
            raise StoreUnavailable("this node is closing", retry_after_ms=1000)
        if self._away is not None:
            self._away.check_here(request)
        first: Resolution | None = None
        if request.calls:
            job.args = encode_calls(job)
            self.runs.groups.resolve(job, self._resolve)
        else:
            if is_system_entity(request.entity):
                raise NotPermitted(f"{request.entity} belongs to the node")
            job.args = encode_value(request.args)
            # What was resolved before serves for admission: a run that finds the entity's record
            # changed decides anew when it begins. Only a refusal must not rest on a stale one.
            first = self.catalog.find_resolution(request.entity)
            if first is None or not may_call(job.actor, first):
                first = self._resolve(request.entity)
            if not may_call(job.actor, first):
                raise refusal_of(job.actor, request.entity)
        if request.deadline_ns is not None and request.deadline_ns <= job.started_ns:
            raise DeadlinePassed("the caller's deadline has passed before the request was taken")
        return first

    def _restart(self, job: Job) -> None:
        """Begins a job anew that another node has beaten, unless that has answered it."""
        try:
            found = self._find_recorded(job) if job.is_recorded else None
            if found is None:
                self._start(job)
            else:
                self._answer(job, found.answer, None, is_recorded=True)
        except LithoxError as error:
            self._answer(job, None, error)
        except Exception as bug:  # noqa: BLE001 - the border, as in `submit`
            self._answer(job, None, self._internal(bug))

    def _resolve(self, entity: str) -> Resolution:
        snapshot = self._store.open_snapshot()
        try:
            return self.catalog.resolve(entity, find_record(snapshot, entity))
        finally:
            snapshot.release()

    def _start(self, job: Job, resolution: Resolution | None = None) -> None:
        """Admits the run of a request that has none yet.

        Args:
            resolution: what its entity was when last resolved; resolved anew if None.
        """
        request = job.request
        if request.calls:
            job.calls = self.runs.groups.resolve(job, self._resolve)
            self.runs.admit(job, job.calls[0])
            self.lanes.wake()
            return
        resolution = resolution or self._resolve(request.entity)
        try:
            resolved = self.catalog.handler(resolution, request.handler)
            limits = limits_of(self.catalog, job, resolved)
        except LithoxError:
            fresh = self._resolve(request.entity)
            if fresh is resolution:
                raise
            resolution = fresh
            resolved = self.catalog.handler(resolution, request.handler)
            limits = limits_of(self.catalog, job, resolved)
        first = GroupCall(
            entity=request.entity,
            handler=request.handler,
            args=job.args,
            resolution=resolution,
            resolved=resolved,
            limits=limits,
        )
        self.runs.admit(job, first)
        self.lanes.wake()

    def _run_native(self, request: Request) -> bytes:
        if not request.caller.is_admin:
            raise NotPermitted(f"{request.caller.identity} may not call the node")
        native = self.natives.get(request.handler)
        if native is None:
            raise NotFound(f"the node entity has no handler {request.handler!r}")
        return encode_value(native(request))

    def _enter(self, job: Job) -> bool:
        """Returns whether a request with an id is to run; else it is answered or waits."""
        request = job.request
        assert request.request_id is not None
        job.asked_digest = digest_of_job(job)
        if not self._in_flight.enter(job):
            self._watch(job)
            return False
        job.holds_id = True
        found = self._find_recorded(job)
        if found is not None:
            self._answer(job, found.answer, None, is_recorded=True)
            return False
        account = request.caller.account
        waiting = self._in_flight.count(account)
        if self._store.count_results(account) + waiting > self._results_max:
            raise ResultsFull(
                f"account {account} keeps {self._results_max} results, which is its bound; "
                f"they are dropped after {format_duration(self._result_kept_ns)}",
                retry_after_ms=60_000,
            )
        return True

    def _find_recorded(self, job: Job) -> ResultRecord | None:
        """Returns the answer recorded under the job's id, if there is one.

        Raises:
            IdReused: it is the answer to something else.
            NotPermitted: it may not be told any more.
        """
        request = job.request
        found = find_recorded(self._store, self._clock, key_of(job))
        if found is None:
            return None
        if found.asked_digest != job.asked_digest:
            raise id_reused(job)
        if request.calls:
            self.runs.groups.resolve(job, self._resolve)
        elif not may_call(job.actor, self._resolve(request.entity)):
            raise refusal_of(job.actor, request.entity)
        return found

    def _watch(self, job: Job) -> None:
        """Sees to it that a waiter is answered when its own deadline passes."""
        deadline_ns = job.request.deadline_ns
        if deadline_ns is not None:
            self._waiting_seq += 1
            heappush(self._waiting, (deadline_ns, self._waiting_seq, job))
            if self.lanes.on_deadline is not None:
                self.lanes.on_deadline(deadline_ns)

    # -- out --------------------------------------------------------------------------------

    def _settle(self, job: Job, body: bytes | None, error: Exception | None) -> None:
        """A run has ended and its answer may leave."""
        if error is not None and not isinstance(error, (LithoxError, InternalError)):
            error = self._internal(error)
        self._answer(job, body, error)

    def _answer(
        self, job: Job, body: bytes | None, error: Exception | None, *, is_recorded: bool = False
    ) -> None:
        """Gives the answer to `job` and to all that wait for it; starts the next waiter."""
        following = self._answer_one(job, body, error, is_recorded=is_recorded)
        # A loop, since each of many waiters may fail at once.
        while following is not None:
            try:
                following.holds_id = True
                if self.is_closing and following.parent is None:
                    raise StoreUnavailable("this node is closing", retry_after_ms=1000)
                found = self._find_recorded(following)
                if found is None:
                    self._start(following)
                    return
                waiter = self._answer_one(following, found.answer, None, is_recorded=True)
            except LithoxError as refusal:
                waiter = self._answer_one(following, None, refusal)
            except Exception as bug:  # noqa: BLE001 - the border, as in `submit`
                waiter = self._answer_one(following, None, self._internal(bug))
            following = waiter

    def _answer_one(
        self, job: Job, body: bytes | None, error: Exception | None, *, is_recorded: bool = False
    ) -> Job | None:
        """Answers `job`, and its waiters when it succeeded; returns the waiter that runs next."""
        if error is not None or body is None:
            self._leave(job, None, error, is_recorded=is_recorded)
        else:
            value = decode_value(body) if job.value is UNKNOWN else job.value
            self._leave(job, value, None, is_recorded=is_recorded)
        if not job.holds_id:
            return None
        job.holds_id = False
        answered, following, told = self._in_flight.leave(job, is_success=error is None)
        for tell in told:
            tell(
                Answer(
                    request_id=job.request.request_id,
                    value=None if body is None else decode_value(body),
                    error=error,
                )
            )
        for waiter in answered:
            # Decoded for each: they may change what they are given.
            self._leave(
                waiter, None if body is None else decode_value(body), None, is_recorded=True
            )
        return following

    def _leave(
        self, job: Job, value: Any, error: Exception | None, *, is_recorded: bool = False
    ) -> None:
        if job.is_over:
            return
        job.is_over = True
        self._jobs.discard(job)
        now_ns = self._clock.monotonic_ns()
        job.usage.wall_ns = now_ns - job.started_ns
        counters = self.counters
        counters.conflicts += job.conflicts
        if error is None:
            counters.succeeded += 1
        else:
            counters.failed += 1
            code = getattr(error, "code", "internal")
            key = "app" if code.startswith("app.") else code
            counters.by_code[key] = counters.by_code.get(key, 0) + 1
            self._audit(job, code, str(error))
        job.on_answer(
            Answer(
                request_id=job.request.request_id,
                value=value,
                error=error,
                usage=job.usage,
                is_recorded=is_recorded,
            )
        )
        self._note_left()

    def _note_left(self) -> None:
        if self.is_closing and not self.open_count and self.on_idle is not None:
            self.on_idle()

    def _internal(self, bug: Exception) -> InternalError:
        self.counters.internal_errors += 1
        self._on_bug(bug)
        return InternalError("an internal error; the request did nothing. The node's log has more")

    def _audit(self, job: Job, outcome: str, detail: str) -> None:
        request = job.request
        self.record_act(
            identity=request.caller.identity,
            act=f"call:{request.handler}",
            entity=request.entity,
            outcome=outcome,
            detail=detail,
        )

    def record_act(
        self, *, identity: str, act: str, entity: str, outcome: str, detail: str = ""
    ) -> None:
        """Leaves a bounded audit record; never blocks."""
        self._store.record_audit(
            AuditRecord(
                at_ns=self._clock.wall_ns(),
                identity=identity,
                act=act[:100],
                entity=entity[:1100],
                outcome=outcome,
                detail=detail[:AUDIT_DETAIL_CHARACTERS_MAX],
            )
        )

    # -- from outside -----------------------------------------------------------------------

    @property
    def open_count(self) -> int:
        """Requests taken and not answered yet, those handed over included."""
        return len(self._jobs) + (0 if self._away is None else self._away.count)

    def processes(self) -> list[ProcessView]:
        """Returns all processes by PID."""
        return self._kernel.table()

    def account_of(self, pid: Pid) -> str | None:
        """Returns who pays for a process, or None when there is no such process."""
        view = self._kernel.find(pid)
        return None if view is None else view.account

    def kill(self, pid: Pid) -> bool:
        """Ends a process and the request it belongs to; False when there is no such process."""
        frame = self.runs.table.by_pid.get(pid)
        if not isinstance(frame, Frame):
            return False
        root = frame.job.frames[0]
        self._kernel.notify_killed(root.pid, "request.cancelled", self._clock.monotonic_ns())
        self.lanes.wake()
        return True

    def notify_time(self) -> None:
        """To be called when a deadline may have come."""
        waiting, now_ns = self._waiting, self._clock.monotonic_ns()
        while waiting and (waiting[0][0] <= now_ns or waiting[0][2].is_over):
            job = heappop(waiting)[2]
            if not job.is_over and not job.holds_id:
                self._in_flight.forget(job)
                error = DeadlinePassed("the deadline passed while another request had the id")
                self._leave(job, None, error)
        if waiting and self.lanes.on_deadline is not None:
            self.lanes.on_deadline(waiting[0][0])
        self.lanes.wake()

    def end_all(self) -> None:
        """Ends every run that has not been handed to the store; used while closing."""
        for job in list(self._jobs):
            if job.frames:
                self.kill(job.frames[0].pid)

    def stop(self) -> None:
        """Steps nothing more. Blocks for at most one slice."""
        self.runs.code.stop()
        self.lanes.stop()

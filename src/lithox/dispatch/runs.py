"""THE ORDER OF A RUN: open the transaction, start the guest, follow it to its end.

Theory of operation. A job has a stack of frames: the requested run and, above it, joined callees.
Each frame is one kernel process and one guest. The root's transaction opens when its first slice
begins, not when it is admitted, so short runs read and commit within one slice and rarely lose.
What a slice came to goes through `after_step`, which answers system calls, merges what guests say
they read and wrote, and tells the kernel what became of the process:

    YIELDED   it goes on later
    ASKED     it waits (for a callee, a request of its own, its turn on contended entities, an
              entity that a server must send first, or its code)
    RERUN     it lost against another commit and begins again, or goes on with the next call of
              its group
    FINISHED  it is over; its commit is the store's, or its error has been settled

How it commits is in `committing.py`, what follows a conflict in `retrying.py`.

Invariants: nothing of a frame that failed stays in the write set; a job is settled exactly once.

It is long because every way a slice can end is answered in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lithox.dispatch.atomic import Groups, finish, name_call
from lithox.dispatch.catalog import Catalog
from lithox.dispatch.cold import ColdEntities
from lithox.dispatch.cold_code import ColdCode, Schedule, Workers
from lithox.dispatch.committing import Commits
from lithox.dispatch.endpoints import Endpoint, Endpoints, add_output, merge_state, refuse
from lithox.dispatch.faults import ends_run
from lithox.dispatch.frames import FrameTable
from lithox.dispatch.job import Clock, Frame, GroupCall, Job, LogSink, OnCommitted, Settle
from lithox.dispatch.joined import JoinedCalls
from lithox.dispatch.origin import Origin
from lithox.dispatch.outcomes import error_of_end, error_of_outcome, error_of_step
from lithox.dispatch.requesting import Requesting, SubmitChild, find_divergence
from lithox.dispatch.retrying import Retries
from lithox.dispatch.starting import Starter
from lithox.dispatch.transaction import Transaction, range_of_prefix
from lithox.errors import BadArguments, Conflict, GuestProtocolError, LithoxError
from lithox.kernel.kernel import Kernel
from lithox.kernel.process import SliceEnd
from lithox.model.ids import Pid
from lithox.model.values import decode_value
from lithox.sandbox import messages
from lithox.sandbox.contract import Step, StepKind
from lithox.store.contract import Store

NOTHING: Final = b"\xc0"
"""nil, the value of a run that was done already."""
WRITERS_MAX: Final = 16_384
"""Handlers known to write; beyond it all are forgotten, which costs each one wasted attempt."""


def entities_of(job: Job) -> set[str]:
    """Returns the entities a job names itself; joined callees may add others."""
    return {call.entity for call in job.calls} or {job.request.entity}


def _not_plain(error: BadArguments) -> GuestProtocolError:
    return GuestProtocolError(f"the handler's value is not plain: {error.message}")


@dataclass(slots=True, kw_only=True)
class Runs:
    """All runs of a node. Every method is called on the node's thread.

    Attributes:
        seeds: gives 63 unpredictable bits for each run.
        settle: told how a job ended, once its answer may leave.
        more: system calls by name, beside those of `Endpoints` itself.
        restart: begins a job from its admission, after another node has committed first, or
            answers it as that has.
        submit_child: takes the request of a handler.
        wake: asks for a turn of the pump.
        schedule: runs a function at the loop's next turn.
        workers: threads that make code ready; None: a load does it all at once.
        is_elsewhere: says which entities other processes own; None: none of them.
        native_entity: the node's own entity, which takes no part in transactions.
        result_kept_ns: how long the answer of a request with an id is kept.
        on_committed: told of every commit that is visible, in commit order.
        on_durable: told of every commit that is durable, before its answer leaves; the same
            triple. A commit that is withdrawn is told to nobody.
    """

    kernel: Kernel
    store: Store
    catalog: Catalog
    clock: Clock
    seeds: Callable[[], int]
    settle: Settle
    log: LogSink
    on_bug: Callable[[Exception], object]
    restart: Callable[[Job], None]
    submit_child: SubmitChild
    wake: Callable[[], None]
    native_entity: str
    result_kept_ns: int
    schedule: Schedule
    workers: Workers | None = None
    is_elsewhere: Callable[[str], bool] | None = None
    more: dict[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    on_committed: list[OnCommitted] = field(default_factory=list[OnCommitted])
    on_durable: list[OnCommitted] = field(default_factory=list[OnCommitted])
    table: FrameTable = field(init=False)
    starter: Starter = field(init=False)
    cold: ColdEntities = field(init=False)
    code: ColdCode = field(init=False)
    calls: JoinedCalls = field(init=False)
    groups: Groups = field(init=False)
    retries: Retries = field(init=False)
    commits: Commits = field(init=False)
    requesting: Requesting = field(init=False)
    endpoints: Endpoints = field(init=False)
    _writers: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """(module, handler) of root runs that have written."""

    def __post_init__(self) -> None:
        self.table = FrameTable(kernel=self.kernel)
        self.code = ColdCode(
            catalog=self.catalog,
            kernel=self.kernel,
            clock=self.clock,
            schedule=self.schedule,
            wake=self.wake,
            on_bug=self.on_bug,
            workers=self.workers,
        )
        self.starter = Starter(catalog=self.catalog, clock=self.clock, code=self.code)
        self.cold = ColdEntities(
            store=self.store, kernel=self.kernel, clock=self.clock, wake=self.wake
        )
        self.calls = JoinedCalls(
            table=self.table,
            catalog=self.catalog,
            clock=self.clock,
            starter=self.starter,
            cold=self.cold,
            is_elsewhere=self.is_elsewhere,
        )
        self.groups = Groups(
            table=self.table,
            catalog=self.catalog,
            calls=self.calls,
            native_entity=self.native_entity,
        )
        self.retries = Retries(
            kernel=self.kernel,
            table=self.table,
            clock=self.clock,
            settle=self.settle,
            store=self.store,
            restart=self.restart,
            rewind=self.groups.rewind,
        )
        self.commits = Commits(
            kernel=self.kernel,
            store=self.store,
            table=self.table,
            clock=self.clock,
            settle=self.settle,
            retries=self.retries,
            result_kept_ns=self.result_kept_ns,
            on_committed=self.on_committed,
            on_durable=self.on_durable,
        )
        self.requesting = Requesting(
            kernel=self.kernel,
            table=self.table,
            clock=self.clock,
            submit=self.submit_child,
            end_by_fault=self._end_by_child,
        )
        more = {messages.CALL_REQUEST: self.requesting.start, **self.more}
        self.endpoints = Endpoints(start_call=self.calls.start, log=self.log, more=more)

    # -- admission --------------------------------------------------------------------------

    def admit(self, job: Job, first: GroupCall) -> None:
        """Makes the job's root process; it waits for its first slice.

        Args:
            first: what it begins with: the handler asked for, or the first call of a group.

        Raises:
            Overloaded: the node or the account has as many processes as it may.
        """
        frame = Frame(
            job=job,
            parent=None,
            entity=first.entity,
            handler=first.handler,
            args=first.args,
            actor=job.actor,
            resolution=first.resolution,
            resolved=first.resolved,
            limits=first.limits,
        )
        job.seed = self.seeds()
        frame.driver = self
        self.table.spawn(frame, job.started_ns)

    # -- beginning --------------------------------------------------------------------------

    def begin(self, frame: Frame) -> SliceEnd | None:
        """Opens what the frame needs for its first instruction.

        Returns:
            None when its guest is ready to step; else what to tell the kernel: it must wait its
            turn, for its entity or for its code, or it has failed and is settled.
        """
        job = frame.job
        if frame.is_waiting:
            frame.is_waiting = False
            if frame.next_call is not None:
                return self._after_ask(frame, None)
        elif frame.parent is None and not self.cold.is_at_hand(frame, frame.entity):
            return SliceEnd.ASKED
        origin: Origin | None = None
        if job.transaction is None:
            assert frame.parent is None
            if job.turn is None and self.table.turns and self._must_wait(frame):
                return self.retries.take_turn(frame, entities_of(job))
            # Before the transaction is open: what it reads must not grow old meanwhile.
            if not self.code.is_at_hand(frame):
                return SliceEnd.ASKED
            job.usage.attempts += 1
            job.transaction = Transaction(self.store.open_snapshot())
            origin = job.request.origin
        try:
            if origin is not None and not origin.is_due(job.transaction):
                if job.is_recorded:
                    # Its answer is recorded, or was: begun again, the run finds it.
                    raise Conflict("another node has done it", retry_after_ms=50)
                job.value = None
                return self.commits.commit(frame, NOTHING, is_done=True)
            if origin is not None:
                job.transaction.handler_from = job.transaction.savepoint()
            is_started = self.starter.start_guest(frame)
        except LithoxError as error:
            return self._frame_failed(frame, error)
        return None if is_started else SliceEnd.ASKED

    def _must_wait(self, frame: Frame) -> bool:
        """Returns whether a run waits its turn before it begins.

        Whoever is not known to write may read past those who hold a turn, and makes nobody wait
        for it; if it writes after all, it asks for its turn then.
        """
        job = frame.job
        if not self.table.turns.is_taken_by_other(frame.entity, None) and not job.calls:
            return False
        if job.calls:
            return not self.table.turns.is_free_for(entities_of(job), None)
        return (frame.resolved.module, frame.handler) in self._writers

    # -- following --------------------------------------------------------------------------

    def after_step(self, frame: Frame, step: Step) -> SliceEnd | None:
        """Takes what a step came to.

        Returns:
            None when a system call was answered and the guest can step on at once; else what to
            tell the kernel.
        """
        kind = step.kind
        if kind is StepKind.ASKED:
            return self._after_ask(frame, step.data)
        if kind is StepKind.FINISHED:
            return self._after_finish(frame, step.data)
        if kind is StepKind.YIELDED:
            return SliceEnd.YIELDED
        where = f"{frame.entity}:{frame.handler}"
        error = error_of_step(where, frame.limits, frame.guest, step)
        return self._frame_failed(frame, error, is_outcome_known=False)

    def _after_ask(self, frame: Frame, data: bytes | None) -> SliceEnd | None:
        """Answers a system call; `data` None: the joined call that waited for its entity."""
        guest, endpoints = frame.guest, self.endpoints
        assert guest is not None
        try:
            answer = endpoints.go_on(frame) if data is None else endpoints.answer(frame, data)
        except LithoxError as error:
            if not self.kernel.may_finish(frame.pid, self.clock.monotonic_ns()):
                # Its time ran out while its call was read: its end is the one the kernel tells,
                # not that the kernel made no process for its callee any more.
                return SliceEnd.YIELDED
            return self._frame_failed(frame, error, is_outcome_known=False)
        if answer is None:
            return SliceEnd.ASKED
        guest.answer(answer)
        return None

    def _after_finish(self, frame: Frame, data: bytes) -> SliceEnd:
        try:
            add_output(frame, len(data))
            outcome = messages.decode_outcome(data)
            if outcome.kind != messages.OUTCOME_RETURNED:
                merge_state(frame, outcome.reads, outcome.scans, {})
                return self._frame_failed(frame, error_of_outcome(outcome))
            merge_state(frame, outcome.reads, outcome.scans, outcome.writes)
            self.starter.keep_record(frame)
        except LithoxError as error:
            return self._frame_failed(frame, error, is_outcome_known=False)
        if frame.parent is None:
            return self._root_finished(frame, bytes(outcome.body))
        try:
            decode_value(bytes(outcome.body))
        except BadArguments as error:
            return self._frame_failed(frame, _not_plain(error))
        except LithoxError as error:
            return self._frame_failed(frame, error)
        transaction = frame.job.transaction
        assert transaction is not None
        changed = transaction.has_written(frame.parent.entity, frame.savepoint)
        self.calls.answer_caller(frame, messages.encode_answer(outcome.body, changed))
        return SliceEnd.FINISHED

    # -- ends -------------------------------------------------------------------------------

    def _frame_failed(
        self, frame: Frame, error: LithoxError, *, is_outcome_known: bool = True
    ) -> SliceEnd:
        """A frame ends without effect: raised in its caller, or the answer of the job.

        But a fault of the node says nothing about the frame. A read that the store could not
        answer any more is the only `Conflict` of this run that comes here: then all of it begins
        again. Every other fault ends all of it.
        """
        job, transaction = frame.job, frame.job.transaction
        assert transaction is not None
        if isinstance(error, Conflict) and job.fault is None:
            return self.retries.begin_again(frame, transaction)
        if ends_run(error):
            return self.retries.give_up(job, self._named(job.frames[0], error), at_step=frame)
        if not is_outcome_known and frame.is_preloaded:
            # The guest died before it could say what it used: assume all it was given.
            transaction.add_range(range_of_prefix(frame.entity, ""))
        if frame.parent is not None:
            transaction.roll_back_to(frame.savepoint)
            self.calls.answer_caller(frame, refuse(error))
            return SliceEnd.FINISHED
        return self.commits.fail(frame, job.diverged or self._named(frame, error))

    def _end_by_child(self, frame: Frame, error: Exception) -> None:
        """A request that `frame` waits for has ended by a fault of the node."""
        job = frame.job
        if isinstance(error, LithoxError):
            error = self._named(job.frames[0], error)
        self.retries.give_up(job, error, at_step=None)

    @staticmethod
    def _named(frame: Frame, error: LithoxError) -> LithoxError:
        """Returns the error with the call it belongs to, if the frame runs a group of them."""
        if not frame.job.calls:
            return error
        return name_call(error, frame.call_index, frame.entity, frame.handler)

    def _root_finished(self, frame: Frame, body: bytes) -> SliceEnd:
        """A call from outside has returned: on to the next one of its group, or to the commit.

        The value is looked at first: what nobody could be told must not be committed.
        """
        job, transaction = frame.job, frame.job.transaction
        assert transaction is not None
        try:
            job.value = decode_value(body)
            if self.groups.has_next(frame):
                self.groups.next_call(frame, body)
                return SliceEnd.RERUN
        except BadArguments as error:
            return self._frame_failed(frame, _not_plain(error))
        except LithoxError as error:
            return self._frame_failed(frame, error)
        if job.calls:
            body = finish(job, body)
        if job.committed and (diverged := find_divergence(job)) is not None:
            return self.commits.fail(frame, diverged)
        origin: Origin | None = job.request.origin
        # What its origin writes says nothing about the handler.
        is_writer = transaction.is_writer
        if origin is not None:
            try:
                origin.complete(transaction, body)
            except LithoxError as error:
                return self._frame_failed(frame, error)
        if is_writer:
            self._note_writer(frame)
        return self.commits.commit(frame, body)

    def _note_writer(self, frame: Frame) -> None:
        """Remembers that runs of this handler write, so that others of it wait their turn."""
        key = (frame.resolved.module, frame.handler)
        if key not in self._writers:
            if len(self._writers) >= WRITERS_MAX:
                self._writers.clear()
            self._writers.add(key)

    # -- closing ----------------------------------------------------------------------------

    def end_from_outside(self, frame: Frame, code: str) -> None:
        """The kernel has ended a process (kill, deadline, wall limit)."""
        if frame.is_over:
            # Its job was settled while a slice of it was out; now its guest can be freed too.
            self.table.close_frame(frame)
            return
        error = self.code.find_end(frame, code) or error_of_end(frame, code)
        if frame.parent is not None:
            transaction = frame.job.transaction
            assert transaction is not None
            if frame.is_preloaded:
                transaction.add_range(range_of_prefix(frame.entity, ""))
            transaction.roll_back_to(frame.savepoint)
            self.calls.answer_caller(frame, refuse(error))
            return
        self.table.close_job(frame.job)
        self.settle(frame.job, None, self._named(frame, error))

    def break_off(self, frame: Frame, bug: Exception) -> SliceEnd:
        """Ends the whole job because of a bug of ours; it has done nothing."""
        job = frame.job
        for other in list(job.frames):
            if other is not frame:
                self.kernel.notify_ended(other.pid, self.clock.monotonic_ns())
        self.table.close_job(job)
        self.settle(job, None, bug)
        return SliceEnd.ENDED

    @property
    def stays_fast(self) -> bool:
        """A run is counted whole: one that makes many calls is a long one."""
        return False

    # -- what lanes ask besides -------------------------------------------------------------

    def charge_cpu(self, frame: Frame, cpu_ns: int) -> None:
        """Notes the processor time of a slice on its request."""
        frame.job.usage.cpu_ns += cpu_ns

    def following(self, frame: Frame) -> Pid | None:
        """Returns the innermost frame of the request: it goes on first."""
        frames = frame.job.frames
        return frames[-1].pid if frames else None

    def close_guest(self, frame: Frame) -> None:
        """Frees a frame's guest."""
        self.table.close_guest(frame)

"""THE ORDER OF A RUN: open the transaction, start the guest, follow it to commit, abort or re-run.

Theory of operation. A job has a stack of frames: the requested run and, above it, joined callees.
Each frame is one kernel process and one guest. The root's transaction opens when its first slice
begins, not when it is admitted, so short runs read and commit within one slice and rarely lose.
What a slice came to goes through `after_step`, which answers system calls, merges what guests say
they read and wrote, and tells the kernel what became of the process:

    YIELDED   it goes on later
    ASKED     it waits (for a callee, or for its turn on contended entities)
    RERUN     it lost against another commit and begins again
    FINISHED  it is over; its commit is the store's, or its error has been settled

Invariants: nothing of a frame that failed stays in the write set; a job is settled exactly once;
once the commit is the store's neither kill nor deadline changes the answer.

It is long because begin, commit, abort and re-run share one transaction step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from lithox.dispatch.catalog import Catalog, Resolution, ResolvedHandler
from lithox.dispatch.endpoints import Endpoint, Endpoints, add_output, merge_state, refuse
from lithox.dispatch.frames import FrameTable
from lithox.dispatch.job import UNKNOWN, Clock, Frame, Job, LogSink
from lithox.dispatch.joined import JoinedCalls
from lithox.dispatch.origin import Origin
from lithox.dispatch.outcomes import error_of_end, error_of_outcome, error_of_step
from lithox.dispatch.starting import Starter
from lithox.dispatch.transaction import Transaction, range_of_prefix
from lithox.dispatch.turns import Turn
from lithox.errors import (
    Conflict,
    GuestProtocolError,
    LithoxError,
    Overloaded,
    TransactionError,
)
from lithox.kernel.kernel import Kernel
from lithox.kernel.process import SliceEnd
from lithox.kernel.retry import Retry, decide_retry
from lithox.model.ids import (
    Pid,
)
from lithox.model.limits import Limits
from lithox.model.values import decode_value
from lithox.sandbox import messages
from lithox.sandbox.contract import Step, StepKind
from lithox.store.contract import ResultRecord, Store

RESULT_KEPT_NS: Final = 24 * 3600 * 1_000_000_000

Settle = Callable[[Job, bytes | None, Exception | None], None]
"""(job, encoded value, error): told once, when the answer may leave."""
OnCommitted = Callable[[Job, Transaction, int], None]
"""(job, its transaction, version)."""
NOTHING: Final = b"\xc0"
"""nil, the value of a run that was done already."""


@dataclass(slots=True, kw_only=True)
class Runs:
    """All runs of a node. Every method is called on the node's thread.

    Attributes:
        seeds: gives 63 unpredictable bits for each run.
        settle: told how a job ended, once its answer may leave.
        more: system calls by name, beside those of `Endpoints` itself.
        restart: begins a job from its admission, after another node has committed first.
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
    more: dict[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    on_committed: list[OnCommitted] = field(default_factory=list[OnCommitted])
    on_durable: list[OnCommitted] = field(default_factory=list[OnCommitted])
    table: FrameTable = field(init=False)
    starter: Starter = field(init=False)
    calls: JoinedCalls = field(init=False)
    endpoints: Endpoints = field(init=False)

    def __post_init__(self) -> None:
        self.table = FrameTable(kernel=self.kernel)
        self.starter = Starter(catalog=self.catalog, clock=self.clock)
        self.calls = JoinedCalls(
            table=self.table, catalog=self.catalog, clock=self.clock, starter=self.starter
        )
        self.endpoints = Endpoints(start_call=self.calls.start, log=self.log, more=self.more)

    # -- admission --------------------------------------------------------------------------

    def admit(
        self, job: Job, resolution: Resolution, resolved: ResolvedHandler, limits: Limits
    ) -> None:
        """Makes the job's root process; it waits for its first slice.

        Raises:
            Overloaded: the node or the account has as many processes as it may.
        """
        request = job.request
        frame = Frame(
            job=job,
            parent=None,
            entity=request.entity,
            handler=request.handler,
            args=job.args,
            actor=job.actor,
            resolution=resolution,
            resolved=resolved,
            limits=limits,
        )
        job.seed = self.seeds()
        if not job.run_id:
            job.run_id = f"r.{job.seed:016x}"
        frame.driver = self
        self.table.spawn(frame, job.started_ns)

    # -- beginning --------------------------------------------------------------------------

    def begin(self, frame: Frame) -> SliceEnd | None:
        """Opens what the frame needs for its first instruction.

        Returns:
            None when its guest is ready to step; else what to tell the kernel: it must wait its
            turn, or it has failed and is settled.

        Blocks: while its module is compiled, if it is not loaded yet.
        """
        job = frame.job
        if frame.parent is None:
            if job.turn is None and self.table.turns.is_taken_by_other(frame.entity, None):
                return self._take_turn(frame, {frame.entity})
            if job.transaction is None:
                job.usage.attempts += 1
                job.transaction = Transaction(self.store.open_snapshot())
        try:
            origin: Origin | None = job.request.origin
            if origin is not None and frame.parent is None:
                assert job.transaction is not None
                if not origin.is_due(job.transaction):
                    job.value = None
                    return self._commit(frame, NOTHING, is_done=True)
            self.starter.start_guest(frame)
        except LithoxError as error:
            return self._frame_failed(frame, error)
        return None

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

    def _after_ask(self, frame: Frame, data: bytes) -> SliceEnd | None:
        guest = frame.guest
        assert guest is not None
        try:
            answer = self.endpoints.answer(frame, data)
        except LithoxError as error:
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
        except msgspec.MsgspecError as error:
            broken = GuestProtocolError(f"the guest's outcome cannot be read: {error}")
            return self._frame_failed(frame, broken, is_outcome_known=False)
        except LithoxError as error:
            return self._frame_failed(frame, error, is_outcome_known=False)
        if frame.parent is None:
            return self._commit_plain(frame, bytes(outcome.body))
        transaction = frame.job.transaction
        assert transaction is not None
        changed = transaction.has_written(frame.parent.entity, frame.savepoint)
        self.calls.answer_caller(frame, messages.encode_answer(outcome.body, changed))
        return SliceEnd.FINISHED

    # -- ends -------------------------------------------------------------------------------

    def _frame_failed(
        self, frame: Frame, error: LithoxError, *, is_outcome_known: bool = True
    ) -> SliceEnd:
        """A frame ends without effect: raised in its caller, or the answer of the job."""
        job, transaction = frame.job, frame.job.transaction
        assert transaction is not None
        if not is_outcome_known and frame.is_preloaded:
            # The guest died before it could say what it used: assume all it was given.
            transaction.add_range(range_of_prefix(frame.entity, ""))
        if frame.parent is not None:
            transaction.roll_back_to(frame.savepoint)
            self.calls.answer_caller(frame, refuse(error))
            return SliceEnd.FINISHED
        version = transaction.snapshot.version
        if not self.store.is_current(version, transaction.reads, transaction.ranges):
            return self._run_again(frame, transaction)
        reads, ranges = transaction.reads, transaction.ranges
        self.table.close_job(job)

        def leave(failure: TransactionError | None) -> None:
            if isinstance(failure, Conflict):
                self._lost_elsewhere(job, failure)
            else:
                self.settle(job, None, failure or error)

        if self.store.when_read_durable(reads, ranges, leave, up_to_version=version):
            leave(None)
        return SliceEnd.FINISHED

    def _commit_plain(self, frame: Frame, body: bytes) -> SliceEnd:
        """Commits, after a look at the value: what nobody could be told must not be committed."""
        try:
            frame.job.value = decode_value(body)
        except LithoxError as error:
            broken = GuestProtocolError(f"the handler's value is not plain: {error.message}")
            return self._frame_failed(frame, broken)
        origin: Origin | None = frame.job.request.origin
        if origin is not None:
            assert frame.job.transaction is not None
            origin.complete(frame.job.transaction, body)
        return self._commit(frame, body)

    def _commit(self, frame: Frame, body: bytes, *, is_done: bool = False) -> SliceEnd:
        """Hands what the run has done to the store.

        Args:
            is_done: it found that another run did it: nothing is recorded.
        """
        job, transaction = frame.job, frame.job.transaction
        assert transaction is not None
        if job.request.deadline_ns is not None and not self.kernel.may_finish(
            frame.pid, self.clock.monotonic_ns()
        ):
            # The deadline passed inside this slice: the kernel's end of it is on its way.
            return SliceEnd.YIELDED
        result = None if is_done else self._result_of(job, body)
        if self.table.turns and transaction.writes:
            written = {cell[0] for cell in transaction.writes}
            if not self.table.turns.is_free_for(written, job.turn):
                return self._run_again(frame, transaction)

        version: int | None = 0

        def leave(failure: TransactionError | None) -> None:
            if failure is None:
                if version:
                    for tell in self.on_durable:
                        tell(job, transaction, version)
                self.settle(job, body, None)
            elif isinstance(failure, Conflict):
                self._lost_elsewhere(job, failure)
            else:
                self.settle(job, None, failure)

        try:
            if not transaction.writes and result is None:
                if self._has_read_withdrawn(transaction):
                    return self._run_again(frame, transaction)
                is_durable = self.store.when_read_durable(
                    transaction.reads,
                    transaction.ranges,
                    leave,
                    up_to_version=transaction.snapshot.version,
                )
                self.table.close_job(job)
                if is_durable:
                    leave(None)
                return SliceEnd.FINISHED
            # Released first: the store need not keep what this commit replaces for ourselves.
            transaction.release()
            version = self.store.submit(transaction.to_commit(result), leave)
        except TransactionError as error:
            self.table.close_job(job)
            self.settle(job, None, error)
            return SliceEnd.FINISHED
        if version is None:
            return self._run_again(frame, transaction)
        for tell in self.on_committed:
            tell(job, transaction, version)
        self.table.close_job(job)
        return SliceEnd.FINISHED

    def _lost_elsewhere(self, job: Job, failure: Conflict) -> None:
        """Another node has committed first, after this one had let go of the run."""
        job.conflicts += 1
        if decide_retry(conflicts=job.conflicts, holds_turn=True) is Retry.GIVE_UP:
            self.settle(job, None, failure)
            return
        job.position = 0
        job.value = UNKNOWN
        self.restart(job)

    def _has_read_withdrawn(self, transaction: Transaction) -> bool:
        """Returns whether something the run read has been taken back since its snapshot."""
        version = transaction.snapshot.version
        return version < self.store.withdrawn_version and not self.store.is_current(
            version, transaction.reads, transaction.ranges
        )

    def _result_of(self, job: Job, body: bytes) -> ResultRecord | None:
        request = job.request
        if request.request_id is None or not (
            request.origin is None or request.origin.records_result
        ):
            return None
        return ResultRecord(
            identity=request.caller.identity,
            entity=request.entity,
            request_id=request.request_id,
            account=request.caller.account,
            asked_digest=job.asked_digest,
            answer=body,
            expires_ns=self.clock.wall_ns() + RESULT_KEPT_NS,
        )

    # -- losing -----------------------------------------------------------------------------

    def _run_again(self, frame: Frame, transaction: Transaction) -> SliceEnd:
        """The run lost against another commit: again, after its turn, or no more."""
        job = frame.job
        job.conflicts += 1
        job.touched |= transaction.participants
        holds_turn = job.turn is not None and job.touched <= set(job.turn.entities)
        choice = decide_retry(conflicts=job.conflicts, holds_turn=holds_turn)
        self.table.drop_attempt(frame)
        if choice is Retry.GIVE_UP:
            self.table.close_job(job)
            self.settle(
                job,
                None,
                Conflict(
                    f"lost {job.conflicts} times against other runs on the same keys",
                    retry_after_ms=50,
                    attempts=job.usage.attempts,
                ),
            )
            return SliceEnd.FINISHED
        if choice is Retry.AGAIN and self.table.turns.is_free_for(job.touched, job.turn):
            return SliceEnd.RERUN
        return self._take_turn(frame, job.touched)

    def _take_turn(self, frame: Frame, entities: set[str]) -> SliceEnd:
        job = frame.job
        if job.turn is not None:
            self.table.turns.give_back(job.turn)
        is_waiting = False

        def go_on() -> None:
            if is_waiting:
                self.kernel.notify_woken(frame.pid, self.clock.monotonic_ns())

        job.turn = Turn(entities | {frame.entity}, go_on)
        if not self.table.turns.ask(job.turn):
            job.turn = None
            self.table.close_job(job)
            error = Overloaded("too many runs wait for this entity", retry_after_ms=100)
            self.settle(job, None, error)
            return SliceEnd.FINISHED
        if job.turn.is_granted:
            return SliceEnd.RERUN
        is_waiting = True
        return SliceEnd.ASKED

    # -- closing ----------------------------------------------------------------------------

    def end_from_outside(self, frame: Frame, code: str) -> None:
        """The kernel has ended a process (kill, deadline, wall limit)."""
        if frame.is_over:
            # Its job was settled while a slice of it was out; now its guest can be freed too.
            self.table.close_frame(frame)
            return
        error = error_of_end(frame, code)
        if frame.parent is not None:
            transaction = frame.job.transaction
            assert transaction is not None
            if frame.is_preloaded:
                transaction.add_range(range_of_prefix(frame.entity, ""))
            transaction.roll_back_to(frame.savepoint)
            self.calls.answer_caller(frame, refuse(error))
            return
        self.table.close_job(frame.job)
        self.settle(frame.job, None, error)

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

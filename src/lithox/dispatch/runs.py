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
after `is_handed_over` neither kill nor deadline changes the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from lithox.dispatch.catalog import Catalog, Resolution, ResolvedHandler
from lithox.dispatch.endpoints import Endpoints, add_output, merge_state, refuse
from lithox.dispatch.job import Clock, Frame, Job, LogSink
from lithox.dispatch.outcomes import error_of_end, error_of_outcome, error_of_step
from lithox.dispatch.records import ENTITY_KEY, EntityRecord, encode_record
from lithox.dispatch.transaction import Transaction, range_of_prefix
from lithox.dispatch.turns import Turn, Turns
from lithox.errors import (
    Conflict,
    GuestError,
    GuestProtocolError,
    LithoxError,
    NotFound,
    NotPermitted,
    Overloaded,
    TransactionError,
)
from lithox.kernel.kernel import Kernel
from lithox.kernel.limits import smallest
from lithox.kernel.process import SliceEnd, Spawn
from lithox.kernel.retry import Retry, decide_retry
from lithox.model.ids import (
    SYSTEM_KEY_PREFIX,
    EntityPath,
    Pid,
    check_entity_path,
    check_handler_name,
    identity_of_entity,
    is_system_entity,
)
from lithox.model.limits import CALL_DEPTH_MAX, PARTICIPANTS_MAX, Limits
from lithox.sandbox import messages
from lithox.sandbox.contract import Step, StepKind
from lithox.security.access import RIGHT_CALL, Actor, is_allowed
from lithox.store.contract import Item, ResultRecord, Store

PRELOAD_BYTES_MAX: Final = 16_384
"""State of entities up to this size travels with the call; larger ones are read key by key."""
RESULT_KEPT_NS: Final = 24 * 3600 * 1_000_000_000

Settle = Callable[[Job, bytes | None, Exception | None], None]
"""(job, encoded value, error): told once, when the answer may leave."""


@dataclass(slots=True, kw_only=True)
class Runs:
    """All runs of a node. Every method is called on the node's thread.

    Attributes:
        seeds: gives 63 unpredictable bits for each run.
        settle: told how a job ended, once its answer may leave.
    """

    kernel: Kernel
    store: Store
    catalog: Catalog
    clock: Clock
    seeds: Callable[[], int]
    settle: Settle
    log: LogSink
    turns: Turns = field(default_factory=Turns)
    frames: dict[Pid, Frame] = field(default_factory=dict[Pid, Frame])
    endpoints: Endpoints = field(init=False)

    def __post_init__(self) -> None:
        self.endpoints = Endpoints(start_call=self._start_call, log=self.log)

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
        self._spawn(frame, job.started_ns)

    def _spawn(self, frame: Frame, now_ns: int) -> None:
        job, parent = frame.job, frame.parent
        pid = self.kernel.notify_spawned(
            Spawn(
                account=job.account,
                name=f"{frame.entity}:{frame.handler}",
                priority=frame.resolved.priority,
                deadline_ns=job.request.deadline_ns,
                wall_end_ns=now_ns + (frame.limits.wall_ns or 0),
                parent=None if parent is None else parent.pid,
            ),
            now_ns,
        )
        if pid is None:
            raise Overloaded(
                "the node or the account has as many processes as it may; try again",
                retry_after_ms=100,
            )
        frame.pid = pid
        self.frames[pid] = frame
        job.frames.append(frame)

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
            if job.turn is None and self.turns.is_taken_by_other(frame.entity, None):
                return self._take_turn(frame, {frame.entity})
            if job.transaction is None:
                job.usage.attempts += 1
                job.transaction = Transaction(self.store.open_snapshot())
        try:
            self._start_guest(frame)
        except LithoxError as error:
            return self._frame_failed(frame, error)
        return None

    def _start_guest(self, frame: Frame) -> None:
        transaction = frame.job.transaction
        assert transaction is not None
        entity = frame.entity
        loaded = transaction.snapshot.load(entity, PRELOAD_BYTES_MAX)
        transaction.reads.add((entity, ENTITY_KEY))
        if frame.parent is None:
            item = (
                loaded.items.get(ENTITY_KEY)
                if loaded.is_complete
                else transaction.snapshot.find(entity, ENTITY_KEY)
            )
            if item != frame.resolution.item:
                self._resolve_again(frame, item)
        transaction.participants.add(entity)
        state: dict[str, msgspec.Raw] = {}
        if loaded.is_complete:
            for key, item in loaded.items.items():
                if not key.startswith(SYSTEM_KEY_PREFIX):
                    state[key] = msgspec.Raw(item.value)
        if transaction.writes:
            self._overlay(transaction, entity, state)
        frame.is_preloaded = bool(state) or loaded.is_complete
        job = frame.job
        message = messages.encode_run(
            messages.RunMessage(
                frame.handler,
                msgspec.Raw(frame.args),
                entity,
                frame.actor.identity,
                job.request.request_id,
                job.usage.attempts,
                self.clock.wall_ns() // 1_000_000,
                job.seed,
                state,
                loaded.is_complete,
            )
        )
        program = self.catalog.program(frame.resolved)
        if frame.handler not in program.handler_names:
            raise NotFound(f"entity {frame.entity!r} has no handler {frame.handler!r}")
        frame.guest = program.start(message, frame.limits)

    @staticmethod
    def _overlay(
        transaction: Transaction, entity: EntityPath, state: dict[str, msgspec.Raw]
    ) -> None:
        """Lets a callee see what its own transaction wrote to it before (a cycle of calls)."""
        for key, value in transaction.writes_of(entity).items():
            if key.startswith(SYSTEM_KEY_PREFIX):
                continue
            state[key] = msgspec.Raw(messages.NIL if value is None else value)

    def _resolve_again(self, frame: Frame, item: Item | None) -> None:
        """The entity's record changed between admission and first slice: decide anew."""
        frame.resolution = self.catalog.resolve(frame.entity, item)
        self._check_access(frame.actor, frame.resolution)
        frame.resolved = self.catalog.handler(frame.resolution, frame.handler)
        frame.limits = self.catalog.limits_of(frame.resolved, frame.job.request.limits)

    @staticmethod
    def _check_access(actor: Actor, resolution: Resolution) -> None:
        if not is_allowed(
            actor=actor, right=RIGHT_CALL, owner=resolution.owner, access=resolution.access
        ):
            raise NotPermitted(f"{actor.identity} may not call {resolution.entity}")

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
        return self._frame_failed(frame, error_of_step(frame, step), is_outcome_known=False)

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
            self._keep_record(frame)
        except msgspec.MsgspecError as error:
            broken = GuestProtocolError(f"the guest's outcome cannot be read: {error}")
            return self._frame_failed(frame, broken, is_outcome_known=False)
        except LithoxError as error:
            return self._frame_failed(frame, error, is_outcome_known=False)
        if frame.parent is None:
            return self._commit(frame, bytes(outcome.body))
        transaction = frame.job.transaction
        assert transaction is not None
        changed = transaction.has_written(frame.parent.entity, frame.savepoint)
        self._answer_caller(frame, messages.encode_answer(outcome.body, changed))
        return SliceEnd.FINISHED

    def _keep_record(self, frame: Frame) -> None:
        """Makes the entity exist if this run is the first to have written something."""
        transaction = frame.job.transaction
        assert transaction is not None
        resolution, cell = frame.resolution, (frame.entity, ENTITY_KEY)
        if resolution.record is not None or cell in transaction.writes:
            return
        template = resolution.template
        if template is None or not any(key[0] == frame.entity for key in transaction.writes):
            return
        record = EntityRecord(
            owner=frame.actor.owner if template.owned_by == "caller" else template.owner,
            template=template.match,
            created_ms=self.clock.wall_ns() // 1_000_000,
            pin=template.module if template.pin else None,
        )
        transaction.put(frame.entity, ENTITY_KEY, encode_record(record))

    # -- joined calls -----------------------------------------------------------------------

    def _start_call(self, caller: Frame, entity_text: str, handler_text: str, args: bytes) -> None:
        """Starts a callee that joins the caller's transaction; raises LithoxError to refuse."""
        entity, handler = check_entity_path(entity_text), check_handler_name(handler_text)
        job, transaction = caller.job, caller.job.transaction
        assert transaction is not None
        assert caller.guest is not None
        if is_system_entity(entity):
            raise NotPermitted(f"{entity} belongs to the node")
        if caller.depth + 1 >= CALL_DEPTH_MAX:
            raise GuestError(
                f"calls nest at most {CALL_DEPTH_MAX} deep",
                code="guest.out_of_depth",
                limit="depth",
                allowed=CALL_DEPTH_MAX,
            )
        if len(transaction.participants | {entity}) > PARTICIPANTS_MAX:
            raise GuestError(
                f"at most {PARTICIPANTS_MAX} entities take part in one transaction",
                code="guest.out_of_participants",
                limit="participants",
                allowed=PARTICIPANTS_MAX,
            )
        self._keep_record(caller)
        resolution = self._resolve_callee(transaction, entity)
        actor = Actor(identity=identity_of_entity(caller.entity), owner=caller.resolution.owner)
        self._check_access(actor, resolution)
        resolved = self.catalog.handler(resolution, handler)
        frame = Frame(
            job=job,
            parent=caller,
            entity=entity,
            handler=handler,
            args=args,
            actor=actor,
            resolution=resolution,
            resolved=resolved,
            limits=smallest(resolved.limits, self._left_of(caller)),
        )
        frame.savepoint = transaction.savepoint()
        self._spawn(frame, self.clock.monotonic_ns())

    def _resolve_callee(self, transaction: Transaction, entity: EntityPath) -> Resolution:
        own = transaction.writes.get((entity, ENTITY_KEY))
        if own is not None:
            return self.catalog.resolve(entity, Item(own, -1))
        transaction.reads.add((entity, ENTITY_KEY))
        return self.catalog.resolve(entity, transaction.snapshot.find(entity, ENTITY_KEY))

    @staticmethod
    def _left_of(frame: Frame) -> Limits:
        guest, limits = frame.guest, frame.limits
        assert guest is not None
        if limits.fuel is None:
            return limits
        return replace(limits, fuel=max(1, limits.fuel - guest.fuel_used))

    def _answer_caller(self, frame: Frame, answer: bytes) -> None:
        """Ends a callee and lets its caller go on; the caller's allowance pays for it."""
        caller = frame.parent
        assert caller is not None
        assert caller.guest is not None
        used = 0 if frame.guest is None else frame.guest.fuel_used
        self.close_frame(frame)
        caller.guest.charge(used)
        caller.fuel_charged += used
        caller.guest.answer(answer)
        self.kernel.notify_woken(caller.pid, self.clock.monotonic_ns())

    # -- ends -------------------------------------------------------------------------------

    def _frame_failed(
        self, frame: Frame, error: LithoxError, *, is_outcome_known: bool = True
    ) -> SliceEnd:
        """A frame ends without effect: raised in its caller, or the answer of the job."""
        job, transaction = frame.job, frame.job.transaction
        assert transaction is not None
        if not is_outcome_known and frame.is_preloaded:
            # The guest died before it could say what it used: assume all it was given.
            transaction.ranges.append(range_of_prefix(frame.entity, ""))
        if frame.parent is not None:
            transaction.roll_back_to(frame.savepoint)
            self._answer_caller(frame, refuse(error))
            return SliceEnd.FINISHED
        version = transaction.snapshot.version
        if not self.store.is_current(version, transaction.reads, transaction.ranges):
            return self._run_again(frame, transaction)
        reads, ranges = transaction.reads, transaction.ranges
        self._close_job(job)

        def leave(failure: TransactionError | None) -> None:
            self.settle(job, None, failure or error)

        if self.store.when_read_durable(reads, ranges, leave):
            leave(None)
        return SliceEnd.FINISHED

    def _commit(self, frame: Frame, body: bytes) -> SliceEnd:
        job, transaction = frame.job, frame.job.transaction
        assert transaction is not None
        result = self._result_of(job, body)
        if self.turns and transaction.writes:
            written = {cell[0] for cell in transaction.writes}
            if not self.turns.is_free_for(written, job.turn):
                return self._run_again(frame, transaction)

        def leave(failure: TransactionError | None) -> None:
            if failure is None:
                self.settle(job, body, None)
            else:
                self.settle(job, None, failure)

        try:
            if not transaction.writes and result is None:
                is_durable = self.store.when_read_durable(
                    transaction.reads, transaction.ranges, leave
                )
                job.is_handed_over = True
                self._close_job(job)
                if is_durable:
                    leave(None)
                return SliceEnd.FINISHED
            # Released first: the store need not keep what this commit replaces for ourselves.
            transaction.release()
            version = self.store.submit(transaction.to_commit(result), leave)
        except TransactionError as error:
            self._close_job(job)
            self.settle(job, None, error)
            return SliceEnd.FINISHED
        if version is None:
            return self._run_again(frame, transaction)
        job.is_handed_over = True
        self._close_job(job)
        return SliceEnd.FINISHED

    def _result_of(self, job: Job, body: bytes) -> ResultRecord | None:
        request = job.request
        if request.request_id is None:
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
        self._drop_attempt(frame)
        if choice is Retry.GIVE_UP:
            self._close_job(job)
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
        if choice is Retry.AGAIN and (holds_turn or not self.turns):
            return SliceEnd.RERUN
        return self._take_turn(frame, job.touched)

    def _take_turn(self, frame: Frame, entities: set[str]) -> SliceEnd:
        job = frame.job
        if job.turn is not None:
            self.turns.give_back(job.turn)
        is_waiting = False

        def go_on() -> None:
            if is_waiting:
                self.kernel.notify_woken(frame.pid, self.clock.monotonic_ns())

        job.turn = Turn(entities | {frame.entity}, go_on)
        if not self.turns.ask(job.turn):
            job.turn = None
            self._close_job(job)
            error = Overloaded("too many runs wait for this entity", retry_after_ms=100)
            self.settle(job, None, error)
            return SliceEnd.FINISHED
        if job.turn.is_granted:
            return SliceEnd.RERUN
        is_waiting = True
        return SliceEnd.ASKED

    def _drop_attempt(self, frame: Frame) -> None:
        """Forgets all an attempt has done; the root's process stays."""
        job = frame.job
        self._close_guest(frame)
        if job.transaction is not None:
            job.transaction.release()
            job.transaction = None
        frame.output_bytes = 0
        frame.fuel_charged = 0

    # -- closing ----------------------------------------------------------------------------

    def end_from_outside(self, pid: Pid, code: str) -> None:
        """The kernel has ended a process (kill, deadline, wall limit)."""
        frame = self.frames.get(pid)
        if frame is None:
            return
        if frame.is_over:
            # Its job was settled while a slice of it was out; now its guest can be freed too.
            self.close_frame(frame)
            return
        error = error_of_end(frame, code)
        if frame.parent is not None:
            transaction = frame.job.transaction
            assert transaction is not None
            transaction.roll_back_to(frame.savepoint)
            self._answer_caller(frame, refuse(error))
            return
        self._close_job(frame.job)
        self.settle(frame.job, None, error)

    def break_off(self, frame: Frame, bug: Exception) -> SliceEnd:
        """Ends the whole job because of a bug of ours; it has done nothing."""
        job = frame.job
        for other in list(job.frames):
            if other is not frame:
                self.kernel.notify_ended(other.pid, self.clock.monotonic_ns())
        self._close_job(job)
        self.settle(job, None, bug)
        return SliceEnd.ENDED

    def _close_guest(self, frame: Frame) -> None:
        guest = frame.guest
        if guest is None:
            return
        usage = frame.job.usage
        usage.fuel += guest.fuel_used - frame.fuel_charged
        usage.memory_bytes = max(usage.memory_bytes, guest.memory_bytes)
        frame.guest = None
        guest.close()

    def close_frame(self, frame: Frame) -> None:
        """Ends a frame's guest and forgets its process. The kernel is told by others.

        A frame whose slice is out is only marked; the kernel tells when that is back.
        """
        frame.is_over = True
        if frame.is_out:
            return
        self._close_guest(frame)
        self.frames.pop(frame.pid, None)
        frame.job.frames.remove(frame)

    def _close_job(self, job: Job) -> None:
        """Ends everything a job holds; what it committed is the store's."""
        for frame in reversed(list(job.frames)):
            self.close_frame(frame)
        if job.transaction is not None:
            job.transaction.release()
            job.transaction = None
        if job.turn is not None:
            turn, job.turn = job.turn, None
            self.turns.give_back(turn)

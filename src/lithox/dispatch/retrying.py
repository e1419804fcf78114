"""A run lost against another: again at once, after its turn, or no more.

The kernel decides (`kernel.retry`); this carries it out. Invariants: the runs of one request are
bounded; a run that has made a request of its own, which cannot be taken back, runs again only
while it holds its turn; whoever waits for its turn holds no transaction; a run whose id another
node has answered meanwhile is not made again, but gets that answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lithox.dispatch.frames import FrameTable
from lithox.dispatch.inflight import key_of
from lithox.dispatch.job import Clock, Frame, Job, Settle
from lithox.dispatch.results import find_recorded
from lithox.dispatch.transaction import Transaction
from lithox.dispatch.turns import Turn
from lithox.errors import Conflict, LithoxError, Overloaded
from lithox.kernel.kernel import Kernel
from lithox.kernel.process import SliceEnd
from lithox.kernel.retry import Retry, decide_retry
from lithox.store.contract import Store


@dataclass(slots=True, kw_only=True)
class Retries:
    """Runs that must be made again. Every method is called on the node's thread.

    Attributes:
        restart: begins a job from its admission, after another node has committed first, or
            answers it as that has.
        rewind: puts the root frame back to where its request begins.
    """

    kernel: Kernel
    table: FrameTable
    clock: Clock
    settle: Settle
    store: Store
    restart: Callable[[Job], None]
    rewind: Callable[[Frame], None]

    def run_again(self, frame: Frame, transaction: Transaction) -> SliceEnd:
        """The run of root `frame` lost against another commit; returns what to tell the kernel."""
        job = frame.job
        job.conflicts += 1
        job.touched |= transaction.participants
        holds_turn = job.turn is not None and job.touched <= set(job.turn.entities)
        choice = decide_retry(
            conflicts=job.conflicts, holds_turn=holds_turn, has_requested=bool(job.committed)
        )
        self.table.drop_attempt(frame)
        self.rewind(frame)
        if self.is_answered(job):
            return SliceEnd.FINISHED
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
        return self.take_turn(frame, job.touched)

    def begin_again(self, frame: Frame, transaction: Transaction) -> SliceEnd:
        """The run of `frame`, which is at its step, can read no further: all of it is made again.

        Returns:
            What to tell the kernel of `frame`, which is gone if it was a callee.
        """
        if frame.parent is None:
            return self.run_again(frame, transaction)
        kernel, now_ns = self.kernel, self.clock.monotonic_ns()
        root, *callees = frame.job.frames
        for callee in reversed(callees):
            self.table.close_frame(callee)
            if callee is not frame:
                kernel.notify_ended(callee.pid, now_ns)
        # The root waits for its callee, so nobody else will wake it.
        end = self.run_again(root, transaction)
        if end is SliceEnd.RERUN:
            kernel.notify_woken(root.pid, now_ns)
        elif end is SliceEnd.FINISHED:
            kernel.notify_ended(root.pid, now_ns)
        return SliceEnd.FINISHED

    def take_turn(self, frame: Frame, entities: set[str]) -> SliceEnd:
        """Asks for the turns of `entities` and of the frame's own before it begins."""
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

    def give_up(self, job: Job, error: Exception, *, at_step: Frame | None) -> SliceEnd:
        """Ends a job by a fault of the node, which is the answer whatever its guests make of it.

        Args:
            at_step: the frame whose step this is, if any; the kernel learns its end from the
                return value.
        """
        frames = list(job.frames)
        self.table.close_job(job)
        for frame in reversed(frames):
            if frame is not at_step:
                self.kernel.notify_ended(frame.pid, self.clock.monotonic_ns())
        self.settle(job, None, error)
        return SliceEnd.FINISHED

    def is_answered(self, job: Job) -> bool:
        """Returns whether a run that has come to nothing is answered otherwise; then it is over.

        Another node may have run the same request, and what that did is what this one met.
        """
        if not job.is_recorded:
            return False
        try:
            if find_recorded(self.store, self.clock, key_of(job)) is None:
                return False
        except LithoxError as error:
            # Whether it has taken effect cannot be said now.
            self.table.close_job(job)
            self.settle(job, None, error)
            return True
        self.table.close_job(job)
        job.forget_attempt()
        self.restart(job)
        return True

    def begin_anew(self, job: Job, failure: Conflict) -> None:
        """Another node has committed first, after this one had let go of the run."""
        job.conflicts += 1
        if decide_retry(conflicts=job.conflicts, holds_turn=True) is Retry.GIVE_UP:
            self.settle(job, None, failure)
            return
        job.forget_attempt()
        self.restart(job)

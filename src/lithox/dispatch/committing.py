"""What a run has come to, handed to the store; and when its answer may leave.

A success is validated and becomes one commit; an error is validated like one, so that nobody is
told an error about a state that never was. Either answer leaves only once everything the run read
or wrote is durable.

Invariants: a job is settled exactly once; once the commit is the store's neither kill nor deadline
changes the answer; a commit that is withdrawn is told to nobody as durable.
"""

from __future__ import annotations

from dataclasses import dataclass

from lithox.dispatch.frames import FrameTable
from lithox.dispatch.job import Clock, Frame, Job, OnCommitted, Settle
from lithox.dispatch.retrying import Retries
from lithox.dispatch.transaction import Transaction
from lithox.errors import Conflict, LithoxError, TransactionError
from lithox.kernel.kernel import Kernel
from lithox.kernel.process import SliceEnd
from lithox.store.contract import ResultRecord, Store


@dataclass(slots=True, kw_only=True)
class Commits:
    """Ends transactions of root frames. Every method is called on the node's thread.

    Attributes:
        result_kept_ns: how long the answer of a request with an id is kept.
        on_committed, on_durable: see `runs.Runs`.
    """

    kernel: Kernel
    store: Store
    table: FrameTable
    clock: Clock
    settle: Settle
    retries: Retries
    result_kept_ns: int
    on_committed: list[OnCommitted]
    on_durable: list[OnCommitted]

    def commit(self, frame: Frame, body: bytes, *, is_done: bool = False) -> SliceEnd:
        """Hands what the run has done to the store.

        Args:
            frame: the root.
            body: its encoded value.
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
        if not transaction.writes and result is None:
            return self._leave_unchanged(frame, transaction, body)
        if self.table.turns and transaction.writes:
            written = {cell[0] for cell in transaction.writes}
            if not self.table.turns.is_free_for(written, job.turn):
                return self.retries.run_again(frame, transaction)
        version: int | None = 0

        def leave(failure: TransactionError | None) -> None:
            if failure is None:
                assert version is not None
                for tell in self.on_durable:
                    tell(job, transaction, version)
                self.settle(job, body, None)
            elif isinstance(failure, Conflict):
                self.retries.begin_anew(job, failure)
            else:
                self.settle(job, None, failure)

        try:
            # Released first: the store need not keep what this commit replaces for ourselves.
            transaction.release()
            version = self.store.submit(transaction.to_commit(result, self.clock.wall_ns()), leave)
        except TransactionError as error:
            self.table.close_job(job)
            self.settle(job, None, error)
            return SliceEnd.FINISHED
        if version is None:
            return self.retries.run_again(frame, transaction)
        for tell in self.on_committed:
            tell(job, transaction, version)
        self.table.close_job(job)
        return SliceEnd.FINISHED

    def _leave_unchanged(self, frame: Frame, transaction: Transaction, body: bytes) -> SliceEnd:
        """A run without writes is answered for its snapshot: nobody can make it lose."""
        job = frame.job
        if self._has_read_withdrawn(transaction):
            return self.retries.run_again(frame, transaction)

        def leave(failure: TransactionError | None) -> None:
            if isinstance(failure, Conflict):
                self.retries.begin_anew(job, failure)
            else:
                self.settle(job, None if failure else body, failure)

        try:
            is_durable = self.store.when_read_durable(
                transaction.reads,
                transaction.ranges,
                leave,
                up_to_version=transaction.snapshot.version,
            )
        except TransactionError as error:
            self.table.close_job(job)
            self.settle(job, None, error)
            return SliceEnd.FINISHED
        self.table.close_job(job)
        if is_durable:
            leave(None)
        return SliceEnd.FINISHED

    def fail(self, frame: Frame, error: LithoxError) -> SliceEnd:
        """The run of root `frame` ends with `error`, unless what it read is stale by now."""
        job, transaction = frame.job, frame.job.transaction
        assert transaction is not None
        version = transaction.snapshot.version
        if not self.store.is_current(version, transaction.reads, transaction.ranges):
            return self.retries.run_again(frame, transaction)
        reads, ranges = transaction.reads, transaction.ranges
        self.table.close_job(job)

        def leave(failure: TransactionError | None) -> None:
            if isinstance(failure, Conflict):
                self.retries.begin_anew(job, failure)
            elif failure is not None or not self.retries.is_answered(job):
                self.settle(job, None, failure or error)

        if self.store.when_read_durable(reads, ranges, leave, up_to_version=version):
            leave(None)
        return SliceEnd.FINISHED

    def _has_read_withdrawn(self, transaction: Transaction) -> bool:
        """Returns whether something the run read has been taken back since its snapshot."""
        version = transaction.snapshot.version
        return version < self.store.withdrawn_version and not self.store.is_current(
            version, transaction.reads, transaction.ranges
        )

    def _result_of(self, job: Job, body: bytes) -> ResultRecord | None:
        request = job.request
        if not job.is_recorded:
            return None
        assert request.request_id is not None
        return ResultRecord(
            identity=request.caller.identity,
            entity=job.place,
            request_id=request.request_id,
            account=request.caller.account,
            asked_digest=job.asked_digest,
            answer=body,
            expires_ns=self.clock.wall_ns() + self.result_kept_ns,
        )

"""The frames of all jobs: which process is which run, and what each holds.

Invariants: a frame is in the table from its spawn until its guest is freed; a guest whose slice is
out on the second thread is never touched, its frame is only marked and freed when the kernel says
the slice is back; a job's frames are a stack, the requested run at the bottom.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lithox.dispatch.driven import Driven
from lithox.dispatch.job import Frame, Job
from lithox.dispatch.turns import Turns
from lithox.errors import Overloaded
from lithox.kernel.kernel import Kernel
from lithox.kernel.process import Spawn
from lithox.model.ids import Pid


@dataclass(slots=True, kw_only=True)
class FrameTable:
    """PID -> frame, and the life of what frames and jobs hold."""

    kernel: Kernel
    turns: Turns = field(default_factory=Turns)
    by_pid: dict[Pid, Driven] = field(default_factory=dict[Pid, Driven])
    """All processes of the node that have a guest or will, programs too."""

    def spawn(self, frame: Frame, now_ns: int) -> None:
        """Makes the frame's process; it waits for its first slice.

        Raises:
            Overloaded: the node or the account has as many processes as it may.
        """
        job = frame.job
        # Whoever waits for this: the caller it joins, or the frame whose request it is.
        parent = frame.parent or job.parent
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
        frame.spawned_ns = now_ns
        self.by_pid[pid] = frame
        job.frames.append(frame)

    @staticmethod
    def close_guest(frame: Frame) -> None:
        """Frees a frame's guest and charges the job for what it burned. Idempotent."""
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
        self.close_guest(frame)
        self.by_pid.pop(frame.pid, None)
        frame.job.frames.remove(frame)

    def close_job(self, job: Job) -> None:
        """Ends everything a job holds; what it committed is the store's."""
        for frame in reversed(list(job.frames)):
            self.close_frame(frame)
        if job.transaction is not None:
            job.transaction.release()
            job.transaction = None
        if job.turn is not None:
            turn, job.turn = job.turn, None
            self.turns.give_back(turn)

    def drop_attempt(self, frame: Frame) -> None:
        """Forgets all an attempt has done; the root's process stays."""
        job = frame.job
        self.close_guest(frame)
        if job.transaction is not None:
            job.transaction.release()
            job.transaction = None
        job.forget_attempt()
        frame.output_bytes = 0
        frame.fuel_charged = 0

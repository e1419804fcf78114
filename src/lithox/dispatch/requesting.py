"""`self:request`: a handler makes a request of its own, committed before it answers.

Theory of operation. The id of such a request is derived from who asks, from the asking run and
from its position among what that run has asked for, so a re-run of the parent (or a retry of its
request after a crash) that asks the same gets the recorded answer and repeats no effect. Its answer
is recorded under `REQUESTS_PLACE`, with entity, handler and arguments in the digest. An attempt
that asks for something else where a request has committed, or ends without asking, has diverged:
the whole parent run ends as `transaction.diverged`, whatever its guest makes of it.

The parent's process waits without holding a turn, so turns cannot deadlock; when it loses at its
commit it runs again while holding one, and then finds every request recorded (`kernel.retry`).

A child that ends by a fault of the node (`dispatch.faults`) ends its parent's run by the same: it
says nothing about what was asked, so the parent must not decide anything by it.

Invariants: a frame waits for at most one request; what is committed stays, even if the parent
aborts; a child runs under what is left of its parent's limits and time, and the parent's
allowance pays for its fuel; ending the parent ends a child that is not committed yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from lithox.dispatch.endpoints import Raws, refuse
from lithox.dispatch.faults import ends_run
from lithox.dispatch.frames import FrameTable
from lithox.dispatch.inflight import digest_of_asked
from lithox.dispatch.job import Clock, Frame, Job, OnAnswer, derive_id
from lithox.dispatch.joined import JoinedCalls
from lithox.errors import BadArguments, Diverged, GuestError, IdReused, LithoxError
from lithox.kernel.kernel import Kernel
from lithox.model.ids import (
    RequestId,
    check_entity_path,
    check_handler_name,
    identity_of_entity,
)
from lithox.model.limits import Limits
from lithox.model.request import Answer, Caller, Request
from lithox.model.values import decode_value, encode_value
from lithox.sandbox import messages
from lithox.sandbox.said import GuestDecoder

REQUEST_DEPTH_MAX: Final = 32
"""Requests that wait for each other in one chain: each holds a process, a guest and a snapshot."""

SubmitChild = Callable[[Request, OnAnswer, Frame, Limits], None]
"""(request, told once how it ended, the frame that waits for it, what it may use)."""
_text: Final = GuestDecoder(msgspec.msgpack.Decoder(str))


@dataclass(slots=True, kw_only=True)
class Requesting:
    """Begins and ends requests of frames. Every method is called on the node's thread.

    Attributes:
        end_by_fault: ends the whole job of a frame that waits.
    """

    kernel: Kernel
    table: FrameTable
    clock: Clock
    submit: SubmitChild
    end_by_fault: Callable[[Frame, Exception], None]

    def start(self, frame: Frame, call: Raws) -> bytes | None:
        """The endpoint `request`: [0, "request", entity, handler, args] -> [0, value].

        Returns:
            The answer when it is recorded already (or refused), else None: the frame waits.
        """
        job = frame.job
        args = _read_args(bytes(call[4]))
        entity = check_entity_path(_text.decode(call[2]))
        handler = check_handler_name(_text.decode(call[3]))
        if job.diverged is not None:
            raise job.diverged
        if job.depth + 1 >= REQUEST_DEPTH_MAX:
            raise GuestError(
                f"requests wait for each other at most {REQUEST_DEPTH_MAX} deep",
                code="guest.out_of_depth",
                limit="depth",
                allowed=REQUEST_DEPTH_MAX,
            )
        position = job.position
        job.position += 1
        asked = digest_of_asked(f"{entity}:{handler}", bytes(call[4]))
        if job.committed.get(position, asked) != asked:
            job.diverged = diverged(job)
            raise job.diverged
        job.asked.add(position)
        identity = identity_of_entity(frame.entity)
        request = Request(
            entity=entity,
            handler=handler,
            args=args,
            caller=Caller(identity=identity, account=job.account),
            request_id=RequestId(derive_id("q.", identity, job.run_id, str(position))),
            deadline_ns=_deadline_of(frame),
            hops=job.request.hops + 1,
            owner=frame.resolution.owner_for(frame.actor),
        )
        return self._wait(frame, request, position, asked)

    def _wait(self, frame: Frame, request: Request, position: int, asked: bytes) -> bytes | None:
        job, token = frame.job, object()
        answered: list[Answer] = []
        is_starting = True

        def on_answer(answer: Answer) -> None:
            if answer.error is None:
                job.committed[position] = asked
            elif isinstance(answer.error, IdReused):
                # By its digest: the id was used for something else before a crash or re-run.
                job.diverged = diverged(job)
            if is_starting:
                answered.append(answer)
            elif frame.child is token and not frame.is_over:
                self._wake(frame, answer)

        frame.child = token
        bound = JoinedCalls.left_of(frame, self.clock.monotonic_ns())
        self.submit(request, on_answer, frame, bound)
        is_starting = False
        if answered:
            frame.child = None
            fault = _fault_of(answered[0], job)
            if fault is None:
                return _encode(answered[0], job)
            job.fault = fault if isinstance(fault, LithoxError) else None
            raise fault
        if job.turn is not None:
            turn, job.turn = job.turn, None
            self.table.turns.give_back(turn)
        return None

    def _wake(self, frame: Frame, answer: Answer) -> None:
        """The request a frame waits for has ended: its guest goes on."""
        guest = frame.guest
        assert guest is not None
        frame.child = None
        fault = _fault_of(answer, frame.job)
        if fault is not None:
            self.end_by_fault(frame, fault)
            return
        used = answer.usage.fuel
        guest.charge(used, 0)
        # The child's own usage tells it; here it is taken from the allowance only.
        frame.fuel_charged += used
        guest.answer(_encode(answer, frame.job))
        self.kernel.notify_woken(frame.pid, self.clock.monotonic_ns())


def find_divergence(job: Job) -> Diverged | None:
    """Returns why an attempt that has ended well must not commit, or None.

    A request that an earlier attempt committed and this one has not asked for would be an effect
    nobody asked for.
    """
    if job.diverged is None and not job.asked.issuperset(job.committed):
        job.diverged = diverged(job)
    return job.diverged


def diverged(job: Job) -> Diverged:
    """Returns the end of a run whose re-run asked for something else."""
    request = job.request
    return Diverged(
        f"{request.entity}:{request.handler} was run again and asked for something else where a "
        "request of its own had committed; make what it asks depend on its arguments only"
    )


def _read_args(encoded: bytes) -> list[Any]:
    args: Any = decode_value(encoded)
    if not isinstance(args, list):
        raise BadArguments("arguments of a request are a list")
    return cast("list[Any]", args)


def _deadline_of(frame: Frame) -> int | None:
    """Returns when the parent must have ended: its caller's deadline or its own wall time."""
    deadline_ns, wall_ns = frame.job.request.deadline_ns, frame.limits.wall_ns
    if wall_ns is None:
        return deadline_ns
    end_ns = frame.spawned_ns + wall_ns
    return end_ns if deadline_ns is None else min(end_ns, deadline_ns)


def _fault_of(answer: Answer, job: Job) -> Exception | None:
    """Returns the fault of the node that ended a child, if its parent ends by that."""
    error = answer.error
    return error if error is not None and job.diverged is None and ends_run(error) else None


def _encode(answer: Answer, job: Job) -> bytes:
    error = job.diverged or answer.error
    if error is None:
        return messages.encode_answer(msgspec.Raw(encode_value(answer.value)))
    assert isinstance(error, LithoxError)
    return refuse(error)

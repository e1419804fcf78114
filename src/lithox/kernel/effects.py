"""What the kernel wants done: the effects `Kernel.take_effects` hands out.

Invariants: effects come in the order in which they must be performed (the innermost child of a
killed process before its parent); each ends up with the caller exactly once; none holds a live
object, so a list of them can be logged, compared and replayed.
"""

from __future__ import annotations

from typing import NamedTuple

from lithox.model.ids import Pid


class Ended(NamedTuple):
    """The kernel has ended a process: close its guest, commit nothing, answer with `code`.

    Sent only for ends the kernel decided (kill, deadline, wall limit, a killed parent). An end
    that dispatch itself reported (FINISHED, ENDED, given up) has no effect: dispatch knows it.

    Attributes:
        pid: the process; the kernel has forgotten it already.
        code: key of `errors.TABLE`, such as `request.deadline_passed`.
    """

    pid: Pid
    code: str


class NodeAnswered(NamedTuple):
    """A call the node made into a process (`call_from_node`) has its one answer.

    Attributes:
        cid: what `call_from_node` returned.
        status: 0, or an error's number; the kernel's own (abandoned, deadline) included.
        args: MessagePack array.
    """

    cid: int
    status: int
    args: bytes


Effect = Ended | NodeAnswered
"""Every kind of effect."""

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


Effect = Ended
"""Every kind of effect; later kinds join here as a union."""

"""What lanes step, and who follows it: the seam between the pump and the kinds of processes.

A handler's run (`runs.Runs`) and a program (`programs.Programs`) are both a process with a guest;
they differ in what happens between two steps. Lanes know neither.
"""

from __future__ import annotations

from typing import Any, Protocol

from lithox.kernel.process import SliceEnd
from lithox.model.ids import Pid
from lithox.sandbox.contract import Guest, Step


class Driven(Protocol):
    """One process as lanes see it.

    Attributes:
        guest: what is stepped; None until `Driver.begin` has started one.
        is_waiting: `Driver.begin` must be asked before the next step, though there is a guest.
        is_out: a slice of it is on the second thread; nobody else may touch its guest.
        driver: who follows its steps.
    """

    pid: Pid
    guest: Guest | None
    is_waiting: bool
    is_out: bool
    driver: Driver


class Driver(Protocol):
    """Follows the processes of one kind. All methods are called on the node's thread.

    Attributes:
        stays_fast: a process that burns little between system calls stays in the FAST lane.
    """

    @property
    def stays_fast(self) -> bool: ...

    def begin(self, frame: Any) -> SliceEnd | None:
        """Makes the guest ready to step.

        Returns:
            None when it is; else what to tell the kernel.
        """
        ...

    def after_step(self, frame: Any, step: Step) -> SliceEnd | None:
        """Takes what a step came to.

        Returns:
            None when the guest can step on at once; else what to tell the kernel.
        """
        ...

    def break_off(self, frame: Any, bug: Exception) -> SliceEnd:
        """Ends the process because of a bug of ours."""
        ...

    def end_from_outside(self, frame: Any, code: str) -> None:
        """The kernel has ended the process (kill, deadline, a limit, its parent)."""
        ...

    def charge_cpu(self, frame: Any, cpu_ns: int) -> None:
        """Notes the processor time of a slice."""
        ...

    def following(self, frame: Any) -> Pid | None:
        """Returns which process should go on right after this slice, if any."""
        ...

    def close_guest(self, frame: Any) -> None:
        """Frees the guest of a process; idempotent. Only once nothing is stepped any more."""
        ...

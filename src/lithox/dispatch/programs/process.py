"""The records of a program on its way: what is to be run, the process it became, how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from lithox.dispatch.driven import Driver
from lithox.errors import LithoxError
from lithox.model.ids import Pid
from lithox.model.limits import PRIORITY_DEFAULT, UNBOUNDED, Limits
from lithox.model.request import Caller
from lithox.sandbox.contract import Guest, Program

EMPTY_ARRAY: Final = b"\x90"
MODE_PREEMPTIVE: Final = "preemptive"
MODE_COOPERATIVE: Final = "cooperative"
MODES: Final = (MODE_PREEMPTIVE, MODE_COOPERATIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended.

    Attributes:
        status: 0, the program's own status, or the guest status of `code`.
        code: "" when the program ended by itself, else a key of `errors.TABLE` or `app.<code>`.
        message: what happened, for people; "" when all was well.
        values: MessagePack array of what main returned or `os.exit` gave.
    """

    status: int = 0
    code: str = ""
    message: str = ""
    values: bytes = EMPTY_ARRAY


Cancel = Callable[[], None]


def cancel_nothing() -> None:
    """Nothing waits."""


class ProcessEnds(Exception):
    """Internal: a system call has used up a limit of the process that made it.

    Not a LithoxError, so that it cannot be taken for the refusal of an act.
    """

    def __init__(self, error: LithoxError) -> None:
        super().__init__(str(error))
        self.error = error


class Terminal(Protocol):
    """Where a process writes and reads: a session, a service's log, or the node's log."""

    def write(self, frame: ProgramProcess, stream: str, data: bytes) -> bool:
        """Takes `data` of `stream` ("out" or "err"), or returns False: full, nothing was taken."""
        ...

    def when_writable(self, then: Callable[[], None]) -> Cancel:
        """Calls `then` once, when `write` is worth another try; returns how to take that back."""
        ...

    def read(self, bytes_max: int) -> bytes | None:
        """Returns input that is there, b"" when none is there yet, None at its end."""
        ...

    def when_readable(self, then: Callable[[], None]) -> Cancel:
        """Calls `then` once, when `read` is worth another try; returns how to take that back."""
        ...

    def on_start(self, frame: ProgramProcess) -> None:
        """A process was given this terminal as its own (its children inherit it)."""
        ...

    def on_exit(self, frame: ProgramProcess, exit_: Exit) -> None:
        """That process has ended."""
        ...


@dataclass(slots=True, kw_only=True)
class ProgramOrder:
    """The order to run a program.

    Attributes:
        name: under which it is known; chunk name of its main code.
        text: source of its main code.
        engine: which program guest runs it; `preludes` are its runtime's chunks.
        runtime: the runtime's name, for people.
        args: MessagePack array of arguments.
        parent: the process that asked, or None: the node itself.
        context: number, in the parent, of what becomes the child's context 0.
        contexts: name -> number in the parent, handed over besides.
        grant: what the child's context 0 may, when there is no parent.
        terminal: where it writes; None: the node's log.
        is_terminal_own: it was given the terminal, it has not inherited it.
        on_exit: told once, after its end.
    """

    name: str
    text: bytes
    engine: str
    preludes: tuple[tuple[str, bytes], ...]
    runtime: str
    caller: Caller
    limits: Limits = UNBOUNDED
    args: bytes = EMPTY_ARRAY
    priority: int = PRIORITY_DEFAULT
    mode: str = MODE_PREEMPTIVE
    parent: ProgramProcess | None = None
    context: int = 0
    contexts: dict[str, int] = field(default_factory=dict[str, int])
    grant: Any = None
    terminal: Terminal | None = None
    is_terminal_own: bool = False
    on_exit: Callable[[ProgramProcess, Exit], None] | None = None


class ProgramProcess:
    """One program that runs. Changed in place by `Programs`; others read it."""

    __slots__ = (
        "args",
        "caller",
        "calls_due",
        "calls_given",
        "cancel_wait",
        "contexts",
        "cpu_ns",
        "driver",
        "exit_asked",
        "fuel_due",
        "fuel_given",
        "guest",
        "is_out",
        "is_over",
        "is_waiting",
        "kill_message",
        "limits",
        "memory_due",
        "memory_given",
        "mode",
        "name",
        "on_exit",
        "output_bytes",
        "output_given",
        "parent",
        "pid",
        "priority",
        "program",
        "runtime",
        "seed",
        "started_ms",
        "terminal",
        "terminal_own",
        "total",
    )

    def __init__(
        self,
        order: ProgramOrder,
        program: Program,
        limits: Limits,
        meter: Limits,
        driver: Driver,
    ) -> None:
        self.pid = Pid(0)
        self.guest: Guest | None = None
        self.is_waiting = False
        self.is_out = False
        self.is_over = False
        self.driver = driver
        self.program = program
        self.name = order.name
        self.runtime = order.runtime
        self.caller = order.caller
        self.args = order.args
        self.mode = order.mode
        self.priority = order.priority
        """Its children get no higher one."""
        self.parent = order.parent
        self.total = limits
        """What it and its children may use; None fields are not bounded."""
        self.limits = meter
        """What its own meter was started with."""
        self.fuel_due = self.calls_due = self.memory_due = 0
        """What children have of its limits now."""
        self.fuel_given = self.calls_given = self.memory_given = self.output_given = 0
        """What of that its meter knows."""
        self.contexts: dict[str, int] = {}
        self.on_exit = order.on_exit
        self.terminal: Terminal | None = order.terminal
        self.terminal_own: Terminal | None = order.terminal if order.is_terminal_own else None
        """The terminal, when it is to hear of this process's start and end."""
        self.cpu_ns = 0
        self.output_bytes = 0
        self.seed = 0
        self.started_ms = 0
        self.exit_asked: Exit | None = None
        self.kill_message: str | None = None
        """What its first kill has to say; None while nobody has killed it."""
        self.cancel_wait: Cancel = cancel_nothing
        """Takes back its waiting at a terminal."""


def message_of(error: LithoxError) -> str:
    """Returns an error's text, bounded, as an exit event carries it."""
    return error.message[:2000]

"""What a process is to the kernel: the order to make one, its record, and what others may see.

Invariants: a `Process` never leaves the kernel; others hold its PID and get a frozen
`ProcessView`. A process has one end by time (`end_ns`), the earlier of the caller's deadline and
its own wall limit, with the code that end will have.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from lithox.kernel.states import Phase, ProcessState
from lithox.kernel.timers import NEVER_NS
from lithox.model.ids import AccountName, Pid
from lithox.model.limits import PRIORITY_DEFAULT, Limits

if TYPE_CHECKING:
    from lithox.kernel.parties import Party
    from lithox.kernel.scheduler import Share

CODE_DEADLINE: Final = "request.deadline_passed"
CODE_WALL: Final = "guest.out_of_wall"
CODE_CANCELLED: Final = "request.cancelled"
CODE_PARENT_ENDED: Final = "process.parent_ended"


class Mode(StrEnum):
    """When a program gives the processor up."""

    PREEMPTIVE = "preemptive"
    """At any instruction, when its quantum is used up."""
    COOPERATIVE = "cooperative"
    """At system calls only; limits, deadlines and kills hold all the same."""


class Lane(IntEnum):
    """Which queue system, and which thread, serves a process."""

    FAST = 0
    """Level 0: runs within their first slices, on the node's main thread."""
    LONG = 1
    """All deeper levels: runs that outlived it, on a thread of their own."""


class SliceEnd(IntEnum):
    """Why a slice came back. The first four have the numbers of `sandbox.contract.StepKind`."""

    YIELDED = 0
    """The quantum is used up: to the back of the next level's queue."""
    ASKED = 1
    """A system call waits for its answer: WAITING until `notify_woken`."""
    FINISHED = 2
    """The handler has ended; the process is over."""
    ENDED = 3
    """A limit or a trap ended it; the process is over."""
    RERUN = 4
    """The run must begin again (a conflict): ready, on its level as long as that lasts."""
    SWITCHED = 5
    """A system call was answered at once, but others go first: to the back of its queue; of a
    pre-emptive program that burns little between its calls, to that of the top level."""


@dataclass(slots=True, kw_only=True)
class Spawn:
    """The order to make a process. Unfrozen for speed; nobody changes one.

    Attributes:
        account: whose share of the node it uses.
        name: for operators, `entity:handler`.
        priority: 0 lowest to 9 highest; counts inside the account and level only.
        deadline_ns: when the caller stops waiting, in the node's monotonic clock, or None.
        wall_end_ns: when its own wall limit ends it, in the same clock, or None.
        parent: the process on whose behalf it runs, or None.
        mode: how a program gives the processor up; None: a handler's run. The children of a
            program end with it, whatever its end; those of a run that FINISHED live on.
        limits: what a program may use, its children's part included; what `grant_limits`
            returned if it has a parent. None: handlers' limits are settled elsewhere.
    """

    account: AccountName
    name: str
    priority: int = PRIORITY_DEFAULT
    deadline_ns: int | None = None
    wall_end_ns: int | None = None
    parent: Pid | None = None
    mode: Mode | None = None
    limits: Limits | None = None


class Slice(NamedTuple):
    """Leave to run `pid` until it has used `quantum_fuel`."""

    pid: Pid
    quantum_fuel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessView:
    """One row of `lithox ps`. Fuel and processor time are those of finished slices."""

    pid: Pid
    name: str
    account: AccountName
    state: ProcessState
    level: int
    lane: Lane
    priority: int
    fuel: int
    cpu_ns: int
    started_ns: int
    parent: Pid | None
    mode: Mode | None


class Process:
    """The kernel's own record of one process; changed in place by the kernel and its lanes."""

    __slots__ = (
        "account",
        "children",
        "cpu_ns",
        "end_code",
        "end_ns",
        "fuel",
        "is_cooperative",
        "is_woken",
        "kill_code",
        "level",
        "level_fuel",
        "mode",
        "name",
        "parent",
        "party",
        "phase",
        "pid",
        "precharged_fuel",
        "priority",
        "queue",
        "queue_index",
        "ready_ns",
        "share",
        "started_ns",
        "timer",
    )

    def __init__(self, pid: Pid, spec: Spawn, now_ns: int) -> None:
        self.pid = pid
        self.account = spec.account
        self.name = spec.name
        self.priority = spec.priority
        self.parent = spec.parent
        self.mode = spec.mode
        self.is_cooperative = spec.mode == Mode.COOPERATIVE
        # Insertion order makes the order of effects the same under every hash seed.
        self.children: dict[Pid, None] | None = None
        self.started_ns = now_ns
        deadline_ns = NEVER_NS if spec.deadline_ns is None else spec.deadline_ns
        wall_end_ns = NEVER_NS if spec.wall_end_ns is None else spec.wall_end_ns
        if deadline_ns <= wall_end_ns:
            self.end_ns, self.end_code = deadline_ns, CODE_DEADLINE
        else:
            self.end_ns, self.end_code = wall_end_ns, CODE_WALL
        self.phase = Phase.READY
        self.kill_code = ""
        self.timer = 0
        self.party: Party | None = None
        self.is_woken = False
        """What it is about to wait for is there already: ASKED makes it ready, not WAITING."""
        self.level = 0
        self.level_fuel = 0
        """Charged on this level so far; a process that asks often cannot stay on it for ever."""
        self.fuel = 0
        self.cpu_ns = 0
        self.ready_ns = now_ns
        self.precharged_fuel = 0
        # Where it stands: set by the lane while READY, `share` also while ON_PROCESSOR.
        self.share: Share | None = None
        self.queue: OrderedDict[Pid, Process] | None = None
        self.queue_index = 0

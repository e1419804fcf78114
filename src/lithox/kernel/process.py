"""What a process is to the kernel: the order to make one, its record, and what others may see.

Invariants: a `Process` never leaves the kernel; others hold its PID and get a frozen
`ProcessView`. A process has one end by time (`end_ns`), the earlier of the caller's deadline and
its own wall limit, with the code that end will have.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from lithox.kernel.states import Phase, ProcessState
from lithox.model.ids import AccountName, Pid
from lithox.model.limits import PRIORITY_DEFAULT

if TYPE_CHECKING:
    from lithox.kernel.scheduler import Share

NEVER_NS: Final = 1 << 63
"""A time no fact reaches: the end of a process without deadline and wall limit."""

CODE_DEADLINE: Final = "request.deadline_passed"
CODE_WALL: Final = "guest.out_of_wall"
CODE_CANCELLED: Final = "request.cancelled"


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
    """

    account: AccountName
    name: str
    priority: int = PRIORITY_DEFAULT
    deadline_ns: int | None = None
    wall_end_ns: int | None = None
    parent: Pid | None = None


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


class Process:
    """The kernel's own record of one process; changed in place by the kernel and its lanes."""

    __slots__ = (
        "account",
        "children",
        "cpu_ns",
        "end_code",
        "end_ns",
        "fuel",
        "kill_code",
        "level",
        "level_fuel",
        "name",
        "parent",
        "phase",
        "pid",
        "precharged_fuel",
        "priority",
        "queue",
        "queue_index",
        "ready_ns",
        "share",
        "started_ns",
    )

    def __init__(self, pid: Pid, spec: Spawn, now_ns: int) -> None:
        self.pid = pid
        self.account = spec.account
        self.name = spec.name
        self.priority = spec.priority
        self.parent = spec.parent
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

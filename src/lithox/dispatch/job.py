"""The records of a request on its way: a job, its transaction, its frames. Next to no behaviour."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from lithox.dispatch.catalog import Resolution, ResolvedHandler
from lithox.dispatch.driven import Driver
from lithox.dispatch.elsewhere import AskedElsewhere
from lithox.dispatch.origin import Origin
from lithox.dispatch.transaction import Transaction
from lithox.dispatch.turns import Turn
from lithox.errors import Diverged, LithoxError
from lithox.model.ids import EntityPath, HandlerName, Pid
from lithox.model.limits import Limits
from lithox.model.request import Answer, Request, Usage
from lithox.sandbox.contract import Guest, Program
from lithox.security.access import Actor

UNKNOWN: Final = object()
OnAnswer = Callable[[Answer], None]
REQUESTS_PLACE: Final = "~lithox/requests"
"""Where answers to handlers' own requests are recorded, instead of under the entity that was asked:
so that a run that asks another entity the second time is found out even after a crash."""
ATOMIC_PLACE: Final = "~lithox/atomic"
"""Where answers to groups of calls are recorded: no single entity was asked."""


def derive_id(prefix: str, *parts: str) -> str:
    """Returns `prefix` and 40 hexadecimal digits of the SHA-256 of `parts`; none holds a NUL."""
    return prefix + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


class Clock(Protocol):
    """Where time comes from; `node.clock` reads the real one, tests give their own."""

    def monotonic_ns(self) -> int: ...

    def wall_ns(self) -> int: ...

    def thread_cpu_ns(self) -> int: ...


class Frame:
    """One handler run inside a job: the requested one (no parent) or a joined callee."""

    __slots__ = (
        "actor",
        "args",
        "call_index",
        "child",
        "code",
        "driver",
        "entity",
        "fuel_charged",
        "guest",
        "handler",
        "is_out",
        "is_over",
        "is_preloaded",
        "is_waiting",
        "job",
        "limits",
        "next_call",
        "output_bytes",
        "parent",
        "pid",
        "resolution",
        "resolved",
        "savepoint",
        "spawned_ns",
        "state_bytes_before",
    )

    def __init__(  # noqa: PLR0913 - a plain record; all by keyword
        self,
        *,
        job: Job,
        parent: Frame | None,
        entity: EntityPath,
        handler: HandlerName,
        args: bytes,
        actor: Actor,
        resolution: Resolution,
        resolved: ResolvedHandler,
        limits: Limits,
    ) -> None:
        self.job = job
        self.parent = parent
        self.entity = entity
        self.handler = handler
        self.args = args
        self.actor = actor
        self.resolution = resolution
        self.resolved = resolved
        self.limits = limits
        self.pid = Pid(0)
        self.driver: Driver
        """Who follows it; set before its process is made."""
        self.guest: Guest | None = None
        self.is_waiting = False
        """True while its entity, or that of the call it has made, is fetched from a server, or its
        code made ready."""
        self.code: tuple[str, Program | Exception | None] | None = None
        """(digest, program or why there is none) of the code it has waited for; None there: it
        waits."""
        self.next_call: tuple[str, str, bytes] | None = None
        """(entity, handler, args) of a joined call that begins when its entity is there."""
        self.is_out = False
        """True while a slice of it is on the second thread: its guest must not be touched."""
        self.is_over = False
        self.is_preloaded = False
        self.call_index = 0
        """Which of the calls of a group it runs; 0 for every other request."""
        self.child: object | None = None
        """What stands for the request of its own that it waits for."""
        self.savepoint = 0
        self.spawned_ns = 0
        self.state_bytes_before = 0
        """What the transaction had written when this frame began; the rest is on its account."""
        self.output_bytes = 0
        self.fuel_charged = 0
        """Fuel of this frame already added to the job's usage."""

    @property
    def depth(self) -> int:
        """0 for the requested run, 1 for its callee, and so on."""
        depth, frame = 0, self.parent
        while frame is not None:
            depth, frame = depth + 1, frame.parent
        return depth


@dataclass(slots=True, kw_only=True)
class GroupCall:
    """One call of a group, resolved at admission; unfrozen for speed, nobody changes one."""

    entity: EntityPath
    handler: HandlerName
    args: bytes
    resolution: Resolution
    resolved: ResolvedHandler
    limits: Limits


class Job:
    """One request until its answer has left."""

    __slots__ = (
        "_now_ms",
        "_run_id",
        "account",
        "actor",
        "args",
        "asked",
        "asked_digest",
        "bound",
        "calls",
        "committed",
        "conflicts",
        "diverged",
        "fault",
        "frames",
        "holds_id",
        "is_over",
        "on_answer",
        "parent",
        "position",
        "request",
        "seed",
        "started_ns",
        "touched",
        "transaction",
        "turn",
        "usage",
        "value",
        "values",
    )

    def __init__(self, *, request: Request, actor: Actor, on_answer: OnAnswer, now_ns: int) -> None:
        self.request = request
        self.actor = actor
        self.account = request.caller.account
        self.on_answer = on_answer
        self.started_ns = now_ns
        self.args = b""
        self.asked_digest = b""
        self.seed = 0
        self._now_ms = 0
        self._run_id = ""
        self.position = 0
        """How many ids this attempt has derived from `run_id`."""
        self.usage = Usage()
        self.conflicts = 0
        self.turn: Turn | None = None
        self.touched: set[str] = set()
        self.transaction: Transaction | None = None
        self.frames: list[Frame] = []
        self.value: Any = UNKNOWN
        """What its handler returned, decoded before its commit."""
        self.holds_id = False
        """True while it is the one running request of its id."""
        self.is_over = False
        self.parent: Frame | None = None
        """The frame that waits for it, when a handler made this request."""
        self.bound: Limits | None = None
        """What is left of the parent's limits: it may use no more."""
        self.committed: dict[int, bytes] = {}
        """Requests of its own that are committed, in whichever attempt: position -> what was
        asked, as a digest. They cannot be taken back."""
        self.asked: set[int] = set()
        """Positions of those that this attempt has asked for."""
        self.diverged: Diverged | None = None
        """Set when this attempt asked for something else than an earlier one had committed."""
        self.fault: LithoxError | None = None
        """Set when a request of its own ended by a fault of the node: so does this one."""
        self.calls: list[GroupCall] = []
        """The calls of a group; empty for a request of one handler."""
        self.values: list[bytes] = []
        """What the calls of a group have returned in this attempt, encoded."""

    def seen_ms(self, clock: Clock) -> int:
        """Returns what its guests see as time, in every attempt: when the first of them began."""
        if not self._now_ms:
            self._now_ms = clock.wall_ns() // 1_000_000
        return self._now_ms

    @property
    def run_id(self) -> str:
        """Names the run towards what it sends and requests; the same in every attempt, and after
        a crash if the request has an id. Two callers may choose one id, so theirs are told apart.
        """
        if not self._run_id:
            request = self.request
            if request.request_id is None:
                self._run_id = f"r.{self.seed:016x}.{self.started_ns:x}"
            else:
                self._run_id = derive_id(
                    "i.", request.caller.identity, self.place, request.request_id
                )
        return self._run_id

    @property
    def is_asked(self) -> bool:
        """Whether a handler's run waits for it, in this process or in another one."""
        return self.parent is not None or isinstance(self.request.origin, AskedElsewhere)

    @property
    def place(self) -> str:
        """Under which entity its answer is recorded."""
        if self.is_asked:
            return REQUESTS_PLACE
        return self.request.entity

    @property
    def is_recorded(self) -> bool:
        """Whether its id makes it idempotent by a record; some have a row instead."""
        origin: Origin | None = self.request.origin
        return self.request.request_id is not None and (origin is None or origin.records_result)

    @property
    def depth(self) -> int:
        """How many requests wait for it, each for the next; 0 for one from outside."""
        depth, job = 0, self
        while job.parent is not None:
            depth, job = depth + 1, job.parent.job
        origin = job.request.origin
        return depth + origin.depth if isinstance(origin, AskedElsewhere) else depth

    def forget_attempt(self) -> None:
        """Takes back what one attempt has noted, but for what cannot be taken back."""
        self.position = 0
        self.asked.clear()
        self.diverged = None
        self.values.clear()
        self.value = UNKNOWN


Settle = Callable[[Job, "bytes | None", "Exception | None"], None]
"""(job, encoded value, error): told once, when the answer may leave."""
OnCommitted = Callable[[Job, Transaction, int], None]
"""(job, its transaction, version)."""


LogSink = Callable[[Frame, str, str, dict[str, Any]], None]
"""Receives (frame, level, text, fields) of every `self:log`."""

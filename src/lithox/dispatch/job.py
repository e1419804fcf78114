"""The records of a request on its way: a job, its transaction, its frames. No behaviour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from lithox.dispatch.catalog import Resolution, ResolvedHandler
from lithox.dispatch.driven import Driver
from lithox.dispatch.transaction import Transaction
from lithox.dispatch.turns import Turn
from lithox.model.ids import EntityPath, HandlerName, Pid
from lithox.model.limits import Limits
from lithox.model.request import Answer, Request, Usage
from lithox.sandbox.contract import Guest
from lithox.security.access import Actor

UNKNOWN: Final = object()
OnAnswer = Callable[[Answer], None]


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
        """Never: a run is answered when its answer comes, not at its next slice."""
        self.is_out = False
        """True while a slice of it is on the second thread: its guest must not be touched."""
        self.is_over = False
        self.is_preloaded = False
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


class Job:
    """One request until its answer has left."""

    __slots__ = (
        "account",
        "actor",
        "args",
        "asked_digest",
        "conflicts",
        "frames",
        "holds_id",
        "is_over",
        "on_answer",
        "position",
        "request",
        "run_id",
        "seed",
        "started_ns",
        "touched",
        "transaction",
        "turn",
        "usage",
        "value",
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
        self.run_id: str = request.request_id or ""
        """Names the run towards what it sends and requests: its request id, else drawn at
        admission; the same in every attempt."""
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


LogSink = Callable[[Frame, str, str, dict[str, Any]], None]
"""Receives (frame, level, text, fields) of every `self:log`."""

"""What clients do to a node so that its history can be judged: draw steps, ask, record answers.

Invariants: every value is written once. Lists stay short, so that reading them stays cheap: a key
that has had its share of appends is left alone and a new one takes its place. A client asks one
thing at a time. What one asks is drawn from a seed; when it is asked is up to the node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import lithox
from lithox.errors import PeerProtocolError, PeerUnreachable
from lithox.model.request import Answer
from tests.histories.records import Append, Look, Read, Step, Write

BUNDLE = Path(__file__).with_name("cells")
"""What is to be deployed."""
ENTITIES = 4
APPENDS_PER_KEY_MAX = 60
GROUP_STEPS_MAX = 3
KINDS = ("whole", "items", "register", "plain")
OUTCOME_WAIT_MS = 5_000


class Way(StrEnum):
    """How steps reach the node. Those of several steps make one transaction of them."""

    CALL = "a call"
    RELAYED = "a call whose handler makes a request of its own"
    ACCEPTED = "a call that is accepted first, and its outcome waited for"
    MAILED = "a call whose handler sends a message"
    JOINED = "a call whose handler calls others inside its transaction"
    ATOMIC = "a group of calls that commit together"


SINGLE = (Way.CALL, Way.CALL, Way.CALL, Way.RELAYED, Way.ACCEPTED, Way.MAILED)
GROUPS = (Way.JOINED, Way.ATOMIC)


class Call(NamedTuple):
    """One request: whom, what, with what."""

    entity: str
    handler: str
    args: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One operation to be asked for.

    Attributes:
        via: the entity that relays or mails.
    """

    way: Way
    steps: tuple[Step, ...]
    via: str

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing, so that it may be asked again without an id."""
        return self.way is not Way.ACCEPTED and all(
            isinstance(step, Read | Look) for step in self.steps
        )

    async def put(self, client: lithox.Client, request_id: str | None) -> Answer:
        """Asks once; returns the answer, its value in the form that `observe` takes."""
        calls = [_call_of(step) for step in self.steps]
        if self.way is Way.ATOMIC:
            group = [(one.entity, one.handler, *one.args) for one in calls]
            return await client.ask_atomic(group, request_id=request_id)
        if self.way is Way.JOINED:
            call = Call(self.via, "group", [[_as_map(one) for one in calls]])
        elif self.way is Way.RELAYED:
            call = Call(self.via, "relay", [calls[0].entity, calls[0].handler, *calls[0].args])
        elif self.way is Way.MAILED:
            call = Call(self.via, "mail", [calls[0].entity, *calls[0].args])
        else:
            call = calls[0]
        if self.way is Way.ACCEPTED:
            return await _wait_accepted(client, call, request_id)
        return await client.ask(call.entity, call.handler, *call.args, request_id=request_id)

    def observe(self, answer: Any) -> list[Step]:
        """Returns the steps with what the node's answer says they saw."""
        answers = answer if self.way in GROUPS else [answer]
        return [_observe(step, told) for step, told in zip(self.steps, answers, strict=True)]


async def _wait_accepted(client: lithox.Client, call: Call, request_id: str | None) -> Answer:
    try:
        told = await client.call_async(call.entity, call.handler, *call.args, request_id=request_id)
        answer = None
        while answer is None:
            answer = await client.request_outcome(told, wait_ms=OUTCOME_WAIT_MS)
    except (PeerUnreachable, PeerProtocolError):
        raise
    except lithox.LithoxError as error:
        return Answer(error=error)
    return answer


@dataclass(slots=True)
class Cells:
    """The keys in use now, and every key there ever was.

    A step's key is `ENTITY:KEY`, the key itself `KIND/NUMBER`.

    Attributes:
        group_share: how many operations are groups, the others single steps.
    """

    random: Random
    group_share: float = 0.4
    keys: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    ever: set[str] = field(default_factory=set[str])
    _values: Iterator[int] = field(default_factory=lambda: count(1))
    _names: Iterator[int] = field(default_factory=count)
    _used: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        for kind in KINDS:
            self.keys[kind] = [self._new_key(kind) for _ in range(ENTITIES)]

    def _new_key(self, kind: str) -> str:
        number = next(self._names)
        key = f"cells/{number % ENTITIES}:{kind}/{number}"
        self.ever.add(key)
        return key

    def _write_to(self, kind: str) -> tuple[str, int]:
        """Returns (a key of `kind`, a new value); a key used up is replaced."""
        place = self.random.randrange(ENTITIES)
        key = self.keys[kind][place]
        used = self._used[key] = self._used.get(key, 0) + 1
        if used >= APPENDS_PER_KEY_MAX:
            self.keys[kind][place] = self._new_key(kind)
        return key, next(self._values)

    def draw(self) -> Asked:
        """Returns one operation; steps on a plain register stand alone."""
        via = f"cells/{self.random.randrange(ENTITIES)}"
        if self.random.random() < self.group_share:
            kinds = [
                self.random.choice(KINDS[:3])
                for _ in range(self.random.randint(2, GROUP_STEPS_MAX))
            ]
            way = self.random.choice(GROUPS)
            return Asked(way=way, steps=tuple(map(self._draw_step, kinds)), via=via)
        step = self._draw_step(self.random.choice(KINDS))
        way = self.random.choice(SINGLE)
        if way is Way.MAILED and not isinstance(step, Append):
            way = Way.CALL
        return Asked(way=way, steps=(step,), via=via)

    def _draw_step(self, kind: str) -> Step:
        is_write = self.random.random() < 0.5
        if is_write:
            key, value = self._write_to(kind)
            is_list = kind in {"whole", "items"}
            return Append(key=key, value=value) if is_list else Write(key=key, value=value)
        key = self.random.choice(self.keys[kind])
        return Read(key=key) if kind in {"whole", "items"} else Look(key=key)

    def last_reads(self) -> list[Asked]:
        """Returns an operation for each key there ever was, to be asked when all else is over."""
        return [
            Asked(
                way=Way.CALL,
                steps=(Look(key=key) if ":register" in key or ":plain" in key else Read(key=key),),
                via="",
            )
            for key in sorted(self.ever)
        ]

    def plain_keys(self) -> list[str]:
        """Returns the keys that the search judges, one by one."""
        return [key for key in sorted(self.ever) if ":plain" in key]


def is_plain(step: Step) -> bool:
    """Returns whether the step is on a plain register."""
    return ":plain" in step.key


def _as_map(call: Call) -> dict[str, Any]:
    named = dict(zip(("key", "value"), call.args, strict=False))
    return {"entity": call.entity, "act": call.handler, **named}


def _call_of(step: Step) -> Call:
    entity, key = step.key.split(":")
    match step:
        case Append(value=value):
            return Call(entity, "append", [key, value])
        case Read():
            return Call(entity, "read", [key])
        case Write(value=value):
            return Call(entity, "put" if is_plain(step) else "write", [key, value])
        case Look():
            return Call(entity, "get" if is_plain(step) else "look", [key])


def _observe(step: Step, told: Any) -> Step:
    match step:
        case Append():
            return step
        case Read(key=key):
            return Read(key=key, values=tuple(told))
        case Write(key=key, value=value):
            return Write(key=key, value=value, version=None if is_plain(step) else told)
        case Look(key=key):
            if is_plain(step):
                return Look(key=key, value=told)
            return Look(key=key, version=told["version"], value=told.get("value"))

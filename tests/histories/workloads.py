"""What clients do to a node so that its history can be judged: draw steps, ask, record answers.

Invariants: every value is written once. Lists stay short, so that reading them stays cheap: a key
that has had its share of appends is left alone and a new one takes its place. A client asks one
thing at a time. What one asks is drawn from a seed; when it is asked is up to the node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.histories.records import Append, Look, Read, Step, Write

BUNDLE = Path(__file__).with_name("cells")
"""What is to be deployed."""
ENTITIES = 4
APPENDS_PER_KEY_MAX = 60
GROUP_STEPS_MAX = 3
KINDS = ("whole", "items", "register", "plain")


class Call(NamedTuple):
    """One request: whom, what, with what."""

    entity: str
    handler: str
    args: list[Any]


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

    def draw(self) -> list[Step]:
        """Returns the steps of one operation; those on a plain register stand alone."""
        if self.random.random() >= self.group_share:
            return [self._draw_step(self.random.choice(KINDS))]
        steps = self.random.randint(2, GROUP_STEPS_MAX)
        return [self._draw_step(self.random.choice(KINDS[:3])) for _ in range(steps)]

    def _draw_step(self, kind: str) -> Step:
        is_write = self.random.random() < 0.5
        if is_write:
            key, value = self._write_to(kind)
            is_list = kind in {"whole", "items"}
            return Append(key=key, value=value) if is_list else Write(key=key, value=value)
        key = self.random.choice(self.keys[kind])
        return Read(key=key) if kind in {"whole", "items"} else Look(key=key)

    def last_reads(self) -> list[list[Step]]:
        """Returns an operation for each key there ever was, to be asked when all else is over."""
        return [
            [Look(key=key) if ":register" in key or ":plain" in key else Read(key=key)]
            for key in sorted(self.ever)
        ]

    def plain_keys(self) -> list[str]:
        """Returns the keys that the search judges, one by one."""
        return [key for key in sorted(self.ever) if ":plain" in key]


def is_plain(step: Step) -> bool:
    """Returns whether the step is on a plain register."""
    return ":plain" in step.key


def acts(steps: Sequence[Step]) -> list[tuple[str, str, list[Any]]]:
    """Returns (entity, handler, arguments) of each step, for groups made at the client."""
    return [(call.entity, call.handler, call.args) for call in map(_call_of, steps)]


def call_for(steps: Sequence[Step]) -> Call:
    """Returns the request that does `steps`: one handler, or a group of joined calls."""
    if len(steps) == 1:
        return _call_of(steps[0])
    calls = [_call_of(step) for step in steps]
    listed = [
        {"entity": c.entity, "act": c.handler, **dict(zip(("key", "value"), c.args, strict=False))}
        for c in calls
    ]
    return Call(calls[0].entity, "group", [listed])


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


def observe(steps: Sequence[Step], answer: Any) -> list[Step]:
    """Returns `steps` with what the node's answer says they saw."""
    answers = [answer] if len(steps) == 1 else answer
    return [_observe(step, told) for step, told in zip(steps, answers, strict=True)]


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

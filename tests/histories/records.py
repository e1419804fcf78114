"""What clients saw: which operations they asked for, when, and how each ended.

Invariants: an operation is one transaction, however many keys it touches. What it wrote is unique
in the whole history, so that whoever sees a value knows who wrote it. Times come from one clock of
one machine, read before a request is sent and after its answer has arrived, so `a.ended_ns <
b.invoked_ns` means that a was over before b began. An operation that was asked again with its id
is one operation from its first question to its last answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path


class Outcome(StrEnum):
    """How an operation ended, as its client knows it."""

    OK = "ok"
    FAIL = "fail"
    """It has certainly not happened."""
    UNKNOWN = "unknown"
    """Nobody told; it may have happened at any time since it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Adds `value` to the end of the list under `key`."""

    key: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Reads the whole list under `key`; None: not known what was seen."""

    key: str
    values: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Makes `value` the register's next version; the version is what the writer was told."""

    key: str
    value: int
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Reads a register: its version (0: never written) and value; None: not known."""

    key: str
    version: int | None = None
    value: int | None = None


Step = Append | Read | Write | Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One transaction as its client saw it.

    Attributes:
        number: unique; its place in the order of invocations.
        client: who asked; a client asks one thing at a time.
        steps: what it did, in order; with what was seen once that is known.
        invoked_ns, ended_ns: before it was sent and after it was answered; an operation nobody
            told about has no end.
    """

    number: int
    client: int
    outcome: Outcome
    steps: tuple[Step, ...]
    invoked_ns: int
    ended_ns: int | None

    def __str__(self) -> str:
        done = ", ".join(_spell(step) for step in self.steps)
        return f"#{self.number} (client {self.client}, {self.outcome}): {done}"


def _spell(step: Step) -> str:
    match step:
        case Append():
            return f"append {step.value} to {step.key}"
        case Read():
            seen = "?" if step.values is None else " ".join(map(str, step.values[-6:]))
            dots = "... " if step.values is not None and len(step.values) > 6 else ""
            return f"read {step.key} = [{dots}{seen}]"
        case Write():
            return f"write {step.key} = {step.value} (version {step.version})"
        case Look():
            return f"look at {step.key} = {step.value} (version {step.version})"


class Recorder:
    """Gathers one history; used from one thread.

    Args:
        now_ns: the clock, monotonic.
    """

    def __init__(self, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._operations: list[Operation] = []

    def invoke(self, client: int, steps: Iterable[Step]) -> int:
        """Notes that `client` is about to ask for `steps`; returns the operation's number."""
        number = len(self._operations)
        self._operations.append(
            Operation(
                number=number,
                client=client,
                outcome=Outcome.UNKNOWN,
                steps=tuple(steps),
                invoked_ns=self._now_ns(),
                ended_ns=None,
            )
        )
        return number

    def succeed(self, number: int, steps: Iterable[Step]) -> None:
        """Notes an answer: `steps` with what was seen."""
        self._end(number, outcome=Outcome.OK, steps=tuple(steps))

    def fail(self, number: int) -> None:
        """Notes a refusal: nothing of it has happened."""
        self._end(number, outcome=Outcome.FAIL, steps=self._operations[number].steps)

    def _end(self, number: int, *, outcome: Outcome, steps: tuple[Step, ...]) -> None:
        begun = self._operations[number]
        assert begun.ended_ns is None, "an operation ends once"
        self._operations[number] = replace(
            begun, outcome=outcome, steps=steps, ended_ns=self._now_ns()
        )

    def history(self) -> list[Operation]:
        """Returns everything so far; what has not ended is of unknown outcome."""
        return list(self._operations)


def save(history: Iterable[Operation], path: Path) -> None:
    """Writes a history as JSON Lines, for whoever looks into a refused one."""
    with path.open("w", encoding="utf-8") as file:
        for one in history:
            steps = [{"do": type(step).__name__.lower(), **asdict(step)} for step in one.steps]
            file.write(json.dumps({**asdict(one), "steps": steps}) + "\n")

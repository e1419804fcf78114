"""Lua's engine with an ear between node and guest: how often they talk, and how many bytes.

Passes everything on; used for counting messages alone, since it calls more than the engine does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lithox.model.limits import Limits
from lithox.sandbox.contract import Engine, Guest, Program, Source, Step, StepKind


@dataclass(slots=True, kw_only=True)
class Heard:
    """What passed between node and guests."""

    steps: int = 0
    system_calls: int = 0
    bytes_in: int = 0
    """Run messages and answers, to guests."""
    bytes_out: int = 0
    """System calls and outcomes, from guests."""

    def clear(self) -> None:
        """Forgets what was heard."""
        self.steps = self.system_calls = self.bytes_in = self.bytes_out = 0


class _Guest:
    """A guest that is listened to."""

    def __init__(self, guest: Guest, heard: Heard) -> None:
        self._guest = guest
        self._heard = heard

    def step(self, quantum_fuel: int, *, frees_lock: bool) -> Step:
        heard = self._heard
        step = self._guest.step(quantum_fuel, frees_lock=frees_lock)
        heard.steps += 1
        heard.bytes_out += len(step.data)
        heard.system_calls += step.kind is StepKind.ASKED
        return step

    def answer(self, message: bytes) -> None:
        self._heard.bytes_in += len(message)
        self._guest.answer(message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guest, name)


class _Program:
    """A program whose guests are listened to."""

    def __init__(self, program: Program, heard: Heard) -> None:
        self._program = program
        self._heard = heard
        self.handler_names = program.handler_names

    def start(self, message: bytes, limits: Limits) -> Any:
        self._heard.bytes_in += len(message)
        return _Guest(self._program.start(message, limits), self._heard)


class ListeningEngine:
    """An engine whose programs are listened to.

    Args:
        engine: the real one; it stays the caller's to close.
        heard: what is added to.
    """

    def __init__(self, engine: Engine, heard: Heard) -> None:
        self._engine = engine
        self._heard = heard
        self.language = engine.language

    def find(self, digest: str) -> Any:
        """Returns a program that is loaded already, or None."""
        found = self._engine.find(digest)
        return None if found is None else _Program(found, self._heard)

    def prepare(self, source: Source) -> None:
        """Does the slow part of the next `load`. Blocks."""
        self._engine.prepare(source)

    def load(self, source: Source, limits: Limits) -> Any:
        """Returns the program of `source`. Blocks."""
        return _Program(self._engine.load(source, limits), self._heard)

    def statistics(self) -> dict[str, Any]:
        """Returns those of the real engine."""
        return self._engine.statistics()

    def close(self) -> None:
        """Does nothing: the real engine is its owner's."""

"""How can a node have an engine that costs nothing until it is used?

A `LazyEngine` stands for an engine and opens it at the first `load`: a node that runs no program
of a language neither compiles nor keeps that language's interpreter.

Invariant: the engine is opened at most once, and not any more after `close`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lithox.model.limits import Limits
from lithox.sandbox.contract import Engine, Program, Source


class LazyEngine:
    """An engine that is opened when it is first needed: see `contract.Engine`.

    Attributes:
        language: its name.
    """

    __slots__ = ("_engine", "_open", "language")

    def __init__(self, language: str, open_engine: Callable[[], Engine]) -> None:
        """Keeps how to open the engine.

        Args:
            language: its name, as the opened engine will have it.
            open_engine: called once, at the first `load`; may raise ConfigError and block.
        """
        self.language = language
        self._open: Callable[[], Engine] | None = open_engine
        self._engine: Engine | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has been needed yet."""
        return self._engine is not None

    def find(self, digest: str) -> Program | None:
        """Returns a program that is loaded already, or None. Never blocks."""
        return None if self._engine is None else self._engine.find(digest)

    def prepare(self, source: Source) -> None:
        """Has nothing to do before the engine is open; then as the engine itself."""
        if self._engine is not None:
            self._engine.prepare(source)

    def load(self, source: Source, limits: Limits) -> Program:
        """Returns the program of `source`, opening the engine first where it is not open.

        Raises:
            ConfigError: the interpreter is missing or does not fit.
            CompileFailed, LimitExceeded, GuestTrapped, GuestProtocolError, Overloaded: as the
                engine itself.

        Blocks: while it loads; the first time also while the engine opens (a second without a
            cache entry, 20 ms with one).
        """
        if self._engine is None:
            assert self._open is not None, "load after close"
            self._engine = self._open()
        return self._engine.load(source, limits)

    def statistics(self) -> dict[str, Any]:
        """Returns what the engine says of itself; nothing before it is open."""
        return {} if self._engine is None else self._engine.statistics()

    def close(self) -> None:
        """Frees everything. Guests must be closed before. Idempotent."""
        self._open = None
        if self._engine is not None:
            self._engine.close()
            self._engine = None

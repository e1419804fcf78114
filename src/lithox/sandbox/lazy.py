"""How can a node have an engine that costs nothing until it is used?

A `LazyEngine` stands for an engine and opens it at the first `prepare` or `load`: a node that runs
no program of a language neither compiles nor keeps that language's interpreter. Opening may compile
the interpreter, so it belongs into the thread of a `prepare`.

Invariant: the engine is opened at most once, and not any more after `close`; whoever else needs it
while it opens waits for that.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from lithox.errors import StoreUnavailable
from lithox.model.limits import Limits
from lithox.sandbox.contract import Engine, Program, Source


class LazyEngine:
    """An engine that is opened when it is first needed: see `contract.Engine`.

    Attributes:
        language: its name.
    """

    __slots__ = ("_engine", "_lock", "_open", "language")

    def __init__(self, language: str, open_engine: Callable[[], Engine]) -> None:
        """Keeps how to open the engine.

        Args:
            language: its name, as the opened engine will have it.
            open_engine: called until it succeeds once, from any thread; may raise ConfigError and
                block.
        """
        self._lock = Lock()
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
        """Opens the engine where it is not open, and has it prepare `source`. From any thread.

        Raises:
            ConfigError: the interpreter is missing or does not fit.
            StoreUnavailable: the node has closed meanwhile.
            CompileFailed: as the engine itself.

        Blocks: as `load` the first time, then as the engine itself.
        """
        self._opened().prepare(source)

    def load(self, source: Source, limits: Limits) -> Program:
        """Returns the program of `source`, opening the engine first where it is not open.

        Raises:
            ConfigError: the interpreter is missing or does not fit.
            CompileFailed, LimitExceeded, GuestTrapped, GuestProtocolError, Overloaded: as the
                engine itself.

        Blocks: while it loads; the first time also while the engine opens (a second without a
            cache entry, 20 ms with one).
        """
        return self._opened().load(source, limits)

    def _opened(self) -> Engine:
        engine = self._engine
        if engine is None:
            with self._lock:
                engine = self._engine
                if engine is None:
                    if self._open is None:
                        raise StoreUnavailable("this node is closing", retry_after_ms=1000)
                    engine = self._engine = self._open()
        return engine

    def statistics(self) -> dict[str, Any]:
        """Returns what the engine says of itself; nothing before it is open."""
        return {} if self._engine is None else self._engine.statistics()

    def close(self) -> None:
        """Frees everything. Guests must be closed before. Idempotent.

        Blocks: while another thread opens the engine.
        """
        with self._lock:
            self._open = None
            if self._engine is not None:
                self._engine.close()
                self._engine = None

"""Which of the two kinds of WebAssembly is this?

`wasm` in a template means a binary of anybody. Its first eight bytes say whether it is a core
module (`sandbox.core`) or a component (`sandbox.component`); each kind has an engine of its own,
opened when the first of its kind comes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

from lithox.errors import CompileFailed
from lithox.model.limits import Limits
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.component.engine import ComponentEngine
from lithox.sandbox.contract import Engine, Program, Source
from lithox.sandbox.core.engine import CoreEngine
from lithox.sandbox.core.sections import MAGIC as CORE_MAGIC
from lithox.sandbox.lazy import LazyEngine
from lithox.sandbox.mappings import MappingBudget

COMPONENT_MAGIC: Final = b"\0asm\x0d\0\1\0"
"""A component, of the encoding that wasmtime 50 reads."""
_EXPECTED: Final = (
    "a core module (00 61 73 6d 01 00 00 00) or a component (00 61 73 6d 0d 00 01 00)"
)


class WebAssemblyEngine:
    """Core modules and components of anybody: see `contract.Engine`.

    Attributes:
        language: its name.
    """

    __slots__ = ("_by_magic", "language")

    def __init__(self, *, language: str, cache_dir: Path, mappings: MappingBudget) -> None:
        """Opens nothing yet.

        Args:
            language: its name in templates.
            cache_dir: where machine code is kept; safe to delete.
            mappings: the process's account of mappings.
        """
        self.language = language
        cache = ModuleCache(cache_dir)
        core = partial(CoreEngine, language=language, cache=cache, mappings=mappings)
        component = partial(
            ComponentEngine,
            language=language,
            cache=cache,
            names=ModuleCache(cache_dir),
            mappings=mappings,
        )
        self._by_magic: dict[bytes, Engine] = {
            CORE_MAGIC: LazyEngine(language, core),
            COMPONENT_MAGIC: LazyEngine(language, component),
        }

    def find(self, digest: str) -> Program | None:
        """Returns a program that is loaded already, or None. Never blocks."""
        for engine in self._by_magic.values():
            program = engine.find(digest)
            if program is not None:
                return program
        return None

    def _engine_of(self, source: Source) -> Engine:
        engine = self._by_magic.get(source.text[:8])
        if engine is None:
            found = source.text[:8].hex(" ") or "nothing"
            raise CompileFailed(
                f"{source.name} is no WebAssembly this node reads: it begins with {found}; "
                f"expected {_EXPECTED}",
                file=source.name,
                offset=0,
                expected=_EXPECTED,
            )
        return engine

    def prepare(self, source: Source) -> None:
        """Compiles `source`; see `contract.Engine`. From any thread.

        Raises:
            CompileFailed: fields file, expected, and offset where known.
            Overloaded: too many modules wait to be compiled.

        Blocks: for seconds.
        """
        self._engine_of(source).prepare(source)

    def load(self, source: Source, limits: Limits) -> Program:
        """Returns the program of `source`, set up under `limits`; see `contract.Engine`.

        Raises:
            CompileFailed, LimitExceeded, GuestTrapped, GuestProtocolError, Overloaded: as the
                engine of its kind.

        Blocks: at most the fuel of `limits` after `prepare`; seconds without.
        """
        return self._engine_of(source).load(source, limits)

    def statistics(self) -> dict[str, Any]:
        """Returns what the engines say of themselves, numbers of the same name added up."""
        whole: dict[str, Any] = {}
        for engine in self._by_magic.values():
            for name, value in engine.statistics().items():
                whole[name] = whole.get(name, 0) + value
        return whole

    def close(self) -> None:
        """Frees everything. Guests must be closed before."""
        for engine in self._by_magic.values():
            engine.close()

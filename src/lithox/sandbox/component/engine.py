"""How does a component become something that runs?

`prepare` makes machine code in a child process, or finds it in the cache, hands it to wasmtime,
checks that the component fits the world and asks it for its handlers under limits: whatever is slow
and whatever runs a stranger's code, on any thread, with the lock free meanwhile. What the component
said is kept beside its machine code. So `load` has nothing to wait for; it does all that itself
where nobody has prepared. Nothing of an instance is kept.

Invariants: programs are kept by the digest of their source, at most `CODE_BYTES_MAX` bytes of
machine code, those used longest ago leaving first; a program that somebody still has goes on.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from time import thread_time_ns
from typing import Any, Final

from lithox.errors import InternalError, StoreUnavailable
from lithox.model.limits import Limits
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.capi import Library, open_library
from lithox.sandbox.component.asking import (
    Said,
    ThreadClock,
    ask_names,
    check_said,
    find_said,
    keep_said,
)
from lithox.sandbox.component.configuration import CONFIGURATION
from lithox.sandbox.component.linking import Wall
from lithox.sandbox.component.parts import measure_memory
from lithox.sandbox.component.program import Code, ComponentProgram
from lithox.sandbox.contract import Source
from lithox.sandbox.core.compiling import Compilation, CompileBounds
from lithox.sandbox.mappings import MappingBudget

CODE_BYTES_MAX: Final = 512 << 20
"""Machine code kept: CPython's is 42 MB, a small component's 60 kB."""
PREPARED_MAX: Final = 4
"""Components that are prepared and not loaded yet."""
BOUNDS: Final = CompileBounds(cpu_s=240, wall_s=900)
"""CPython takes 31 s of processor time, all threads together."""
SETUP_LIMITS: Final = Limits(fuel=50_000_000, memory_bytes=16 << 20, calls=1000)
"""What a component may use while it is prepared: as much as a deploy gives. `load` looks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A component that is ready to be loaded.

    Attributes:
        program: it, its handlers known.
        said: what that took.
    """

    program: ComponentProgram
    said: Said


class ComponentEngine:
    """Runs components: see `contract.Engine`. `prepare` is for any thread, all else for one.

    Attributes:
        language: its name.
    """

    __slots__ = (
        "_budget",
        "_cache",
        "_clock",
        "_compilation",
        "_engine",
        "_is_closed",
        "_library",
        "_lock",
        "_making",
        "_names",
        "_prepared",
        "_programs",
        "_programs_bytes",
        "_wall",
        "language",
    )

    def __init__(
        self,
        *,
        language: str,
        cache: ModuleCache,
        names: ModuleCache | None = None,
        mappings: MappingBudget | None = None,
        clock: ThreadClock = thread_time_ns,
    ) -> None:
        """Makes wasmtime's engine; nothing is compiled.

        Args:
            language: its name in templates, `wasm`.
            cache: where machine code is kept.
            names: where handlers' names are kept, so that they do not count in `cache`; it may be
                the same directory. None: they are asked for once in each process.
            mappings: the process's account of mappings, shared by its engines; None makes one.
            clock: processor time of the thread that asks, in nanoseconds.

        Raises:
            ConfigError: the wrong wasmtime.
        """
        self.language = language
        self._library = open_library()
        self._engine = _make_engine(self._library)
        self._wall = Wall(self._library, self._engine)
        self._cache = cache
        self._names = names
        self._clock = clock
        self._compilation = Compilation(
            kind="component", configuration=CONFIGURATION, bounds=BOUNDS
        )
        self._budget = mappings or MappingBudget()
        self._lock = Lock()
        self._prepared: OrderedDict[str, _Prepared] = OrderedDict()
        self._programs: OrderedDict[str, ComponentProgram] = OrderedDict()
        self._programs_bytes = 0
        self._making = 0
        """Threads that make a program, and so use wasmtime's engine."""
        self._is_closed = False

    def find(self, digest: str) -> ComponentProgram | None:
        """Returns a program that is loaded already, or None. Never blocks."""
        program = self._programs.get(digest)
        if program is not None:
            self._programs.move_to_end(digest)
        return program

    def prepare(self, source: Source) -> None:
        """Makes a component ready, its handlers known, and keeps it for the next `load`.

        Raises:
            CompileFailed: as `load`; with fields file, expected.
            LimitExceeded: as `load`.
            Overloaded, NotAvailable: as `sandbox.core.compiling`.
            StoreUnavailable: the node has closed meanwhile.

        Blocks: for seconds (CPython: half a minute); 0.2 s with a cache entry of that size.
        """
        with self._lock:
            if source.digest in self._prepared:
                return
        prepared = self._make(source, SETUP_LIMITS)
        with self._lock:
            self._check_open()
            self._prepared[source.digest] = prepared
            while len(self._prepared) > PREPARED_MAX:
                self._prepared.popitem(last=False)

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("this node is closing", retry_after_ms=1000)

    def _make(self, source: Source, limits: Limits) -> _Prepared:
        """Returns the program; whoever leaves last after `close` frees wasmtime's engine."""
        with self._lock:
            self._check_open()
            self._making += 1
        try:
            return self._make_program(source, limits)
        finally:
            with self._lock:
                self._making -= 1
                is_last = self._is_closed and not self._making
            if is_last:
                self._free_engine()

    def _make_program(self, source: Source, limits: Limits) -> _Prepared:
        code = self._make_code(source)
        try:
            world = self._wall.link(code.component, file=source.name)
        except BaseException:
            self._delete(code)
            raise
        program = ComponentProgram(self._wall, self._budget, code, world, digest=source.digest)
        said = self._find_said(program, source, limits)
        program.memories = said.memories
        program.handler_names = tuple(
            sorted({name for name in said.names if not name.startswith("_")})
        )
        return _Prepared(program=program, said=said)

    def _find_said(self, program: ComponentProgram, source: Source, limits: Limits) -> Said:
        """Returns what the component says of itself; it runs only if nobody has kept that."""
        names = self._names
        key = "" if names is None else self._compilation.key_of(source.text)
        said = None if names is None else find_said(names, key)
        if said is None:
            said = ask_names(program, source, limits, clock=self._clock)
            if names is not None:
                keep_said(names, key, said)
        return said

    def _make_code(self, source: Source) -> Code:
        file = source.name
        memory_bytes = measure_memory(source.text, file=file)
        text: str | None = None
        out = ctypes.c_uint64(0)
        for _ in range(2):
            code = self._compilation.compile(source.text, file=file, cache=self._cache)
            error = self._library.component_deserialize(
                self._engine, code, len(code), ctypes.addressof(out)
            )
            text = self._library.take_error(error)
            if text is None:
                return Code(out.value, len(code), memory_bytes)
            # What is in the cache is of no use: it is made once more.
            self._cache.refuse(self._compilation.key_of(source.text))
        raise InternalError(f"machine code of {file} cannot be loaded: {text}")

    def _delete(self, code: Code) -> None:
        self._library.by_name["wasmtime_component_delete"](code.component)

    def load(self, source: Source, limits: Limits) -> ComponentProgram:
        """Returns the program of `source`, loaded under `limits` unless it is loaded already.

        Raises:
            CompileFailed: it is no component, does not fit the world, or traps while it is asked.
            LimitExceeded: that used up its fuel, memory, calls or processor time.
            Overloaded: there is no room for another guest.

        Blocks: for less than a millisecond after `prepare`, and nothing of the component runs;
            without one, as that.
        """
        found = self.find(source.digest)
        if found is not None:
            return found
        with self._lock:
            prepared = self._prepared.pop(source.digest, None)
        if prepared is None:
            prepared = self._make(source, limits)
        check_said(prepared.said, source, limits)
        self._keep(prepared.program)
        return prepared.program

    def _keep(self, program: ComponentProgram) -> None:
        self._programs[program.digest] = program
        self._programs_bytes += program.code_bytes
        while self._programs_bytes > CODE_BYTES_MAX and len(self._programs) > 1:
            _, oldest = self._programs.popitem(last=False)
            self._programs_bytes -= oldest.code_bytes

    def statistics(self) -> dict[str, Any]:
        """Returns live and made guests, mappings, programs and their code, cache hits."""
        programs = self._programs.values()
        return {
            "live_guests": sum(program.live for program in programs),
            "made_guests": sum(program.made for program in programs),
            "mappings": self._budget.estimate,
            "programs": len(self._programs),
            "program_bytes": self._programs_bytes,
            "cache_hits": self._cache.hits,
            "cache_misses": self._cache.misses,
            "cache_refused": self._cache.refused,
        }

    def close(self) -> None:
        """Frees everything. Guests must be closed before. Idempotent.

        Does not wait for programs that are being made: the last of them frees the engine.
        """
        for program in self._programs.values():
            assert not program.live, "guests are still open"
        self._programs.clear()
        self._programs_bytes = 0
        with self._lock:
            self._is_closed = True
            self._prepared.clear()
            is_last = not self._making
        if is_last:
            self._free_engine()

    def _free_engine(self) -> None:
        if self._engine:
            self._library.by_name["wasm_engine_delete"](self._engine)
            self._engine = 0


def _make_engine(library: Library) -> int:
    config = library.by_name["wasm_config_new"]()
    for name, value in CONFIGURATION.items():
        library.by_name[f"wasmtime_config_{name}_set"](config, value)
    # The engine takes the configuration over, also when it refuses it.
    engine = library.by_name["wasm_engine_new_with_config"](config)
    if not engine:
        raise InternalError("wasmtime refused the engine configuration")
    return engine

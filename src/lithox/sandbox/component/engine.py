"""How does a component become something that runs?

`prepare` makes machine code in a child process, or finds it in the cache, and hands it to wasmtime:
whatever takes longer than a moment, on any thread. `load` checks that the component fits the world
and asks it for its handlers under limits; for that it makes an instance, as each run does. Nothing
of an instance is kept.

Invariants: programs are kept by the digest of their source, at most `CODE_BYTES_MAX` bytes of
machine code, those used longest ago leaving first; a program that somebody still has goes on.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from dataclasses import replace
from threading import Lock
from typing import Any, Final, NoReturn

import msgspec

from lithox.errors import CompileFailed, InternalError, LimitExceeded, meaning_of
from lithox.model.limits import Limits
from lithox.sandbox import messages
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.capi import Library, open_library
from lithox.sandbox.component.configuration import CONFIGURATION, MEMORIES_MAX
from lithox.sandbox.component.guest import ComponentGuest
from lithox.sandbox.component.linking import Wall
from lithox.sandbox.component.parts import measure_memory
from lithox.sandbox.component.program import Code, ComponentProgram
from lithox.sandbox.contract import Source, Step, StepKind
from lithox.sandbox.core.compiling import Compilation, CompileBounds
from lithox.sandbox.mappings import MappingBudget

CODE_BYTES_MAX: Final = 512 << 20
"""Machine code kept: CPython's is 42 MB, a small component's 60 kB."""
PREPARED_MAX: Final = 4
"""Components that are prepared and not loaded yet."""
HANDLER_NAME_CHARACTERS_MAX: Final = 128
LOAD_QUANTUM_FUEL: Final = 10_000_000
BOUNDS: Final = CompileBounds(cpu_s=240, wall_s=900)
"""CPython takes 31 s of processor time, all threads together."""
LOAD_MEMORY_BYTES_MIN: Final = 64 << 20
"""Memory for asking a component for its handlers, whatever a load of text may have: CPython alone
begins with 20 MB. Its runs have what their limits say."""
_TOO_MANY_MEMORIES: Final = "memory count too high"
"""Words of an error by which wasmtime refuses a second, third or fourth memory."""
_REFUSED: Final = "request.not_available"
_decode_text: Final = msgspec.msgpack.Decoder(str).decode


class ComponentEngine:
    """Runs components: see `contract.Engine`. `prepare` is for any thread, all else for one.

    Attributes:
        language: its name.
    """

    __slots__ = (
        "_budget",
        "_cache",
        "_compilation",
        "_engine",
        "_library",
        "_lock",
        "_prepared",
        "_programs",
        "_programs_bytes",
        "_wall",
        "language",
    )

    def __init__(
        self, *, language: str, cache: ModuleCache, mappings: MappingBudget | None = None
    ) -> None:
        """Makes wasmtime's engine; nothing is compiled.

        Args:
            language: its name in templates, `wasm`.
            cache: where machine code is kept.
            mappings: the process's account of mappings, shared by its engines; None makes one.

        Raises:
            ConfigError: the wrong wasmtime.
        """
        self.language = language
        self._library = open_library()
        self._engine = _make_engine(self._library)
        self._wall = Wall(self._library, self._engine)
        self._cache = cache
        self._compilation = Compilation(
            kind="component", configuration=CONFIGURATION, bounds=BOUNDS
        )
        self._budget = mappings or MappingBudget()
        self._lock = Lock()
        self._prepared: OrderedDict[str, Code] = OrderedDict()
        self._programs: OrderedDict[str, ComponentProgram] = OrderedDict()
        self._programs_bytes = 0

    def find(self, digest: str) -> ComponentProgram | None:
        """Returns a program that is loaded already, or None. Never blocks."""
        program = self._programs.get(digest)
        if program is not None:
            self._programs.move_to_end(digest)
        return program

    def prepare(self, source: Source) -> None:
        """Compiles a component, or takes it from the cache, and keeps it for the next `load`.

        Raises:
            CompileFailed: with fields file, expected.
            Overloaded, NotAvailable: as `sandbox.core.compiling`.

        Blocks: for seconds (CPython: half a minute); 0.2 s with a cache entry of that size.
        """
        with self._lock:
            if source.digest in self._prepared:
                return
        code = self._make_code(source)
        with self._lock:
            if source.digest in self._prepared:
                self._delete(code)
                return
            self._prepared[source.digest] = code
            while len(self._prepared) > PREPARED_MAX:
                self._delete(self._prepared.popitem(last=False)[1])

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
            LimitExceeded: that used up its fuel or memory.
            Overloaded: there is no room for another guest.

        Blocks: while it is asked for its handlers, at most the fuel of `limits`; without a
            `prepare` before, as that.
        """
        found = self.find(source.digest)
        if found is not None:
            return found
        with self._lock:
            code = self._prepared.pop(source.digest, None)
        if code is None:
            code = self._make_code(source)
        try:
            world = self._wall.link(code.component, file=source.name)
        except BaseException:
            self._delete(code)
            raise
        program = ComponentProgram(self._wall, self._budget, code, world, digest=source.digest)
        program.handler_names = _ask_names(program, source, limits)
        self._keep(program)
        return program

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
        """Frees everything. Guests must be closed before. Idempotent."""
        for program in self._programs.values():
            assert not program.live, "guests are still open"
        self._programs.clear()
        self._programs_bytes = 0
        with self._lock:
            for code in self._prepared.values():
                self._delete(code)
            self._prepared.clear()
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


def _ask_names(program: ComponentProgram, source: Source, limits: Limits) -> tuple[str, ...]:
    """Returns the names a component gives; finds out how many memories it has on the way."""
    memory_bytes = max(LOAD_MEMORY_BYTES_MIN, limits.memory_bytes or 0)
    limits = replace(limits, memory_bytes=memory_bytes)
    while True:
        guest = program.open_guest(None, limits)
        try:
            step = _run_load(guest)
        finally:
            guest.close()
        if step.kind is StepKind.FINISHED:
            break
        if _TOO_MANY_MEMORIES in step.detail and program.memories < MEMORIES_MAX:
            program.memories += 1
        else:
            _raise_ended(step, guest, source, limits)
    names = messages.decode_outcome(step.data)
    found = msgspec.msgpack.decode(names.body, type=list[str])
    for name in found:
        if not 1 <= len(name) <= HANDLER_NAME_CHARACTERS_MAX:
            raise CompileFailed(
                f"{source.name} gives a handler with a name of {len(name)} letters; "
                f"1-{HANDLER_NAME_CHARACTERS_MAX} are allowed",
                file=source.name,
            )
    return tuple(sorted({name for name in found if not name.startswith("_")}))


def _run_load(guest: ComponentGuest) -> Step:
    """Steps a load to its end; whatever it asks of the node is refused."""
    while True:
        step = guest.step(LOAD_QUANTUM_FUEL, frees_lock=False)
        if step.kind is StepKind.ASKED:
            status = meaning_of(_REFUSED).guest_status
            guest.answer(messages.encode_refusal(status, _REFUSED, "not while it is loaded", {}))
        elif step.kind is not StepKind.YIELDED:
            return step


def _raise_ended(step: Step, guest: ComponentGuest, source: Source, limits: Limits) -> NoReturn:
    """Raises what ended a load."""
    limit = step.code.removeprefix("guest.out_of_")
    if limit != step.code:
        allowed = {"fuel": limits.fuel, "memory": limits.memory_bytes, "calls": limits.calls}
        raise LimitExceeded(
            f"{source.name}: {step.detail} while it was asked for its handlers",
            limit=limit,
            used=guest.fuel_used if limit == "fuel" else guest.memory_bytes,
            allowed=allowed.get(limit),
            file=source.name,
        )
    raise CompileFailed(
        f"{source.name} was stopped while it was asked for its handlers: {step.detail}",
        file=source.name,
        expected="exports that run without a trap, without the state and other entities",
    )

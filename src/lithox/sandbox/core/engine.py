"""How does a core module of a stranger become a program?

It is read and bounded (`module`), compiled in a child process (`compiling`) and set up once in an
instance under limits: its start function, `_initialize`, and `lx_reserve` for the standing inbox.
Memory and globals then are the image every run starts from. All this is done by `prepare`, so that
`load` has nothing of a stranger's to wait for; `load` does it itself where nobody has prepared.

Invariants: programs are kept by the digest of their source, at most `PROGRAMS_MAX` and
`programs_bytes_max` bytes of code and images, those used longest ago leaving first; code that was
prepared and not loaded yet is kept for at most `PREPARED_MAX` modules. `prepare` may be called from
any thread, all else from one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from lithox.errors import CompileFailed, InternalError, LimitExceeded, Overloaded
from lithox.model.limits import Limits
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.capi import open_library
from lithox.sandbox.contract import Source, StepKind
from lithox.sandbox.core.compiling import WASM_BYTES_MAX, Compilation
from lithox.sandbox.core.guest import CoreGuest, SetupGuest
from lithox.sandbox.core.host import RESTORED_GLOBALS_MAX, CoreHost, CoreModule
from lithox.sandbox.core.module import Module, read_module
from lithox.sandbox.core.pool import BlankImage, CoreCell, CoreImage, CorePool, Shelf
from lithox.sandbox.core.reading import ModuleError
from lithox.sandbox.engine import raise_ended, run_load
from lithox.sandbox.image_file import ImageFile
from lithox.sandbox.mappings import RETRY_AFTER_MS, MappingBudget

PROGRAMS_MAX: Final = 1024
"""Each takes some mappings of the process for its code."""
PROGRAMS_BYTES_MAX: Final = 256 << 20
PREPARED_MAX: Final = 16
"""More than are ever prepared at once: what is forgotten is made again by `load`."""
_COMPILATION: Final = Compilation(kind="module", is_scanned=True)


SETUP_LIMITS: Final = Limits(fuel=50_000_000, memory_bytes=16 << 20, calls=1000)
"""What a module may use while it is prepared: as much as a deploy gives. `load` looks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A module that is set up.

    Attributes:
        module: what was read of it.
        code: its machine code.
        image: what every run starts from.
        inbox: address of the standing inbox.
        used: fuel, memory and calls that setting up took.
    """

    module: Module
    code: CoreModule
    image: CoreImage
    inbox: int
    used: Limits


class CoreProgram:
    """A module that is set up: see `contract.Program`.

    Attributes:
        handler_names: names it gives, sorted, without those that begin with `_`.
        digest: of its source.
        size_bytes: of its code and image.
    """

    __slots__ = ("_image", "_inbox", "_pool", "digest", "handler_names", "size_bytes")

    def __init__(self, pool: CorePool, prepared: _Prepared, *, digest: str) -> None:
        """Made by `CoreEngine.load`."""
        names = prepared.module.handler_names
        self._pool = pool
        self._image = prepared.image
        self._inbox = prepared.inbox
        self.digest = digest
        self.handler_names = tuple(sorted(name for name in names if not name.startswith("_")))
        self.size_bytes = prepared.image.size_bytes + prepared.code.code_bytes

    def start(self, message: bytes, limits: Limits) -> CoreGuest:
        """Returns a guest that will run the `RunMessage` in `message` under `limits`.

        Raises:
            Overloaded: the node holds as many guests as it can.
        """
        guest = CoreGuest(self._pool, self._image, limits)
        try:
            guest.begin(b"lx_run", message, self._inbox)
        except BaseException:
            guest.close()
            raise
        return guest

    def close(self) -> None:
        """Closes cells that wait; runs that have begun go on."""
        self._pool.close()


class CoreEngine:
    """Core modules of anybody: see `contract.Engine`.

    Attributes:
        language: its name.
    """

    __slots__ = (
        "_cache",
        "_file",
        "_host",
        "_lock",
        "_prepared",
        "_programs",
        "_programs_bytes",
        "_programs_bytes_max",
        "_shelf",
        "language",
    )

    def __init__(
        self,
        *,
        language: str,
        cache: ModuleCache,
        mappings: MappingBudget,
        programs_bytes_max: int = PROGRAMS_BYTES_MAX,
    ) -> None:
        """Begins without programs.

        Args:
            language: its name in templates.
            cache: where machine code is kept.
            mappings: the process's account of mappings.
            programs_bytes_max: bytes of code and images kept in memory.

        Raises:
            ConfigError: the wrong wasmtime.

        Blocks: for some milliseconds.
        """
        self.language = language
        self._host = CoreHost(open_library())
        self._cache = cache
        self._file = ImageFile()
        self._shelf = Shelf(mappings)
        self._lock = Lock()
        self._prepared: OrderedDict[str, _Prepared] = OrderedDict()
        self._programs: OrderedDict[str, CoreProgram] = OrderedDict()
        self._programs_bytes = 0
        self._programs_bytes_max = programs_bytes_max

    def find(self, digest: str) -> CoreProgram | None:
        """Returns a program that is loaded already, or None. Never blocks."""
        program = self._programs.get(digest)
        if program is not None:
            self._programs.move_to_end(digest)
        return program

    def prepare(self, source: Source) -> None:
        """Reads, compiles and sets up `source`, so that the next `load` takes a millisecond.

        Raises:
            CompileFailed: fields file, expected, and offset where known.
            LimitExceeded, GuestTrapped, GuestProtocolError: setting it up failed.
            Overloaded: too many modules wait to be compiled, or no room for another guest.

        Blocks: for seconds; for milliseconds where the cache has it.
        """
        with self._lock:
            if source.digest in self._prepared:
                return
        prepared = self._make(source, SETUP_LIMITS)
        with self._lock:
            self._prepared[source.digest] = prepared
            while len(self._prepared) > PREPARED_MAX:
                self._prepared.popitem(last=False)

    def _make(self, source: Source, limits: Limits) -> _Prepared:
        if len(source.text) > WASM_BYTES_MAX:
            raise CompileFailed(
                f"{source.name} has {len(source.text)} bytes; at most {WASM_BYTES_MAX} are taken",
                file=source.name,
                expected=f"at most {WASM_BYTES_MAX} bytes",
            )
        try:
            module = read_module(source.text)
        except ModuleError as error:
            raise _failed(source, error) from None
        code = self._compile(module, source)
        pre = self._host.load(code[:-1])
        if pre is None:
            # Whatever was in the cache, it is not what our compiler makes.
            self._cache.refuse(_COMPILATION.key_of(module.binary))
            code = self._compile(module, source)
            pre = self._host.load(code[:-1])
        if pre is None:
            raise InternalError("wasmtime does not take the machine code it has made")
        is_restorable = code[-1] == 1 and len(module.globals) <= RESTORED_GLOBALS_MAX
        machine_code = CoreModule(
            self._host, pre, code_bytes=len(code), is_restorable=is_restorable
        )
        return self._set_up(module, machine_code, source, limits)

    def _compile(self, module: Module, source: Source) -> bytes:
        return _COMPILATION.compile(
            module.binary,
            file=source.name,
            cache=self._cache,
            original_offset=module.original_offset,
        )

    def load(self, source: Source, limits: Limits) -> CoreProgram:
        """Returns the program of `source`, set up under `limits` unless it is loaded already.

        Raises:
            CompileFailed: fields file, expected, and offset where known.
            LimitExceeded: setting it up used up fuel, memory or calls.
            GuestTrapped, GuestProtocolError: setting it up failed.
            Overloaded: there is no room for another guest.

        Blocks: for a millisecond after `prepare`; seconds without.
        """
        found = self.find(source.digest)
        if found is not None:
            return found
        with self._lock:
            prepared = self._prepared.pop(source.digest, None)
        if prepared is None:
            prepared = self._make(source, limits)
        _check_used(prepared.used, limits, source)
        prepared.image.keep_in(self._file)
        pool = CorePool(self._host, prepared.code, self._shelf)
        program = CoreProgram(pool, prepared, digest=source.digest)
        self._keep(program)
        return program

    def _set_up(
        self, module: Module, code: CoreModule, source: Source, limits: Limits
    ) -> _Prepared:
        """Returns the module with what the setup of a new instance leaves; from any thread."""
        shelf = Shelf(self._shelf.budget)  # of this thread alone; nothing stays on it
        pool = CorePool(self._host, code, shelf)
        try:
            guest = SetupGuest(pool, BlankImage(module.memory_bytes), limits)
        except InternalError as error:
            raise _no_instance(source, error) from None
        try:
            cell = guest.cell
            blank = cell.copy_memory() if cell is not None else b""
            of_blank = cell.read_globals(module.globals) if isinstance(cell, CoreCell) else ()
            guest.begin_setup(module.setup)
            step = run_load(guest, frees_lock=True)
            if step.kind is StepKind.ENDED:
                raise_ended(step, guest, source, limits)
            assert isinstance(cell, CoreCell)
            image = CoreImage(
                cell.copy_memory(),
                blank,
                of_all=cell.read_globals(module.globals),
                of_blank=of_blank,
            )
            used = Limits(fuel=guest.fuel_used, memory_bytes=image.size_bytes, calls=guest.calls)
            return _Prepared(module=module, code=code, image=image, inbox=guest.inbox, used=used)
        finally:
            guest.close()

    def _keep(self, program: CoreProgram) -> None:
        self._programs[program.digest] = program
        self._programs_bytes += program.size_bytes
        while len(self._programs) > 1 and (
            len(self._programs) > PROGRAMS_MAX or self._programs_bytes > self._programs_bytes_max
        ):
            _, oldest = self._programs.popitem(last=False)
            self._programs_bytes -= oldest.size_bytes
            oldest.close()

    def statistics(self) -> dict[str, Any]:
        """Returns live, idle, made and recycled cells, mappings, programs, cache hits."""
        shelf = self._shelf
        return {
            "live_guests": shelf.live,
            "idle_guests": shelf.idle,
            "idle_bytes": shelf.idle_bytes,
            "made_guests": shelf.made,
            "recycled_guests": shelf.recycled,
            "mappings": shelf.budget.estimate,
            "programs": len(self._programs),
            "program_bytes": self._programs_bytes,
            "cache_hits": self._cache.hits,
            "cache_misses": self._cache.misses,
            "cache_refused": self._cache.refused,
        }

    def close(self) -> None:
        """Frees everything. Guests must be closed before."""
        assert self._shelf.live == 0, "guests are still open"
        for program in self._programs.values():
            program.close()
        self._programs.clear()
        self._programs_bytes = 0
        with self._lock:
            self._prepared.clear()


def _check_used(used: Limits, limits: Limits, source: Source) -> None:
    """Raises LimitExceeded where setting up took more than `limits` allow."""
    for name in ("fuel", "memory_bytes", "calls"):
        needed, allowed = getattr(used, name), getattr(limits, name)
        if allowed is not None and needed > allowed:
            limit = name.removesuffix("_bytes")
            raise LimitExceeded(
                f"{source.name} cannot be loaded: it needs {needed} of {limit}; "
                f"{allowed} are allowed",
                limit=limit,
                file=source.name,
                used=needed,
                allowed=allowed,
            )


def _no_instance(source: Source, error: InternalError) -> CompileFailed | Overloaded:
    """Returns what it means that there is no instance: the module's fault, or no room."""
    if "out of bounds" in str(error):
        return CompileFailed(
            f"{source.name} has a segment that does not fit: {error}",
            file=source.name,
            expected="data inside the memory, elements inside the table",
        )
    return Overloaded(f"no room for another guest: {error}", retry_after_ms=RETRY_AFTER_MS)


def _failed(source: Source, error: ModuleError) -> CompileFailed:
    where = "" if error.offset is None else f" at offset {error.offset:#x}"
    fields: dict[str, Any] = {"file": source.name, "expected": error.expected}
    if error.offset is not None:
        fields["offset"] = error.offset
    return CompileFailed(
        f"{source.name}: {error.message}{where}; expected {error.expected}", **fields
    )

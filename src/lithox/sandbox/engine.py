"""How does source become something that runs?

`WasmEngine` is one language whose interpreter is a WebAssembly module. The interpreter is started
once; its memory then is the image every module is loaded into; the memory after loading is the
image every run of that module starts from. Loading is itself a guest under limits: it may burn
fuel, fail, or try to take all memory, and every system call but `log` is refused meanwhile.
`prepare` loads handlers, and `load` takes them from the shelf; where nobody has prepared it does
the work itself.

Invariants: programs are kept by the digest of their source, at most `programs_bytes_max` bytes of
images, those used longest ago leaving first; what was prepared and not loaded yet is kept for at
most `PREPARED_MAX` modules of `PREPARED_BYTES_MAX` bytes. `prepare` may be called from any thread,
all else from one. A preparation has cells of its own; the interpreter's code is freed by whoever
leaves last, `close` or a preparation under way, which then ends at its next quantum.

It is long because what a load answers is believed by nobody else: opening, loading and reading that
answer are one path.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final, NoReturn

import msgspec

from lithox.errors import (
    CompileFailed,
    ConfigError,
    GuestProtocolError,
    GuestTrapped,
    LimitExceeded,
    StoreUnavailable,
    meaning_of,
)
from lithox.model.limits import Limits
from lithox.sandbox.allowance import LoadAllowance
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.capi import open_library
from lithox.sandbox.cell import FUNCTION_NAMES, MASK_32
from lithox.sandbox.contract import Source, Step, StepKind
from lithox.sandbox.guest import INBOX_BYTES, WasmGuest
from lithox.sandbox.image import Image
from lithox.sandbox.image_file import ImageFile
from lithox.sandbox.mappings import MappingBudget
from lithox.sandbox.messages import CALL_LOG, decode_call, encode_answer, encode_refusal
from lithox.sandbox.meters import MEMORY_BYTES_MAX, calls_of, fuel_of, memory_bytes_of
from lithox.sandbox.pool import IDLE_CELL_BYTES_MAX, IDLE_MAX, CellPool
from lithox.sandbox.said import UNREADABLE
from lithox.sandbox.wasm import WASM_STACK_BYTES, WasmHost

PROGRAMS_BYTES_MAX: Final = 128 << 20
"""Images kept by default: some hundred programs of an engine."""
BASES_BYTES_MAX: Final = 64 << 20
BASES_MAX: Final = 64
"""Memories kept in which a runtime has run: a program on one of them is compiled in a tenth of the
time."""
PREPARED_MAX: Final = 16
"""More than are ever prepared at once: what is forgotten is made again by `load`."""
PREPARED_BYTES_MAX: Final = 128 << 20
PREPARE_LIMITS: Final = Limits(fuel=50_000_000, memory_bytes=16 << 20, calls=1000)
"""What a module may use while it is prepared, its allowance apart: as much as a deploy gives.
`load` looks again."""
LOAD_QUANTUM_FUEL: Final = 10_000_000
HANDLER_NAMES_MAX: Final = 1024
"""Handlers one module may give."""
Preludes = tuple[tuple[str, bytes], ...]
_REFUSED: Final = "request.not_available"
_EXPECTED: Final = re.compile(
    r"(?:'([^'\n]{1,40})'|([a-z]{1,20})) expected|expecting '?([^'\n]{1,40}?)'?$"
)
"""What parsers say: Lua's `'=' expected near 'foo'`, JavaScript's `expecting ';'`."""

_NEAR: Final = re.compile(r"near (?:'(.{1,80})'|<eof>)$")

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_loaded: Final = msgspec.msgpack.Decoder(list[Any]).decode


@dataclass(slots=True, kw_only=True)
class EngineOptions:
    """What can be chosen about an engine; the defaults are for a node.

    Attributes:
        idle_max: cells kept for reuse.
        programs_bytes_max: bytes of images kept.
        mappings: the process's account of mappings, shared by its engines; None makes one.
        has_preludes: its guest is loaded with `Source.preludes` (programs), else with name and
            text alone (handlers).
        wasm_stack_bytes: native stack its guest's own code may use.
        allowance: what a module may use for each byte of it while it loads.
    """

    idle_max: int = IDLE_MAX
    programs_bytes_max: int = PROGRAMS_BYTES_MAX
    mappings: MappingBudget | None = None
    has_preludes: bool = False
    wasm_stack_bytes: int = WASM_STACK_BYTES
    allowance: LoadAllowance = LoadAllowance()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """A module that is loaded.

    Attributes:
        names: of its handlers.
        image: what every run starts from.
        used: fuel, memory and calls that loading took.
    """

    names: tuple[str, ...]
    image: Image
    used: Limits


class WasmProgram:
    """A loaded module: see `contract.Program`.

    Attributes:
        handler_names: names it gives, sorted, without those that begin with `_`.
        digest: of its source.
        image_bytes: size of its image.
    """

    __slots__ = ("_image", "_inbox", "_pool", "digest", "handler_names", "image_bytes")

    def __init__(
        self, pool: CellPool, image: Image, *, inbox: int, digest: str, names: tuple[str, ...]
    ) -> None:
        """Made by `WasmEngine.load`."""
        self._pool = pool
        self._image = image
        self._inbox = inbox
        self.digest = digest
        self.handler_names = names
        self.image_bytes = image.size_bytes

    def start(self, message: bytes, limits: Limits) -> WasmGuest:
        """Returns a guest that will run the `RunMessage` in `message` under `limits`.

        Raises:
            Overloaded: the node holds as many guests as it can.
        """
        guest = WasmGuest(self._pool, self._image, limits)
        try:
            guest.begin(b"lx_run", message, self._inbox)
        except BaseException:
            guest.close()
            raise
        return guest


class WasmEngine:
    """One language: see `contract.Engine`.

    Attributes:
        language: its name.
    """

    __slots__ = (
        "_allowance",
        "_bases",
        "_bases_bytes",
        "_blank",
        "_booted",
        "_budget",
        "_file",
        "_file_lock",
        "_has_preludes",
        "_host",
        "_inbox",
        "_is_closed",
        "_lock",
        "_pool",
        "_prepared",
        "_prepared_bytes",
        "_preparing",
        "_programs",
        "_programs_bytes",
        "_programs_bytes_max",
        "language",
    )

    def __init__(
        self,
        *,
        language: str,
        wasm_path: Path,
        cache_dir: Path,
        options: EngineOptions | None = None,
    ) -> None:
        """Compiles the interpreter, or takes it from the cache, and starts it once.

        Args:
            language: its name in templates, such as `lua`.
            wasm_path: the interpreter as a binary module.
            cache_dir: where compiled modules are kept; made when needed.
            options: see `EngineOptions`.

        Raises:
            ConfigError: the wrong wasmtime, no such file, or not a guest module.

        Blocks: about a second without a cache entry, 20 ms with one.
        """
        options = options or EngineOptions()
        self.language = language
        try:
            wasm = wasm_path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"the {language} guest {wasm_path.name} cannot be read ({error.strerror}); "
                "build it with guests/build.py",
                file=wasm_path.name,
            ) from None
        cache = ModuleCache(cache_dir)
        self._host = WasmHost(
            open_library(),
            wasm,
            file=wasm_path.name,
            cache=cache,
            wasm_stack_bytes=options.wasm_stack_bytes,
        )
        self._budget = options.mappings or MappingBudget()
        self._pool = CellPool(self._host, self._budget, idle_max=options.idle_max)
        self._has_preludes = options.has_preludes
        self._allowance = options.allowance
        self._file = ImageFile()
        self._file_lock = Lock()
        self._lock = Lock()  # of the four that follow
        self._prepared: OrderedDict[str, _Loaded] = OrderedDict()
        self._prepared_bytes = 0
        self._preparing = 0
        self._is_closed = False
        self._programs: OrderedDict[str, WasmProgram] = OrderedDict()
        self._bases: OrderedDict[Preludes, Image] = OrderedDict()
        self._bases_bytes = 0
        self._programs_bytes = 0
        self._programs_bytes_max = options.programs_bytes_max
        try:
            self._boot(wasm_path.name)
        except BaseException:
            self._host.close()
            raise

    def _boot(self, file: str) -> None:
        """Starts the interpreter and keeps its memory."""
        cell = self._pool.make(MEMORY_BYTES_MAX)
        try:
            self._blank = cell.copy_memory()
            for name in FUNCTION_NAMES:
                cell.function_address(name)
            cell.initialize()
            if cell.call(b"lx_boot") & MASK_32 != 0:
                raise ConfigError(f"{file} does not start", file=file)
            self._inbox = cell.call(b"lx_inbox") & MASK_32
            if self._inbox + INBOX_BYTES > cell.memory_bytes:
                raise ConfigError(f"{file} has its inbox outside its memory", file=file)
            self._booted = Image(cell.copy_memory(), self._blank)
        finally:
            self._pool.drop(cell)

    def find(self, digest: str) -> WasmProgram | None:
        """Returns a program that is loaded already, or None. Never blocks."""
        program = self._programs.get(digest)
        if program is not None:
            self._programs.move_to_end(digest)
        return program

    def prepare(self, source: Source) -> None:
        """Loads `source` with the lock released, so that the next `load` only takes it.

        Of programs it does nothing: each process says its own limits for its load.

        Raises:
            CompileFailed: with fields file, line, expected, traceback where known.
            LimitExceeded, GuestTrapped, GuestProtocolError: loading failed.
            Overloaded: there is no room for another guest.
            StoreUnavailable: the node has closed meanwhile.

        Blocks: 40 ms for 64 kB of JavaScript, seconds for 1 MiB; from any thread.
        """
        if self._has_preludes:
            return
        with self._lock:
            self._check_open()
            if source.digest in self._prepared or source.digest in self._programs:
                return
            self._preparing += 1
        try:
            # Its cells are this thread's alone; none of them stays.
            pool = CellPool(self._host, self._budget, idle_max=0)
            message = (source.name, source.text)
            loaded = self._load_on(self._booted, message, source, PREPARE_LIMITS, pool=pool)
            self._shelve(source.digest, loaded)
        finally:
            with self._lock:
                self._preparing -= 1
                is_last = self._is_closed and not self._preparing
            if is_last:
                self._host.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("this node is closing", retry_after_ms=1000)

    def _shelve(self, digest: str, loaded: _Loaded) -> None:
        """Keeps what was prepared until it is loaded, or others need the room."""
        with self._lock:
            self._check_open()
            before = self._prepared.pop(digest, None)
            self._prepared[digest] = loaded
            self._prepared_bytes += loaded.image.size_bytes
            if before is not None:
                self._prepared_bytes -= before.image.size_bytes
            while len(self._prepared) > PREPARED_MAX or (
                self._prepared_bytes > PREPARED_BYTES_MAX and len(self._prepared) > 1
            ):
                _, oldest = self._prepared.popitem(last=False)
                self._prepared_bytes -= oldest.image.size_bytes

    def _take_prepared(self, source: Source, limits: Limits) -> _Loaded | None:
        """Returns what `prepare` left, if it is within `limits`."""
        with self._lock:
            loaded = self._prepared.pop(source.digest, None)
            if loaded is not None:
                self._prepared_bytes -= loaded.image.size_bytes
        if loaded is not None:
            allowed = self._allowance.widen(limits, len(source.text))
            if not _is_within(loaded.used, allowed):
                return None  # Loading it again says which limit it meets, and how.
        return loaded

    def load(self, source: Source, limits: Limits) -> WasmProgram:
        """Returns the program of `source`, loaded under `limits` unless it is loaded already.

        Raises:
            CompileFailed: with fields file, line, expected, traceback where known.
            LimitExceeded: loading used up fuel, memory or calls.
            GuestTrapped, GuestProtocolError: the interpreter itself failed.
            Overloaded: there is no room for another guest.

        Blocks: not at all after `prepare`; else while it loads, at most the fuel of `limits` and of
            the allowance.
        """
        found = self.find(source.digest)
        if found is not None:
            return found
        loaded = self._take_prepared(source, limits)
        if loaded is None:
            base = self._booted
            if source.preludes:
                base = self._find_base(source.preludes, limits)
            message = (
                (source.name, source.text, ()) if self._has_preludes else (source.name, source.text)
            )
            loaded = self._load_on(base, message, source, limits)
        program = WasmProgram(
            self._pool, loaded.image, inbox=self._inbox, digest=source.digest, names=loaded.names
        )
        self._keep(program)
        return program

    def _find_base(self, preludes: Preludes, limits: Limits) -> Image:
        """Returns the memory in which `preludes` have run and no main code is there yet."""
        assert self._has_preludes, "preludes are for programs"
        base = self._bases.get(preludes)
        if base is None:
            name, text = preludes[-1]
            source = Source(
                language=self.language, name=name, text=text, digest="", preludes=preludes
            )
            base = self._load_on(self._booted, (name, b"", preludes), source, limits).image
            self._bases[preludes] = base
            self._bases_bytes += base.size_bytes
            while len(self._bases) > BASES_MAX or (
                self._bases_bytes > BASES_BYTES_MAX and len(self._bases) > 1
            ):
                self._bases_bytes -= self._bases.popitem(last=False)[1].size_bytes
        self._bases.move_to_end(preludes)
        return base

    def _load_on(
        self,
        base: Image,
        message: tuple[Any, ...],
        source: Source,
        limits: Limits,
        *,
        pool: CellPool | None = None,
    ) -> _Loaded:
        """Returns what `message` comes to, loaded into `base`.

        Args:
            base: the memory it is loaded into.
            message: what `lx_load` is given.
            source: for messages and the allowance.
            limits: of the load, the allowance apart.
            pool: the calling thread's own cells, if it is not the node's; it lets others run.
        """
        limits = self._allowance.widen(limits, len(source.text))
        guest = WasmGuest(pool or self._pool, base, limits)
        try:
            guest.begin(b"lx_load", _encode(message), self._inbox)
            step = run_load(guest, frees_lock=pool is not None, on_quantum=self._check_open)
            if step.kind is StepKind.ENDED:
                hint = self._allowance.describe(limits, len(source.text))
                raise_ended(step, guest, source, limits, hint)
            names = _read_loaded(step.data, source)
            assert guest.cell is not None
            image = Image(guest.cell.copy_memory(), self._blank)
            used = Limits(fuel=guest.fuel_used, memory_bytes=image.size_bytes, calls=guest.calls)
        finally:
            guest.close()
        if self._has_preludes or image.size_bytes > IDLE_CELL_BYTES_MAX:
            # Cells of larger ones are not used again: each guest would begin with a whole copy.
            with self._file_lock:
                image.keep_in(self._file)
        return _Loaded(names=names, image=image, used=used)

    def _keep(self, program: WasmProgram) -> None:
        self._programs[program.digest] = program
        self._programs_bytes += program.image_bytes
        while self._programs_bytes > self._programs_bytes_max and len(self._programs) > 1:
            _, oldest = self._programs.popitem(last=False)
            self._programs_bytes -= oldest.image_bytes

    def statistics(self) -> dict[str, Any]:
        """Returns live, idle, made and recycled cells, mappings, programs, cache hits."""
        return {
            "live_guests": self._pool.live,
            "idle_guests": self._pool.idle,
            "idle_bytes": self._pool.idle_bytes,
            "made_guests": self._pool.made,
            "recycled_guests": self._pool.recycled,
            "mappings": self._budget.estimate,
            "programs": len(self._programs),
            "program_bytes": self._programs_bytes,
            "cache_hits": self._host.cache.hits,
            "cache_misses": self._host.cache.misses,
            "cache_refused": self._host.cache.refused,
            "cache_compiled": self._host.cache.compiled,
        }

    def close(self) -> None:
        """Frees everything. Guests must be closed before.

        Does not wait for preparations under way: the last of them frees what it still needs.
        """
        assert self._pool.live == 0, "guests are still open"
        self._pool.close()
        self._programs.clear()
        self._programs_bytes = 0
        with self._lock:
            self._is_closed = True
            self._prepared.clear()
            self._prepared_bytes = 0
            is_last = not self._preparing
        if is_last:
            self._host.close()


def _is_within(used: Limits, allowed: Limits) -> bool:
    """Returns whether a load that used so much would have ended under `allowed`."""
    assert used.fuel is not None
    assert used.memory_bytes is not None
    assert used.calls is not None
    return (
        used.fuel <= fuel_of(allowed)
        and used.memory_bytes <= memory_bytes_of(allowed)
        and used.calls <= calls_of(allowed)
    )


def run_load(
    guest: WasmGuest,
    *,
    frees_lock: bool = False,
    on_quantum: Callable[[], None] = lambda: None,
) -> Step:
    """Steps a load to its end; only `log` is answered, by silence.

    Args:
        guest: it has begun.
        frees_lock: as for `step`.
        on_quantum: called before each step; what it raises ends the load.
    """
    while True:
        on_quantum()
        step = guest.step(LOAD_QUANTUM_FUEL, frees_lock=frees_lock)
        if step.kind is StepKind.ASKED:
            guest.answer(_answer_load(step.data))
        elif step.kind is not StepKind.YIELDED:
            return step


def _answer_load(message: bytes) -> bytes:
    try:
        call = decode_call(message)
        name = msgspec.msgpack.decode(call[1], type=str)
    except (*UNREADABLE, GuestProtocolError, IndexError):
        name = "?"
    if name == CALL_LOG:
        return encode_answer()
    status = meaning_of(_REFUSED).guest_status
    text = f"{name[:40]} is not available while a module loads"
    return encode_refusal(status, _REFUSED, text, {})


def raise_ended(
    step: Step, guest: WasmGuest, source: Source, limits: Limits, hint: str = ""
) -> NoReturn:
    """Raises what the end of a load from outside stands for; `hint` follows limits of size."""
    message = f"{source.name} cannot be loaded: {step.detail}"
    if step.code == "guest.protocol":
        raise GuestProtocolError(message, file=source.name)
    if step.code == "guest.trapped":
        raise GuestTrapped(message, file=source.name)
    limit = step.code.removeprefix("guest.out_of_")
    fields: dict[str, Any] = {"file": source.name}
    if limit in ("fuel", "memory"):
        message += hint
    if limit == "fuel":
        fields |= {"used": guest.fuel_used, "allowed": fuel_of(limits)}
    elif limit == "memory":
        fields |= {"used": guest.memory_bytes, "allowed": memory_bytes_of(limits)}
    raise LimitExceeded(message, limit=limit, **fields)


def _read_loaded(data: bytes, source: Source) -> tuple[str, ...]:
    """Returns the handler names in the answer of `lx_load`, or raises what it says instead."""
    try:
        loaded = _decode_loaded(data)
        if loaded[0] == 0:
            names = msgspec.convert(loaded[1], list[str])
            if len(names) > HANDLER_NAMES_MAX:
                raise CompileFailed(
                    f"{source.name} gives {len(names)} handlers; at most {HANDLER_NAMES_MAX}",
                    file=source.name,
                )
            return tuple(sorted(name for name in names if not name.startswith("_")))
        _, message, line, traceback = msgspec.convert(loaded[:4], tuple[int, str, int | None, str])
        column = msgspec.convert(loaded[4] if len(loaded) > 4 else None, int | None)
    except (msgspec.DecodeError, msgspec.ValidationError, IndexError) as error:
        raise GuestProtocolError(
            f"{source.name}: the interpreter's answer cannot be read: {error}", file=source.name
        ) from None
    fields: dict[str, Any] = {"file": _chunk_of(message, source)}
    if line is not None:
        fields["line"] = line
        if column is None:
            column = _find_column(message, source, line)
        if column is not None:
            fields["column"] = column
    expected = _EXPECTED.search(message)
    if expected is not None:
        fields["expected"] = expected[1] or expected[2] or expected[3]
    if traceback:
        fields["traceback"] = traceback
    raise CompileFailed(message, **fields)


def _find_column(message: str, source: Source, line: int) -> int | None:
    """Returns in which character of its line, from 1, an error stands, if only one place fits.

    Lua's parser tells the line and the word it stopped at, `near 'foo'`, and no column.
    """
    near = _NEAR.search(message)
    lines = source.text.decode("utf-8", "replace").split("\n")
    if near is None or not message.startswith(f"{source.name}:") or not 1 <= line <= len(lines):
        return None
    code, word = lines[line - 1].removesuffix("\r"), near[1]
    if word is None:
        return len(code) + 1
    if re.fullmatch(r"\w+", word):
        places = [one.start() for one in re.finditer(rf"\b{re.escape(word)}\b", code)]
    else:
        places = [one.start() for one in re.finditer(re.escape(word), code)]
    return places[0] + 1 if len(places) == 1 else None


def _chunk_of(message: str, source: Source) -> str:
    """Returns the name of the chunk a message begins with: a prelude's, else the source's."""
    names = (name for name, _ in source.preludes if message.startswith(f"{name}:"))
    return next(names, source.name)

"""How does source become something that runs?

`WasmEngine` is one language whose interpreter is a WebAssembly module. The interpreter is started
once; its memory then is the image every module is loaded into; the memory after loading is the
image every run of that module starts from. Loading is itself a guest under limits: it may burn
fuel, fail, or try to take all memory, and every system call but `log` is refused meanwhile.

Invariant: programs are kept by the digest of their source, at most `programs_bytes_max` bytes of
images, those used longest ago leaving first.

It is long because what a load answers is believed by nobody else: opening, loading and reading that
answer are one path.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from lithox.errors import (
    CompileFailed,
    ConfigError,
    GuestProtocolError,
    GuestTrapped,
    LimitExceeded,
    meaning_of,
)
from lithox.model.limits import Limits
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.capi import open_library
from lithox.sandbox.cell import FUNCTION_NAMES, MASK_32
from lithox.sandbox.contract import Source, Step, StepKind
from lithox.sandbox.guest import INBOX_BYTES, WasmGuest
from lithox.sandbox.image import Image
from lithox.sandbox.image_file import ImageFile
from lithox.sandbox.mappings import MappingBudget
from lithox.sandbox.messages import CALL_LOG, decode_call, encode_answer, encode_refusal
from lithox.sandbox.meters import MEMORY_BYTES_MAX, fuel_of, memory_bytes_of
from lithox.sandbox.pool import IDLE_MAX, CellPool
from lithox.sandbox.wasm import WASM_STACK_BYTES, WasmHost

PROGRAMS_BYTES_MAX: Final = 128 << 20
"""Images kept by default: some hundred programs of an engine."""
BASES_BYTES_MAX: Final = 64 << 20
BASES_MAX: Final = 64
"""Memories kept in which a runtime has run: a program on one of them is compiled in a tenth of the
time."""
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
    """

    idle_max: int = IDLE_MAX
    programs_bytes_max: int = PROGRAMS_BYTES_MAX
    mappings: MappingBudget | None = None
    has_preludes: bool = False
    wasm_stack_bytes: int = WASM_STACK_BYTES


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
    """One language: see `contract.Engine`. Used by the node's thread alone.

    Attributes:
        language: its name.
    """

    __slots__ = (
        "_bases",
        "_bases_bytes",
        "_blank",
        "_booted",
        "_budget",
        "_file",
        "_has_preludes",
        "_host",
        "_inbox",
        "_pool",
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
        self._file = ImageFile() if options.has_preludes else None
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
        """Has nothing to do: the interpreter is machine code already, and text loads quickly."""

    def load(self, source: Source, limits: Limits) -> WasmProgram:
        """Returns the program of `source`, loaded under `limits` unless it is loaded already.

        Raises:
            CompileFailed: with fields file, line, expected, traceback where known.
            LimitExceeded: loading used up fuel, memory or calls.
            GuestTrapped, GuestProtocolError: the interpreter itself failed.
            Overloaded: there is no room for another guest.

        Blocks: while it loads, at most the fuel of `limits`.
        """
        found = self.find(source.digest)
        if found is not None:
            return found
        base = self._booted
        if source.preludes:
            base = self._find_base(source.preludes, limits)
        message = (
            (source.name, source.text, ()) if self._has_preludes else (source.name, source.text)
        )
        names, image = self._load_on(base, message, source, limits)
        program = WasmProgram(
            self._pool, image, inbox=self._inbox, digest=source.digest, names=names
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
            base = self._load_on(self._booted, (name, b"", preludes), source, limits)[1]
            self._bases[preludes] = base
            self._bases_bytes += base.size_bytes
            while len(self._bases) > BASES_MAX or (
                self._bases_bytes > BASES_BYTES_MAX and len(self._bases) > 1
            ):
                self._bases_bytes -= self._bases.popitem(last=False)[1].size_bytes
        self._bases.move_to_end(preludes)
        return base

    def _load_on(
        self, base: Image, message: tuple[Any, ...], source: Source, limits: Limits
    ) -> tuple[tuple[str, ...], Image]:
        """Returns tuple of (handler names, the memory after `message` was loaded into `base`)."""
        guest = WasmGuest(self._pool, base, limits)
        try:
            guest.begin(b"lx_load", _encode(message), self._inbox)
            step = run_load(guest)
            if step.kind is StepKind.ENDED:
                raise_ended(step, guest, source, limits)
            names = _read_loaded(step.data, source)
            assert guest.cell is not None
            return names, Image(guest.cell.copy_memory(), self._blank, self._file)
        finally:
            guest.close()

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
        """Frees everything. Guests must be closed before."""
        assert self._pool.live == 0, "guests are still open"
        self._pool.close()
        self._programs.clear()
        self._programs_bytes = 0
        self._host.close()


def run_load(guest: WasmGuest, *, frees_lock: bool = False) -> Step:
    """Steps a load to its end; only `log` is answered, by silence."""
    while True:
        step = guest.step(LOAD_QUANTUM_FUEL, frees_lock=frees_lock)
        if step.kind is StepKind.ASKED:
            guest.answer(_answer_load(step.data))
        elif step.kind is not StepKind.YIELDED:
            return step


def _answer_load(message: bytes) -> bytes:
    try:
        call = decode_call(message)
        name = msgspec.msgpack.decode(call[1], type=str)
    except (msgspec.DecodeError, IndexError):
        name = "?"
    if name == CALL_LOG:
        return encode_answer()
    status = meaning_of(_REFUSED).guest_status
    text = f"{name[:40]} is not available while a module loads"
    return encode_refusal(status, _REFUSED, text, {})


def raise_ended(step: Step, guest: WasmGuest, source: Source, limits: Limits) -> NoReturn:
    """Raises what the end of a load from outside stands for."""
    message = f"{source.name} cannot be loaded: {step.detail}"
    if step.code == "guest.protocol":
        raise GuestProtocolError(message, file=source.name)
    if step.code == "guest.trapped":
        raise GuestTrapped(message, file=source.name)
    limit = step.code.removeprefix("guest.out_of_")
    fields: dict[str, Any] = {"file": source.name}
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

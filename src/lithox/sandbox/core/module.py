"""What is a stranger's module to the host, and what of it is compiled?

What `sections` has found is judged as a whole here: the exports of the ABI (`docs/abi.md`) with
their types, and the names of the handlers. What passes is written anew (`Module.binary`), so that
nothing of a run is left in places the host cannot reach:

- every mutable global is exported, so that its value can be read after the module has been set up
  and put back before each run;
- the start function is exported instead of started: it runs once, metered, when the module loads.

Custom sections are left out. Messages of the compiler speak of the new binary;
`Module.original_offset` says where that stands in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lithox.errors import BadArguments
from lithox.model.ids import check_handler_name
from lithox.sandbox.core.reading import ModuleError
from lithox.sandbox.core.sections import (
    EXPORTS,
    HANDLERS_SECTION,
    I32,
    I64,
    KIND_FUNCTION,
    KIND_GLOBAL,
    KIND_MEMORY,
    MAGIC,
    PAGE_BYTES,
    START,
    Parts,
    Signature,
    read_parts,
)

START_EXPORT: Final = b"lithox.start"
INITIALIZE_EXPORT: Final = b"_initialize"
HANDLERS_MAX: Final = 1024
REQUIRED: Final[dict[str, tuple[Signature, str]]] = {
    "lx_run": ((bytes((I32,)), bytes((I64,))), "lx_run(i32) -> i64"),
    "lx_reserve": ((bytes((I32,)), bytes((I32,))), "lx_reserve(i32) -> i32"),
}
OPTIONAL: Final[dict[str, tuple[Signature, str]]] = {"_initialize": ((b"", b""), "_initialize()")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module that may be compiled.

    Attributes:
        binary: what is compiled.
        handler_names: as the module gives them.
        memory_bytes: size of its memory before the first instruction.
        globals: names under which its mutable globals are exported.
        setup: exports that run once, in this order, when it loads.
        moved: (offset in `binary`, offset in the file) of each piece taken over, ascending.
    """

    binary: bytes
    handler_names: tuple[str, ...]
    memory_bytes: int
    globals: tuple[bytes, ...]
    setup: tuple[bytes, ...]
    moved: tuple[tuple[int, int], ...]

    def original_offset(self, offset: int) -> int:
        """Returns where in the file stands what is at `offset` of `binary`."""
        new, old = max((pair for pair in self.moved if pair[0] <= offset), default=(0, 0))
        return old + offset - new


def read_module(wasm: bytes) -> Module:
    """Returns what a core module is, ready to be compiled.

    Args:
        wasm: at most 64 MiB from anybody.

    Raises:
        ModuleError: it is not one, or not one that can be a handler's.

    Blocks: some milliseconds for ten thousand functions.
    """
    parts = read_parts(wasm)
    _check_whole(parts)
    return _write_anew(wasm, parts, _handler_names(parts.names))


def _check_whole(parts: Parts) -> None:
    """Checks what the sections mean together."""
    if parts.bodies != len(parts.functions):
        raise ModuleError(
            f"it declares {len(parts.functions)} functions and has the code of {parts.bodies}",
            expected="as many of both",
        )
    if parts.memory_pages is None or parts.exports.get("memory") != (KIND_MEMORY, 0):
        raise ModuleError(
            "it does not export its memory", expected="a memory of its own, exported as `memory`"
        )
    for name, (signature, spelled) in (REQUIRED | OPTIONAL).items():
        kind, index = parts.exports.get(name, (None, 0))
        if kind is None and name in OPTIONAL:
            continue
        if kind != KIND_FUNCTION or parts.signature_of(index) != signature:
            problem = "does not export" if kind is None else "has another type or kind for"
            raise ModuleError(f"it {problem} {name}", expected=f"an export {spelled}")
    if parts.start is not None and parts.signature_of(parts.start) != (b"", b""):
        raise ModuleError(
            "its start function is of another type", expected="one without parameters and results"
        )


def _handler_names(names: bytes) -> tuple[str, ...]:
    """Returns the names in the handlers' section."""
    found: list[str] = []
    for name in filter(None, names.split(b"\0", HANDLERS_MAX + 1)):
        try:
            found.append(check_handler_name(name.decode()))
        except (UnicodeDecodeError, BadArguments):
            raise ModuleError(
                f"a handler is called {name[:80]!r}", expected="a name [a-z_][a-z0-9_]{0,63}"
            ) from None
    if not found or len(found) > HANDLERS_MAX or len(set(found)) < len(found):
        raise ModuleError(
            f"it names {len(found)} handlers, {len(set(found))} of them different",
            expected=f"1 to {HANDLERS_MAX} different names in the custom section "
            f"{HANDLERS_SECTION}, each ended by a zero byte",
        )
    return tuple(found)


def _write_anew(wasm: bytes, parts: Parts, names: tuple[str, ...]) -> Module:
    """Returns the module with the host's exports, without start and custom sections."""
    globals_ = tuple(b"lithox.global.%d" % index for index in parts.mutable)
    added = b"".join(
        _export(name, KIND_GLOBAL, index)
        for name, index in zip(globals_, parts.mutable, strict=True)
    )
    added_count = len(globals_)
    if parts.start is not None:
        added += _export(START_EXPORT, KIND_FUNCTION, parts.start)
        added_count += 1
    pieces: list[bytes] = [MAGIC]
    moved: list[tuple[int, int]] = []
    at = len(MAGIC)
    for section, (begins, _, ends) in parts.sections.items():
        if section == START:
            continue
        piece = wasm[begins:ends]
        if section == EXPORTS:
            body = _leb(len(parts.exports) + added_count)
            body += wasm[parts.exports_at : ends] + added
            piece = bytes((EXPORTS,)) + _leb(len(body)) + body
        moved.append((at, begins))
        pieces.append(piece)
        at += len(piece)
    setup = (START_EXPORT,) if parts.start is not None else ()
    if "_initialize" in parts.exports:
        setup += (INITIALIZE_EXPORT,)
    assert parts.memory_pages is not None
    return Module(
        binary=b"".join(pieces),
        handler_names=names,
        memory_bytes=parts.memory_pages * PAGE_BYTES,
        globals=globals_,
        setup=setup,
        moved=tuple(moved),
    )


def _export(name: bytes, kind: int, index: int) -> bytes:
    return _leb(len(name)) + name + bytes((kind,)) + _leb(index)


def _leb(value: int) -> bytes:
    """Returns an unsigned number as LEB128."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

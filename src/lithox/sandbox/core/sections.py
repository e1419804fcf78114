"""What does a module of a stranger have, and how much of it?

Reads the sections of a core module, one after the other, and refuses what an instance may not have
or may not have so much of. The bounds keep what an instance costs the node far from what hurts. The
code itself is the compiler's to judge (`compiling`); `module` judges what all of it means together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lithox.sandbox.core.reading import ModuleError, ModuleReader

MAGIC: Final = b"\0asm\1\0\0\0"
"""A core module of version 1."""
ABI_VERSION: Final = 1
HANDLERS_SECTION: Final = f"lithox.handlers.{ABI_VERSION}"
"""The custom section with the handlers' names, each ended by a zero byte."""
_HANDLERS_PREFIX: Final = "lithox.handlers."
OWN_PREFIX: Final = "lithox."
"""Exports that begin so are the host's."""

TYPES_MAX: Final = 10_000
PARAMETERS_MAX: Final = 1000
IMPORTS_MAX: Final = 8
FUNCTIONS_MAX: Final = 50_000
TABLES_MAX: Final = 4
TABLE_ELEMENTS_MAX: Final = 65_536
"""Of each table, also when it grows: 2 MiB for all four."""
GLOBALS_MAX: Final = 10_000
MUTABLE_GLOBALS_MAX: Final = 256
EXPORTS_MAX: Final = 10_000
SEGMENTS_MAX: Final = 10_000
ELEMENTS_BYTES_MAX: Final = 1 << 20
DATA_BYTES_MAX: Final = 4 << 20
"""A fresh instance copies all of it: a millisecond."""
MEMORY_PAGES_MAX: Final = 1024
"""64 MiB at the start; a node's default for a whole run."""
CUSTOM_SECTIONS_MAX: Final = 1000
PAGE_BYTES: Final = 65_536

I32: Final = 0x7F
I64: Final = 0x7E
_VALUE_TYPES: Final = bytes((0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F))
_NUMBER_TYPES: Final = frozenset((0x7F, 0x7E, 0x7D, 0x7C, 0x7B))
_FUNCTION_FORM: Final = 0x60
KIND_FUNCTION, KIND_MEMORY, KIND_GLOBAL = 0, 2, 3
_KIND_NAMES: Final = ("function", "table", "memory", "global", "tag")
CUSTOM, TYPES, IMPORTS, FUNCTIONS, TABLES, MEMORIES, GLOBALS, EXPORTS = range(8)
START, ELEMENTS, CODE, DATA, DATA_COUNT, TAGS = range(8, 14)
_SECTION_NAMES: Final = (
    *("a custom section", "the types", "the imports", "the functions", "the tables"),
    *("the memory", "the globals", "the exports", "the start function", "the elements"),
    *("the code", "the data", "the data count", "the tags"),
)

Signature = tuple[bytes, bytes]
"""Types of parameters and of results, a byte each."""
_SYSCALL: Final[Signature] = (bytes((I32,) * 4), bytes((I32,)))
_EXPECTED_IMPORT: Final = "lithox.syscall(i32, i32, i32, i32) -> i32, and no other import"


@dataclass(slots=True, kw_only=True)
class Parts:
    """What the sections say.

    Attributes:
        types: of functions, in the order of their indices.
        imported_functions: how many indices of functions are imports.
        functions: index of the type of each function of the module's own.
        memory_pages: size at the start.
        mutable: indices of mutable globals.
        exports: name -> (kind, index).
        exports_at: where the first export stands, behind their count.
        start: index of the start function.
        bodies: functions with code.
        names: content of the handlers' section.
        sections: kind -> (where it begins, where its body begins, where it ends), in order.
    """

    types: list[Signature] = field(default_factory=list)
    imported_functions: int = 0
    functions: list[int] = field(default_factory=list)
    memory_pages: int | None = None
    mutable: list[int] = field(default_factory=list)
    exports: dict[str, tuple[int, int]] = field(default_factory=dict)
    exports_at: int = 0
    start: int | None = None
    bodies: int = 0
    names: bytes = b""
    sections: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def signature_of(self, function: int) -> Signature | None:
        """Returns the type of a function of the module itself."""
        index = function - self.imported_functions
        if not 0 <= index < len(self.functions) or self.functions[index] >= len(self.types):
            return None
        return self.types[self.functions[index]]


def read_parts(wasm: bytes) -> Parts:
    """Returns what the sections of a module say.

    Args:
        wasm: at most 64 MiB from anybody.

    Raises:
        ModuleError: it is no core module, or has something, or too much of it, that none may have.

    Blocks: some milliseconds for ten thousand functions.
    """
    if wasm[:8] != MAGIC:
        raise ModuleError(
            "it is not a WebAssembly module of version 1",
            expected="the bytes 00 61 73 6d 01 00 00 00",
            offset=0,
        )
    parts = Parts()
    reader = ModuleReader(wasm, 8, len(wasm), what="the module")
    custom = 0
    while reader.at < len(wasm):
        begins = reader.at
        section, length = reader.byte(), reader.number()
        if section > TAGS:
            raise reader.fail(f"a section of kind {section}", expected="kinds 0 to 12", at=begins)
        start = reader.at
        reader.what = _SECTION_NAMES[section]
        reader.skip(length)
        body = ModuleReader(wasm, start, reader.at, what=reader.what)
        if section == CUSTOM:
            custom += 1
            if custom > CUSTOM_SECTIONS_MAX:
                raise reader.fail(
                    "it has too many custom sections", expected=f"at most {CUSTOM_SECTIONS_MAX}"
                )
            _read_custom(body, parts)
            continue
        if section in parts.sections:
            raise reader.fail(f"{reader.what} stand there twice", expected="once", at=begins)
        parts.sections[section] = (begins, start, reader.at)
        _READERS[section](body, parts)
    return parts


def _read_custom(body: ModuleReader, parts: Parts) -> None:
    begins = body.at
    name = body.name()
    if not name.startswith(_HANDLERS_PREFIX):
        return
    if name != HANDLERS_SECTION:
        raise body.fail(
            f"its handlers are in the section {name!r}",
            expected=f"{HANDLERS_SECTION!r}: this node speaks version {ABI_VERSION} of the ABI",
            at=begins,
        )
    parts.names += body.take(body.end - body.at)


def _read_types(body: ModuleReader, parts: Parts) -> None:
    for _ in range(body.count(TYPES_MAX, "types")):
        at = body.at
        if body.byte() != _FUNCTION_FORM:
            raise body.fail("a type that is not a function's", expected="types of functions", at=at)
        parameters = body.take(body.count(PARAMETERS_MAX, "parameters"))
        results = body.take(body.count(PARAMETERS_MAX, "results"))
        if (parameters + results).translate(None, _VALUE_TYPES):
            raise body.fail(
                "a function type with values of an unknown type",
                expected="i32, i64, f32, f64, v128, funcref, externref",
                at=at,
            )
        parts.types.append((parameters, results))


def _read_imports(body: ModuleReader, parts: Parts) -> None:
    for _ in range(body.number()):
        at = body.at
        module, name, kind = body.name(), body.name(), body.byte()
        if (module, name) != ("lithox", "syscall"):
            raise body.fail(
                f"it imports {module[:80]}.{name[:80]}", expected=_EXPECTED_IMPORT, at=at
            )
        if kind != KIND_FUNCTION:
            what = _KIND_NAMES[kind] if kind < len(_KIND_NAMES) else f"kind {kind}"
            raise body.fail(
                f"it imports lithox.syscall as a {what}", expected=_EXPECTED_IMPORT, at=at
            )
        index = body.number()
        if index >= len(parts.types) or parts.types[index] != _SYSCALL:
            raise body.fail(
                "it imports lithox.syscall with another type", expected=_EXPECTED_IMPORT, at=at
            )
        parts.imported_functions += 1
        if parts.imported_functions > IMPORTS_MAX:
            raise body.fail(
                f"it imports lithox.syscall more than {IMPORTS_MAX} times", expected="once", at=at
            )


def _read_functions(body: ModuleReader, parts: Parts) -> None:
    number = body.number
    parts.functions = [number() for _ in range(body.count(FUNCTIONS_MAX, "functions"))]


def _read_limits(body: ModuleReader, what: str) -> int:
    """Returns the minimum of a table or memory; 64-bit and shared ones are refused."""
    at = body.at
    flags = body.byte()
    if flags > 1:
        raise body.fail(
            f"{what} that is shared, of 64 bits or of another page size",
            expected=f"an ordinary {what.removeprefix('a ')}",
            at=at,
        )
    minimum = body.number()
    if flags:
        body.number()
    return minimum


def _read_tables(body: ModuleReader, parts: Parts) -> None:
    del parts
    for _ in range(body.count(TABLES_MAX, "tables")):
        at = body.at
        if body.byte() not in {0x70, 0x6F}:
            raise body.fail(
                "a table of another kind", expected="tables of funcref or externref", at=at
            )
        elements = _read_limits(body, "a table")
        if elements > TABLE_ELEMENTS_MAX:
            raise body.fail(
                f"a table of {elements} elements",
                expected=f"at most {TABLE_ELEMENTS_MAX} elements",
                at=at,
            )


def _read_memories(body: ModuleReader, parts: Parts) -> None:
    for _ in range(body.count(1, "memories")):
        at = body.at
        pages = _read_limits(body, "a memory")
        if not 1 <= pages <= MEMORY_PAGES_MAX:
            raise body.fail(
                f"a memory of {pages * PAGE_BYTES} bytes at the start",
                expected=f"{PAGE_BYTES} to {MEMORY_PAGES_MAX * PAGE_BYTES} bytes",
                at=at,
            )
        parts.memory_pages = pages


def _read_globals(body: ModuleReader, parts: Parts) -> None:
    for index in range(body.count(GLOBALS_MAX, "globals")):
        at = body.at
        kind, is_mutable = body.byte(), body.byte()
        if kind not in _VALUE_TYPES or is_mutable > 1:
            raise body.fail("a global of another kind", expected="numbers and references", at=at)
        if is_mutable:
            parts.mutable.append(index)
            if kind not in _NUMBER_TYPES:
                raise body.fail(
                    "a mutable global that holds a reference, which cannot be put back "
                    "before a run",
                    expected="mutable globals that are numbers",
                    at=at,
                )
        body.skip_constant()
    if len(parts.mutable) > MUTABLE_GLOBALS_MAX:
        raise body.fail(
            f"it has {len(parts.mutable)} mutable globals",
            expected=f"at most {MUTABLE_GLOBALS_MAX}",
        )


def _read_exports(body: ModuleReader, parts: Parts) -> None:
    count = body.count(EXPORTS_MAX, "exports")
    parts.exports_at = body.at
    for _ in range(count):
        at = body.at
        name, kind, index = body.name(), body.byte(), body.number()
        if name.startswith(OWN_PREFIX):
            raise body.fail(
                f"it exports {name[:80]}", expected=f"names without {OWN_PREFIX!r}", at=at
            )
        if name in parts.exports:
            raise body.fail(f"it exports {name[:80]} twice", expected="different names", at=at)
        parts.exports[name] = (kind, index)
    if body.at != body.end:
        raise body.fail("more bytes than the exports have", expected="the end of the exports")


def _read_start(body: ModuleReader, parts: Parts) -> None:
    parts.start = body.number()


def _read_elements(body: ModuleReader, parts: Parts) -> None:
    del parts
    _check_length(body, ELEMENTS_BYTES_MAX)
    body.count(SEGMENTS_MAX, "element segments")


def _read_code(body: ModuleReader, parts: Parts) -> None:
    parts.bodies = body.count(FUNCTIONS_MAX, "functions")


def _read_data(body: ModuleReader, parts: Parts) -> None:
    del parts
    _check_length(body, DATA_BYTES_MAX)
    body.count(SEGMENTS_MAX, "data segments")


def _read_data_count(body: ModuleReader, parts: Parts) -> None:
    del parts
    body.count(SEGMENTS_MAX, "data segments")


def _refuse_tags(body: ModuleReader, parts: Parts) -> None:
    del parts
    raise body.fail("it has exception tags", expected="no exceptions (docs/abi.md)")


def _check_length(body: ModuleReader, maximum: int) -> None:
    length = body.end - body.at
    if length > maximum:
        raise body.fail(f"{body.what} take {length} bytes", expected=f"at most {maximum} bytes")


_READERS: Final[dict[int, Callable[[ModuleReader, Parts], None]]] = {
    TYPES: _read_types,
    IMPORTS: _read_imports,
    FUNCTIONS: _read_functions,
    TABLES: _read_tables,
    MEMORIES: _read_memories,
    GLOBALS: _read_globals,
    EXPORTS: _read_exports,
    START: _read_start,
    ELEMENTS: _read_elements,
    CODE: _read_code,
    DATA: _read_data,
    DATA_COUNT: _read_data_count,
    TAGS: _refuse_tags,
}

"""Reads the sections of a WebAssembly module, enough to check what it asks for and gives.

A guest may import nothing but `lithox.syscall`, must export the ABI of `guests/lua/README.md`, and
may have no mutable global but the stack pointer: the host restores memory before each run and
nothing else.
"""

from __future__ import annotations

from typing import Final

from guests.sources import BuildError

IMPORTS: Final = [("lithox", "syscall")]
EXPORTS: Final = frozenset(
    ("memory", "_initialize", "lx_boot", "lx_inbox", "lx_reserve", "lx_load", "lx_run")
)
_IMPORT_SECTION: Final = 2
_GLOBAL_SECTION: Final = 6
_EXPORT_SECTION: Final = 7
_FUNCTION_KIND: Final = 0


class _Reader:
    """Takes bytes, LEB128 numbers and names off the front of a section."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return result

    def name(self) -> str:
        length = self.number()
        self.at += length
        return self.data[self.at - length : self.at].decode()


def check_module(data: bytes) -> None:
    """Raises BuildError unless the module asks for and gives exactly what a guest may.

    Args:
        data: a WebAssembly binary, as the linker wrote it.
    """
    sections = _sections(data)
    imports = _imports(_Reader(sections.get(_IMPORT_SECTION, b"\0")))
    if imports != IMPORTS:
        raise BuildError(f"the guest may import lithox.syscall only; it imports {imports}")
    exports = _exports(_Reader(sections.get(_EXPORT_SECTION, b"\0")))
    if exports != EXPORTS:
        raise BuildError(f"the guest must export {sorted(EXPORTS)}; it exports {sorted(exports)}")
    mutable = _mutable_globals(_Reader(sections.get(_GLOBAL_SECTION, b"\0")))
    if mutable > 1:
        raise BuildError(f"the guest may have one mutable global, its stack; it has {mutable}")


def _sections(data: bytes) -> dict[int, bytes]:
    """Returns the body of each numbered section."""
    reader = _Reader(data)
    reader.at = 8
    found: dict[int, bytes] = {}
    while reader.at < len(data):
        number = reader.byte()
        size = reader.number()
        found[number] = data[reader.at : reader.at + size]
        reader.at += size
    return found


def _imports(reader: _Reader) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for _ in range(reader.number()):
        found.append((reader.name(), reader.name()))
        if reader.byte() != _FUNCTION_KIND:
            raise BuildError(f"the guest imports {found[-1]}, which is not a function")
        reader.number()
    return found


def _exports(reader: _Reader) -> frozenset[str]:
    found: set[str] = set()
    for _ in range(reader.number()):
        found.add(reader.name())
        reader.byte()
        reader.number()
    return frozenset(found)


def _mutable_globals(reader: _Reader) -> int:
    """Returns how many globals may change; initial values are skipped up to their end."""
    count = 0
    for _ in range(reader.number()):
        reader.byte()
        count += reader.byte()
        while reader.byte() != 0x0B:
            reader.number()
    return count

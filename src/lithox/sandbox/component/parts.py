"""What is a component made of, as far as that can be told from its bytes alone?

A component is a list of sections; core modules and components inside it are sections too. Only the
memories of core modules are looked at: what they begin with is what a run takes at least. wasmtime
checks all else, in the child that compiles it; nothing here is trusted to be right, only to end.
"""

from __future__ import annotations

from typing import Final

from lithox.errors import CompileFailed

MAGIC: Final = b"\0asm"
COMPONENT_HEADER: Final = MAGIC + b"\x0d\0\1\0"
_HEADER_BYTES: Final = 8
_SECTION_CORE_MODULE: Final = 1
_SECTION_COMPONENT: Final = 4
_CORE_SECTION_MEMORY: Final = 5
PAGE_BYTES: Final = 65_536
DEPTH_MAX: Final = 8
"""Components inside components."""
SECTIONS_MAX: Final = 100_000
"""Sections of all parts together; CPython's component has 900."""
LEB_BYTES_MAX: Final = 10


class _Walk:
    """Goes over the sections of a component."""

    __slots__ = ("data", "memory_bytes", "sections")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.memory_bytes = 0
        self.sections = 0

    def unsigned(self, at: int) -> tuple[int, int]:
        """Returns (number, where the next item is); raises IndexError at the end of the data."""
        value = 0
        for index in range(LEB_BYTES_MAX):
            byte = self.data[at + index]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value, at + index + 1
        raise ValueError(f"a number at byte {at} is longer than {LEB_BYTES_MAX} bytes")

    def walk(self, at: int, end: int, depth: int, *, is_core: bool) -> None:
        """Looks at the part [at, end), its header included."""
        expected = MAGIC + b"\1\0\0\0" if is_core else COMPONENT_HEADER
        if self.data[at : at + _HEADER_BYTES] != expected:
            raise ValueError(f"no header of a {'module' if is_core else 'component'} at byte {at}")
        if depth > DEPTH_MAX:
            raise ValueError(f"components nest deeper than {DEPTH_MAX} levels")
        at += _HEADER_BYTES
        while at < end:
            self.sections += 1
            if self.sections > SECTIONS_MAX:
                raise ValueError(f"it has more than {SECTIONS_MAX} sections")
            section = self.data[at]
            size, body = self.unsigned(at + 1)
            if body + size > end:
                raise ValueError(f"the section at byte {at} ends behind its end")
            if is_core and section == _CORE_SECTION_MEMORY:
                self._add_memories(body)
            elif not is_core and section == _SECTION_CORE_MODULE:
                self.walk(body, body + size, depth, is_core=True)
            elif not is_core and section == _SECTION_COMPONENT:
                self.walk(body, body + size, depth + 1, is_core=False)
            at = body + size

    def _add_memories(self, at: int) -> None:
        count, at = self.unsigned(at)
        if count > 1:
            raise ValueError(f"a module with {count} memories at byte {at}")
        for _ in range(count):
            pages, _ = self.unsigned(at + 1)
            self.memory_bytes += pages * PAGE_BYTES


def measure_memory(wasm: bytes, *, file: str) -> int:
    """Returns how many bytes of memory the core modules of a component begin with.

    Raises:
        CompileFailed: the bytes are no component; fields file, expected.
    """
    walk = _Walk(wasm)
    try:
        walk.walk(0, len(wasm), 0, is_core=False)
    except (ValueError, IndexError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is cut short"
        raise CompileFailed(
            f"{file} is no WebAssembly component: {reason}", file=file, expected="a component"
        ) from None
    return walk.memory_bytes

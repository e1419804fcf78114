"""What does a guest's memory hold before its first instruction?

An `Image` is a whole linear memory, taken after a module was loaded. Every run starts from the
same bytes: a used cell gets all of them back by one copy; a new one, whose memory is known to be
the module's blank memory, only gets the pages that differ from it, so that pages nobody touched
cost no real memory (10,000 live guests depend on it). Where many pages differ, a new cell maps them
instead, so that what guests do not change they share (`sandbox.image_file`).

The linear memory is all that a run leaves behind only if the module has no other state. So
`check_restorable` refuses a module with more than one mutable global (the stack pointer, which a
function that returns normally has balanced again), with passive segments (they can be dropped),
with shared memory, or with any import but the system call.
"""

from __future__ import annotations

import ctypes
from typing import Final

from lithox.errors import ConfigError
from lithox.sandbox.capi import CFunction
from lithox.sandbox.image_file import ImageFile, Place

PAGE_BYTES: Final = 4096
_BLOCK_BYTES: Final = 16 * PAGE_BYTES
MAPPED_BYTES_MIN: Final = 96 << 10
"""An image that differs from the blank memory by less is copied: that is all it would save. Making
a guest of 264 changed kB takes as long either way (150-220 us with its first slice, 2 cores); its
own memory is 100 kB mapped and 304 kB copied."""
MUTABLE_GLOBALS_MAX: Final = 1

_SECTION_IMPORT: Final = 2
_SECTION_MEMORY: Final = 5
_SECTION_GLOBAL: Final = 6
_SECTION_DATA: Final = 11
_IMPORT_FUNC: Final = 0
_PASSIVE: Final = 1
_CONST_WIDTHS: Final = {0x43: 4, 0x44: 8}
"""Fixed-width immediates of `f32.const` and `f64.const`; other constants are LEB128."""
_CONST_LEB: Final = (0x41, 0x42, 0x23, 0xD0, 0xD2)
"""`i32.const`, `i64.const`, `global.get`, `ref.null`, `ref.func`."""


class Image:
    """One memory, kept. Immutable after it was made.

    Attributes:
        size_bytes: length, a multiple of the WebAssembly page.
        address: where the bytes are in this process; valid while the image lives.
        ranges: (offset, length) of the runs of pages that differ from the blank memory.
        place: where it can be mapped from, None when it is to be copied. Whoever lives in a
            mapping of it must hold it.
    """

    __slots__ = ("_data", "address", "place", "ranges", "size_bytes")

    def __init__(self, data: bytes, blank: bytes, file: ImageFile | None = None) -> None:
        """Keeps `data`.

        Args:
            data: the whole memory.
            blank: the memory of a fresh instance of the same module.
            file: where a large image is kept too, to be mapped; None has it always copied.
        """
        self._data = ctypes.create_string_buffer(data, len(data))
        self.address = ctypes.addressof(self._data)
        self.size_bytes = len(data)
        self.ranges = find_changed_ranges(data, blank)
        self.place: Place | None = None
        if file is not None:
            self.keep_in(file)

    def keep_in(self, file: ImageFile) -> None:
        """Keeps it in `file` too, if it is large enough to be mapped."""
        if sum(length for _, length in self.ranges) >= MAPPED_BYTES_MIN:
            self.place = file.keep(self.data)

    @property
    def data(self) -> bytes:
        """The bytes, copied."""
        return self._data.raw

    def restore_used(self, memmove: CFunction, base: int) -> None:
        """Writes all bytes to a memory of the same size at `base` that held anything."""
        memmove(base, self.address, self.size_bytes)

    def restore_blank(self, memmove: CFunction, base: int) -> None:
        """Writes the bytes that differ to a blank memory of the same size at `base`."""
        if self.place is not None and self.place.map_at(base):
            return
        for offset, length in self.ranges:
            memmove(base + offset, self.address + offset, length)


def find_changed_ranges(data: bytes, blank: bytes) -> tuple[tuple[int, int], ...]:
    """Returns (offset, length) of the runs of pages in which `data` differs from `blank`.

    Where `data` is longer, the blank memory is taken to go on with zeros.
    """
    blank = blank.ljust(len(data), b"\0")
    ranges: list[tuple[int, int]] = []
    offset = 0
    while offset < len(data):
        # Most of a memory is as it was: it is passed over in large steps.
        block_end = offset + _BLOCK_BYTES
        if offset % _BLOCK_BYTES == 0 and data[offset:block_end] == blank[offset:block_end]:
            offset = block_end
            continue
        start, offset = offset, offset + PAGE_BYTES
        if data[start:offset] == blank[start:offset]:
            continue
        if ranges and sum(ranges[-1]) == start:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + PAGE_BYTES)
        else:
            ranges.append((start, PAGE_BYTES))
    return tuple(ranges)


class _Reader:
    """Reads the few kinds of items a binary module is made of."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self.data, self.position, self.end = data, position, end

    def byte(self) -> int:
        value = self.data[self.position]
        self.position += 1
        return value

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def skip(self, length: int) -> None:
        self.position += length

    def name(self) -> str:
        length = self.unsigned()
        text = self.data[self.position : self.position + length]
        self.skip(length)
        return text.decode()

    def skip_constant(self) -> None:
        """Skips a constant expression up to and with its `end`."""
        while (opcode := self.byte()) != 0x0B:
            if opcode in _CONST_WIDTHS:
                self.skip(_CONST_WIDTHS[opcode])
            elif opcode in _CONST_LEB:
                self.unsigned()
            else:
                raise ValueError(f"constant expression with opcode {opcode:#x}")


def _check_imports(reader: _Reader) -> None:
    for _ in range(reader.unsigned()):
        module, name, kind = reader.name(), reader.name(), reader.byte()
        if (module, name, kind) != ("lithox", "syscall", _IMPORT_FUNC):
            raise ValueError(f"it imports {module}.{name}; only lithox.syscall is given")
        reader.unsigned()


def _check_memories(reader: _Reader) -> None:
    count = reader.unsigned()
    for _ in range(count):
        flags = reader.byte()
        if count != 1 or flags & 0b110:
            raise ValueError("it has a memory that is shared, 64-bit or a second one")
        reader.unsigned()
        if flags & 1:
            reader.unsigned()


def _check_globals(reader: _Reader) -> None:
    mutable = 0
    for _ in range(reader.unsigned()):
        reader.byte()
        mutable += reader.byte() & 1
        reader.skip_constant()
    if mutable > MUTABLE_GLOBALS_MAX:
        raise ValueError(f"it has {mutable} mutable globals; the image holds memory only")


def _check_data(reader: _Reader) -> None:
    for _ in range(reader.unsigned()):
        kind = reader.unsigned()
        if kind == _PASSIVE:
            raise ValueError("it has a passive data segment, which a run could drop")
        if kind:
            reader.unsigned()
        reader.skip_constant()
        reader.skip(reader.unsigned())


_CHECKS: Final = {
    _SECTION_IMPORT: _check_imports,
    _SECTION_MEMORY: _check_memories,
    _SECTION_GLOBAL: _check_globals,
    _SECTION_DATA: _check_data,
}


def check_restorable(wasm: bytes, *, file: str) -> None:
    """Checks that the linear memory is all the state a module has.

    Args:
        wasm: the binary module; it comes with the node, not from a guest.
        file: its name, for the message.

    Raises:
        ConfigError: it is not a module, or keeps state elsewhere.
    """
    try:
        if wasm[:8] != b"\0asm\1\0\0\0":
            raise ValueError("it is not a WebAssembly module")
        reader = _Reader(wasm, 8, len(wasm))
        while reader.position < len(wasm):
            section, length = reader.byte(), reader.unsigned()
            end = reader.position + length
            if section in _CHECKS:
                _CHECKS[section](_Reader(wasm, reader.position, end))
            reader.position = end
    except (ValueError, IndexError) as error:
        raise ConfigError(f"{file} cannot be a guest: {error}", file=file) from None

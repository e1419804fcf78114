"""Can the instance of a run be given to the next one once memory and globals are put back?

Only if nothing else of it can change: tables, and segments, which a module may drop. Nobody can put
those back from outside. So the code is read, instruction by instruction, for those that change
them. Compilers of C and Rust write none; a module that has one gets a fresh instance for each run,
which costs it some 40 us and nothing else.

Runs in the child that has just compiled the module (`compile_child.py`), so it sees valid code
alone, costs the node nothing, and imports nothing. What it does not know, it calls not restorable.
"""

from __future__ import annotations

CODE_BYTES_MAX = 4 << 20
"""Code above this is not read: a second for each 2 MB. Instances that large are not kept anyway."""
_SECTION_CODE = 10

_NONE, _LEB, _LEBS, _TABLE, _TYPES, _F32, _F64, _BULK, _SIMD, _BAD = range(10)


def _make_shapes() -> bytes:
    """Returns what follows each one-byte opcode."""
    shapes = bytearray([_BAD]) * 256
    plain = (0x00, 0x01, 0x05, 0x0B, 0x0F, 0x1A, 0x1B, 0xD1, *range(0x45, 0xC5))
    one = (0x02, 0x03, 0x04, 0x0C, 0x0D, 0x10, 0x12, *range(0x20, 0x26), 0x3F, 0x40)
    two = (0x11, 0x13, *range(0x28, 0x3F))
    for opcodes, shape in (
        (plain, _NONE),
        ((*one, 0x41, 0x42, 0xD0, 0xD2), _LEB),
        (two, _LEBS),
        ((0x0E,), _TABLE),
        ((0x1C,), _TYPES),
        ((0x43,), _F32),
        ((0x44,), _F64),
        ((0xFC,), _BULK),
        ((0xFD,), _SIMD),
    ):
        for opcode in opcodes:
            shapes[opcode] = shape
    return bytes(shapes)


_SHAPES = _make_shapes()
"""Without 0x26, `table.set`."""
_BULK_LEBS = {**dict.fromkeys((*range(8), 19, 20, 21, 22), 0), 8: 2, 10: 2, 11: 1, 16: 1}
"""0xFC: rounding conversions, 128-bit arithmetic, `memory.init/copy/fill`, `table.size`. Without
`data.drop` 9, `table.init` 12, `elem.drop` 13, `table.copy` 14, `table.grow` 15, `table.fill` 17.
"""


def is_restorable(wasm: bytes) -> bool:
    """Returns whether no function of a valid module can change a table or drop a segment."""
    try:
        at, end = _find_code(wasm)
        if end - at > CODE_BYTES_MAX:
            return False
        count, at = _number(wasm, at)
        for _ in range(count):
            size, at = _number(wasm, at)
            if not _is_harmless(wasm, _skip_locals(wasm, at), at + size):
                return False
            at += size
    except (IndexError, KeyError):
        return False
    return True


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Returns tuple of (unsigned LEB128 number at `at`, where it ends)."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _find_code(wasm: bytes) -> tuple[int, int]:
    """Returns where the body of the code section lies; raises KeyError where there is none."""
    at = 8
    while at < len(wasm):
        section = wasm[at]
        size, at = _number(wasm, at + 1)
        if section == _SECTION_CODE:
            return at, at + size
        at += size
    raise KeyError("code")


def _skip_locals(data: bytes, at: int) -> int:
    groups, at = _number(data, at)
    for _ in range(groups):
        while data[at] >= 0x80:
            at += 1
        at += 2
    return at


def _skip(data: bytes, at: int, count: int) -> int:
    for _ in range(count):
        while data[at] >= 0x80:
            at += 1
        at += 1
    return at


def _is_harmless(data: bytes, at: int, end: int) -> bool:
    """Returns whether the instructions in [at, end) leave tables and segments alone."""
    shapes = _SHAPES
    while at < end:
        shape = shapes[data[at]]
        at += 1
        if shape == _NONE:
            continue
        if shape <= _LEBS:
            while data[at] >= 0x80:
                at += 1
            at += 1
            if shape == _LEBS:
                at = _skip(data, at, 1)
        elif shape == _F32:
            at += 4
        elif shape == _F64:
            at += 8
        elif shape == _TABLE:
            count, at = _number(data, at)
            at = _skip(data, at, count + 1)
        elif shape == _TYPES:
            count, at = _number(data, at)
            at += count
        elif shape == _BULK:
            opcode, at = _number(data, at)
            at = _skip(data, at, _BULK_LEBS[opcode])
        elif shape == _SIMD:
            at = _skip_simd(data, at)
        else:
            return False
    return at == end


def _skip_simd(data: bytes, at: int) -> int:
    """Returns where the vector instruction at `at` ends."""
    opcode, at = _number(data, at)
    if opcode <= 11 or opcode in {92, 93}:  # loads and stores
        return _skip(data, at, 2)
    if opcode <= 13:  # a constant, a shuffle
        return at + 16
    if 21 <= opcode <= 34:  # a lane
        return at + 1
    if 84 <= opcode <= 91:  # loads and stores of a lane
        return _skip(data, at, 2) + 1
    if opcode >= 256:  # relaxed, which is off
        raise KeyError(opcode)
    return at

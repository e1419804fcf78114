"""How is a module of a stranger read without believing it?

`ModuleReader` takes numbers, names and bytes off a part of the binary. It never reads beyond its
part, a number has at most the length the standard gives it, and whoever is wrong is told where.
"""

from __future__ import annotations

from typing import Final

NAME_BYTES_MAX: Final = 1024
"""Of an import or export, or a custom section."""
_LEB_32_BYTES: Final = 5
_LEB_64_BYTES: Final = 10
_END: Final = 0x0B
_CONST_BYTES: Final = {0x43: 4, 0x44: 8}
"""`f32.const`, `f64.const`: bytes that follow."""
_CONST_LEBS: Final = frozenset((0x41, 0x42, 0x23, 0xD0, 0xD2))
"""`i32.const`, `i64.const`, `global.get`, `ref.null`, `ref.func`: one number follows."""
_CONST_PLAIN: Final = frozenset((0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E))
"""Addition, subtraction and multiplication of whole numbers: nothing follows."""
_VECTOR: Final = 0xFD
_V128_CONST: Final = 12
_V128_BYTES: Final = 16


class ModuleError(Exception):
    """A module that cannot be a handler's.

    Attributes:
        message: what was found.
        expected: what a module must have there.
        offset: bytes from its beginning, None where the whole is meant.
    """

    def __init__(self, message: str, *, expected: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.offset = offset


class ModuleReader:
    """Reads [start, end) of a binary.

    Attributes:
        data: the whole binary.
        at: the next byte.
        end: where the part ends.
        what: its name in messages.
    """

    __slots__ = ("at", "data", "end", "what")

    def __init__(self, data: bytes, start: int, end: int, *, what: str) -> None:
        self.data, self.at, self.end, self.what = data, start, end, what

    def fail(self, message: str, *, expected: str, at: int | None = None) -> ModuleError:
        """Returns the error for what stands at `at`, or at the next byte."""
        return ModuleError(message, expected=expected, offset=self.at if at is None else at)

    def _end_early(self) -> ModuleError:
        return self.fail(
            f"{self.what} ends in the middle", expected="a whole module", at=min(self.at, self.end)
        )

    def byte(self) -> int:
        """Takes one byte."""
        if self.at >= self.end:
            raise self._end_early()
        value = self.data[self.at]
        self.at += 1
        return value

    def skip(self, length: int) -> None:
        """Passes over `length` bytes."""
        if length > self.end - self.at:
            raise self._end_early()
        self.at += length

    def take(self, length: int) -> bytes:
        """Takes `length` bytes."""
        start = self.at
        self.skip(length)
        return self.data[start : self.at]

    def number(self) -> int:
        """Takes an unsigned number of 32 bits."""
        data, at, end = self.data, self.at, self.end
        value = shift = 0
        while at < end:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > 0xFFFF_FFFF:
                    break
                self.at = at
                return value
            shift += 7
            if shift >= 7 * _LEB_32_BYTES:
                break
        else:
            raise self._end_early()
        raise self.fail(f"a number in {self.what} is too long", expected="at most 32 bits")

    def count(self, maximum: int, of: str) -> int:
        """Takes how many entries follow, at most `maximum`."""
        start = self.at
        count = self.number()
        if count > maximum:
            raise self.fail(f"it has {count} {of}", expected=f"at most {maximum} {of}", at=start)
        return count

    def name(self) -> str:
        """Takes a name."""
        start = self.at
        length = self.number()
        if length > NAME_BYTES_MAX:
            raise self.fail(
                f"a name of {length} bytes", expected=f"at most {NAME_BYTES_MAX}", at=start
            )
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise self.fail("a name that is not UTF-8", expected="UTF-8", at=start) from None

    def skip_number(self) -> None:
        """Passes over a number of up to 64 bits."""
        for _ in range(_LEB_64_BYTES):
            if self.byte() < 0x80:
                return
        raise self.fail(f"a number in {self.what} is too long", expected="at most 64 bits")

    def skip_constant(self) -> None:
        """Passes over a constant expression, its end included."""
        while (opcode := self.byte()) != _END:
            if opcode in _CONST_LEBS:
                self.skip_number()
            elif opcode in _CONST_BYTES:
                self.skip(_CONST_BYTES[opcode])
            elif opcode == _VECTOR and self.number() == _V128_CONST:
                self.skip(_V128_BYTES)
            elif opcode not in _CONST_PLAIN:
                raise self.fail(
                    f"instruction {opcode:#x} where a value is computed",
                    expected="constants",
                    at=self.at - 1,
                )

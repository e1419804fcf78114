"""Which commands are in these bytes? Arrays of bulk strings, parsed by hiredis within bounds.

hiredis is fast (0.7 us a command of six words, beside 3.3 us for the quickest we found in Python),
but it trusts who speaks: it makes a list as long as the header says, nests without end, and keeps
what is not whole for ever. A command has at most `WORDS_MAX` words and no array inside, so:

- A slice that hiredis is given begins where a command begins and has at most `SLICE_BYTES`.
- No header in it has four digits (`_WIDE`): no long list is made.
- Each array that hiredis begins stands at the start of the slice or behind a line feed. If such
  places are as many as the commands that came out, none of them is left inside: all is taken.
- Else the sizes of the commands say where they end. What follows is a command that is not whole
  (or nothing, when there is a line feed and `*` inside of data): its bytes are read by `_Whole`,
  word by word, until it is. So is a slice in which something else than commands was found.

Not checked are the two bytes behind a word, which hiredis passes over as Redis does: `_Whole` looks
at them and refuses others than a line end. An exact look at each would cost 0.2 to 0.4 us a command
(count of line ends, and none of them inside the words joined), and no byte is taken for another one
without it, since lengths say where words end.

So hiredis keeps nothing between two slices, and what it builds for one is bounded by it.

Invariants: `take` gives commands in the order of their bytes, each once; `partial_bytes` is never
above `bytes_max` plus one slice. The laws are in tests/property/test_resp_parsing.py.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis

from lithox.errors import BadArguments, LithoxError, TooLarge

Command = list[bytes]

WORDS_MAX: Final = 999
"""Words of a command, its name included."""
SLICE_BYTES: Final = 16 << 10
"""What one slice may make hiredis build before it is looked at: 11 MB of lists, for a moment."""
_HEADER_BYTES_MAX: Final = 16
_COMMAND: Final = ord("*")
_WORD: Final = ord("$")
_WIDE: Final = re.compile(rb"\*[0-9]{4}")
_AGGREGATE: Final = re.compile(rb"\n[%~>|]")
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,9}")
_kind_of: Final = cast("Callable[[Any], type[object]]", type)
_Reader: Final = cast("Any", hiredis).Reader
"""hiredis has no types of its own."""


class CommandParser:
    """The commands of one connection. Blocks: no.

    Args:
        bytes_max: of one command, headers included; may be changed between two `take`.
    """

    __slots__ = ("_reader", "_unread", "bytes_max", "is_stalled", "partial", "unread_bytes")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.unread_bytes = 0
        """Bytes fed and not looked at yet."""
        self.is_stalled = False
        """The next command is refused as long as `bytes_max` stays what it is."""
        self._unread = deque[bytes]()
        self._reader: Any = None
        self.partial: _Whole | None = None
        """The command whose end is not there yet."""

    @property
    def has_more(self) -> bool:
        """True when `take` has something to look at or to refuse."""
        return self.unread_bytes > 0 or self.is_stalled

    @property
    def partial_bytes(self) -> int:
        """Bytes kept of a command that is not whole."""
        return 0 if self.partial is None else self.partial.size

    def feed(self, data: bytes) -> None:
        """Takes bytes as they came; `take` looks at them."""
        if data:
            self._unread.append(data)
            self.unread_bytes += len(data)

    def take(self) -> list[Command]:
        """Returns the commands of one slice; an empty list says nothing about further slices.

        Raises:
            BadArguments: what came is no command; nothing behind it can be understood.
            TooLarge: a command of more words than `WORDS_MAX`, or longer than `bytes_max`; with
                more of these it can be taken after all.
        """
        self.is_stalled = False
        data = self._next_slice()
        if self.partial is None:
            return self._take_at_once(data) if data else []
        found: list[Command] = []
        rest = self._take_carefully(self.partial, data, found, is_all=False)
        if rest:
            self._unread.appendleft(rest)
            self.unread_bytes += len(rest)
        return found

    def _next_slice(self) -> bytes:
        unread = self._unread
        if not unread:
            return b""
        data = unread.popleft()
        size = len(data)
        if size > SLICE_BYTES:
            unread.appendleft(data[SLICE_BYTES:])
            data, size = data[:SLICE_BYTES], SLICE_BYTES
        self.unread_bytes -= size
        return data

    def _take_at_once(self, data: bytes) -> list[Command]:
        """Reads a slice that begins with a command."""
        is_long = len(data) > self.bytes_max
        if is_long or _WIDE.search(data) is not None or _AGGREGATE.search(data) is not None:
            return self._start_over(data)
        reader = self._reader
        if reader is None:
            reader = self._reader = _Reader()
        found: list[Command] = []
        try:
            reader.feed(data)
            get = reader.gets
            while (command := get()) is not False:
                if type(command) is not list:
                    return self._start_over(data)
                for word in cast("Command", command):
                    if _kind_of(word) is not bytes:
                        return self._start_over(data)
                found.append(cast("Command", command))
        except cast("Any", hiredis).ProtocolError:
            return self._start_over(data)
        if data.count(b"\n*") + 1 == len(found) and not reader.has_data():
            return found
        end = sum(map(_size_of, found))
        if end < len(data):
            # The last command is not whole: its bytes go on being read by the careful reader.
            self._reader = None
            self._begin(data[end:], found)
        return found

    def _start_over(self, data: bytes) -> list[Command]:
        """Reads a slice again, word by word."""
        self._reader = None
        found: list[Command] = []
        self._begin(data, found)
        return found

    def _begin(self, data: bytes, found: list[Command]) -> None:
        whole = self.partial = _Whole()
        self._take_carefully(whole, data, found, is_all=True)

    def _take_carefully(
        self, whole: _Whole, data: bytes, found: list[Command], *, is_all: bool
    ) -> bytes:
        """Adds commands to `found`; returns what follows the first one unless `is_all`."""
        whole.feed(data)
        while True:
            try:
                command = whole.take(self.bytes_max)
            except LithoxError:
                # What came before it is good and is taken first; then this is found again.
                self.is_stalled = True
                if not found:
                    raise
                return b""
            if command is None:
                if not whole.size:
                    self.partial = None
                return b""
            found.append(command)
            rest = whole.rest()
            if not rest:
                self.partial = None
                return b""
            if not is_all:
                self.partial = None
                return rest


class _Whole:
    """Reads commands word by word; remembers where it is inside of one."""

    __slots__ = ("_at", "_buffer", "_expected", "_words")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._expected = -1
        self._at = 0
        self._words: list[bytes] = []

    @property
    def size(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def rest(self) -> bytes:
        """Returns what follows the command that was taken."""
        return bytes(self._buffer)

    def take(self, bytes_max: int) -> Command | None:
        """Returns the next command and forgets its bytes, or None when it is not whole."""
        if self._expected < 0:
            # As in Redis, an empty line is nothing: `redis-cli --pipe` sends one.
            blank = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
            if blank:
                del self._buffer[:blank]
            amount = self._read_header(_COMMAND)
            if amount is None:
                return None
            if amount > WORDS_MAX:
                # Found again by whoever takes again: what follows it is no command.
                self._at = 0
                raise TooLarge(f"a command has at most {WORDS_MAX} words", allowed=WORDS_MAX)
            self._expected = amount
        while len(self._words) < self._expected:
            start = self._at
            size = self._read_header(_WORD)
            if size is None:
                return self._none_yet(bytes_max)
            begin, self._at = self._at, start
            end = begin + size
            if end + 2 > bytes_max:
                raise _too_large(bytes_max)
            if end + 2 > len(self._buffer):
                return None
            if self._buffer[end : end + 2] != b"\r\n":
                raise _not_a_command(bytes(self._buffer[end : end + 2]))
            self._words.append(bytes(self._buffer[begin:end]))
            self._at = end + 2
        words = self._words
        del self._buffer[: self._at]
        self._at, self._expected, self._words = 0, -1, []
        return words

    def _none_yet(self, bytes_max: int) -> None:
        if len(self._buffer) > bytes_max:
            raise _too_large(bytes_max)

    def _read_header(self, kind: int) -> int | None:
        """Returns the number in a header line and goes behind it, or None when it is not whole."""
        buffer, at = self._buffer, self._at
        end = buffer.find(b"\r\n", at, at + _HEADER_BYTES_MAX)
        if end < 0:
            line = bytes(buffer[at : at + _HEADER_BYTES_MAX])
            if len(line) == _HEADER_BYTES_MAX or (line and line[0] != kind):
                raise _not_a_command(line)
            return None
        found = _LENGTH.fullmatch(buffer, at + 1, end)
        if buffer[at] != kind or found is None:
            raise _not_a_command(bytes(buffer[at:end]))
        self._at = end + 2
        return int(found[0])


def _size_of(command: Command) -> int:
    """Returns the bytes of a command as it was sent; hiredis takes each number in one form only."""
    lengths = list(map(len, command))
    headers = len(b"%d" % len(command)) + sum(len(b"%d" % length) for length in lengths)
    return sum(lengths) + headers + 3 + 5 * len(lengths)


def _not_a_command(found: bytes) -> BadArguments:
    shown = found[:_HEADER_BYTES_MAX].decode("ascii", "backslashreplace")
    return BadArguments(f"a command is a RESP array of bulk strings; found {shown!r}")


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"a command has at most {bytes_max} bytes", allowed=bytes_max)

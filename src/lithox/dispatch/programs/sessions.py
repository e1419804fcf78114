"""A run's terminal seen from outside: what the program wrote until somebody has read it.

A session has a bounded buffer. While a reader is attached a program that writes faster than the
reader reads has to wait, so that nothing is lost; without one the oldest output is dropped, and
the next reader is told how much (`missed`). Input goes the other way, bounded as well.

Offsets count bytes from the start of the run. Reading `after` an offset says that everything
before it has arrived, so it can be forgotten; reading again from the same offset gives the same
bytes again. Not thread-safe: everything on the node's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from lithox.dispatch.programs.process import Cancel, Exit, ProgramProcess

OUTPUT_BYTES_MAX: Final = 1 << 20
INPUT_BYTES_MAX: Final = 1 << 20
CHUNK_BYTES_MAX: Final = 32 << 10
"""What follows in the same stream is added to a chunk below it."""
CHUNK_COST_BYTES: Final = 128
"""Charge of a chunk besides its bytes. Source: what its record takes in memory."""

Then = Callable[[], None]


class Chunk(NamedTuple):
    """Output in one piece: `stream` is "out" or "err"."""

    offset: int
    stream: str
    data: bytes


class _Kept(NamedTuple):
    """A chunk that may still grow."""

    offset: int
    stream: str
    data: bytearray


class Waiters:
    """Who waits for one thing: each is called once, or takes itself back."""

    __slots__ = ("_last", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[int, Then] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, then: Then) -> Cancel:
        """Notes `then`; returns what takes it back, at any time."""
        self._last += 1
        number = self._last
        self._waiting[number] = then

        def cancel() -> None:
            self._waiting.pop(number, None)

        return cancel

    def tell(self) -> None:
        """Calls everybody who waits now; who asks again meanwhile waits for the next time."""
        told, self._waiting = self._waiting, {}
        for then in told.values():
            then()


class Session:
    """Terminal of one run.

    Attributes:
        exit: how the run ended, None while it goes on.
        is_attached: somebody reads; the node says so.
        is_hungry: the program has asked for input and there was none.
        is_hunger_told: somebody outside has been told so.
    """

    def __init__(self, *, bytes_max: int = OUTPUT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._chunks: deque[_Kept] = deque()
        self._kept_bytes = 0
        self._end = 0
        self._dropped_end = 0
        self._input = bytearray()
        self._is_input_over = False
        self._writable = Waiters()
        self._readable = Waiters()
        self._watchers = Waiters()
        self._taken = Waiters()
        self.pid: int | None = None
        """The process that was given this terminal as its own."""
        self.exit: Exit | None = None
        self.is_attached = True
        self.is_hungry = False
        self.is_hunger_told = False

    # -- the program's side -----------------------------------------------------------------

    def write(self, frame: ProgramProcess, stream: str, data: bytes) -> bool:
        """Takes output, or returns False when the buffer is full and somebody is reading."""
        del frame
        if self._kept_bytes and self._kept_bytes + len(data) > self._bytes_max:
            if self.is_attached:
                return False
            self._drop(self._kept_bytes + len(data) - self._bytes_max)
        if data:
            last = self._chunks[-1] if self._chunks else None
            if last is not None and last.stream == stream and len(last.data) < CHUNK_BYTES_MAX:
                # A program that writes letter by letter must not cost a record for each.
                last.data.extend(data)
            else:
                self._chunks.append(_Kept(self._end, stream, bytearray(data)))
                self._kept_bytes += CHUNK_COST_BYTES
            self._end += len(data)
            self._kept_bytes += len(data)
            self._watchers.tell()
        return True

    def when_writable(self, then: Then) -> Cancel:
        """Calls `then` once there is room, or nobody reads any more."""
        return self._writable.add(then)

    def read(self, bytes_max: int) -> bytes | None:
        """Returns input, b"" when none is there yet, None at its end."""
        if not self._input:
            if self._is_input_over:
                return None
            if not self.is_hungry:
                self.is_hungry = True
                self._watchers.tell()
            return b""
        found = bytes(self._input[:bytes_max])
        del self._input[:bytes_max]
        self._taken.tell()
        return found

    def when_readable(self, then: Then) -> Cancel:
        """Calls `then` once there is input, or its end."""
        return self._readable.add(then)

    # -- the outside ------------------------------------------------------------------------

    def output_after(self, offset: int) -> tuple[list[Chunk], int]:
        """Returns tuple of (output from `offset` on, bytes of it that were dropped before).

        What lies before `offset` is forgotten.
        """
        chunks = self._chunks
        while chunks and chunks[0].offset + len(chunks[0].data) <= offset:
            self._forget_first()
        if self._kept_bytes < self._bytes_max:
            self._writable.tell()
        found: list[Chunk] = []
        for chunk in chunks:
            skip = max(0, offset - chunk.offset)
            found.append(Chunk(chunk.offset + skip, chunk.stream, bytes(chunk.data[skip:])))
        return found, max(0, self._dropped_end - offset)

    def feed(self, data: bytes) -> bool:
        """Gives input to the program; False when its buffer is full or its input has ended."""
        if self._is_input_over or len(self._input) + len(data) > INPUT_BYTES_MAX:
            return False
        self._input += data
        self._is_fed()
        return True

    def end_input(self) -> None:
        """Says that no more input will come."""
        self._is_input_over = True
        self._is_fed()

    def _is_fed(self) -> None:
        self.is_hungry = self.is_hunger_told = False
        self._readable.tell()

    @property
    def is_input_over(self) -> bool:
        """Whether no more input will be taken."""
        return self._is_input_over

    def when_taken(self, then: Then) -> Cancel:
        """Calls `then` once the program has read some of its input, or has ended."""
        return self._taken.add(then)

    def on_start(self, frame: ProgramProcess) -> None:
        """Notes the process that was given this terminal."""
        self.pid = frame.pid

    def on_exit(self, frame: ProgramProcess, exit_: Exit) -> None:
        """Ends with that process."""
        del frame
        self.finish(exit_)

    def finish(self, exit_: Exit) -> None:
        """Notes the end of the run."""
        self.exit = exit_
        self._watchers.tell()
        self._taken.tell()

    def detach(self) -> None:
        """Says that nobody reads: from now on nothing waits for a reader."""
        self.is_attached = False
        self._writable.tell()

    def watch(self, then: Then) -> Cancel:
        """Calls `then` once, at the next output or at the end."""
        return self._watchers.add(then)

    @property
    def end_offset(self) -> int:
        """Bytes written so far."""
        return self._end

    # -- below ------------------------------------------------------------------------------

    def _drop(self, size_bytes: int) -> None:
        while size_bytes > 0 and self._chunks:
            chunk = self._forget_first()
            size_bytes -= len(chunk.data) + CHUNK_COST_BYTES
            self._dropped_end = chunk.offset + len(chunk.data)

    def _forget_first(self) -> _Kept:
        chunk = self._chunks.popleft()
        self._kept_bytes -= len(chunk.data) + CHUNK_COST_BYTES
        return chunk

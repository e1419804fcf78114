"""Standard input for a program, taken only once the program asks for it.

A command that reads its input unasked eats what was meant for the next one (`while read line; do
lithox run check; done`), and is stopped by the terminal when it runs in the background. So nothing
is read before the node says that the program waits for input.

A terminal is read on the loop, so that reading can stop at once when the program is over and the
next line belongs to somebody else. Pipes and files are read by a thread, since files cannot be
waited for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
from typing import Final, Protocol

from lithox.errors import DeadlinePassed, LithoxError

READ_BYTES_MAX: Final = 32 << 10
"""Of one read and one request; the node's own buffer has a mebibyte."""


class TakesInput(Protocol):
    """What input is written to."""

    async def write_input(self, pid: int, data: bytes, *, is_end: bool = False) -> None: ...


class InputSource:
    """Feeds one program from a file descriptor of this process.

    Args:
        file: descriptor to read from; None: there is no input, and asking for some tells the end.

    Attributes:
        is_asked: the program has asked for input.
    """

    def __init__(self, node: TakesInput, pid: int, file: int | None) -> None:
        self._node = node
        self._pid = pid
        self._file = file
        self._is_terminal = file is not None and os.isatty(file)
        self.is_asked = False
        self._is_paused = False
        self._is_watched = False
        self._is_over = False
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None

    def want(self) -> None:
        """The program waits for input: begins to read, or goes on."""
        self.is_asked = True
        if self._is_over or self._is_paused:
            return
        if self._is_terminal:
            self._watch()
        if self._writer is not None:
            return
        self._writer = asyncio.ensure_future(self._write())
        if self._file is None:
            self._pieces.put_nowait(b"")
        elif not self._is_terminal:
            # A daemon, because a read from a silent pipe cannot be broken off.
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._read_file, args=(self._file, loop), daemon=True).start()

    def pause(self) -> None:
        """Lets the terminal be read by somebody else, until `resume`."""
        self._is_paused = True
        self._unwatch()

    def resume(self) -> None:
        """Goes on where `pause` stopped."""
        self._is_paused = False
        if self.is_asked:
            self.want()

    def close(self) -> None:
        """Reads nothing more."""
        self._is_over = True
        self._unwatch()
        if self._writer is not None:
            self._writer.cancel()

    def _watch(self) -> None:
        file = self._file
        # In the background a read would stop this command; the program waits instead.
        if file is None or self._is_watched or os.tcgetpgrp(file) != os.getpgrp():
            return
        asyncio.get_running_loop().add_reader(file, self._read_terminal, file)
        self._is_watched = True

    def _unwatch(self) -> None:
        if self._is_watched and self._file is not None:
            asyncio.get_running_loop().remove_reader(self._file)
            self._is_watched = False

    def _read_terminal(self, file: int) -> None:
        data = _read(file)
        if not data:
            self._unwatch()
        self._pieces.put_nowait(data)

    def _read_file(self, file: int, loop: asyncio.AbstractEventLoop) -> None:
        """Reads one piece at a time, so that input waits where it comes from."""
        data = b"begin"
        # The loop may end first: the command is over while its input is still open.
        with contextlib.suppress(RuntimeError, concurrent.futures.CancelledError):
            while data and not self._is_over:
                data = _read(file)
                asyncio.run_coroutine_threadsafe(self._pass_on(data), loop).result()

    async def _pass_on(self, data: bytes) -> None:
        self._pieces.put_nowait(data)
        await self._pieces.join()

    async def _write(self) -> None:
        """Writes what was read, in order; a program that takes no more gets no more."""
        while not self._is_over:
            data = await self._pieces.get()
            while not self._is_over:
                try:
                    await self._node.write_input(self._pid, data, is_end=not data)
                except DeadlinePassed:
                    # It does other things for now; what was typed is kept for it.
                    continue
                except LithoxError:
                    self._is_over = True
                break
            self._pieces.task_done()
            if not data:
                break
        self._is_over = True
        self._unwatch()


def _read(file: int) -> bytes:
    """Returns some input, b"" at its end or when it cannot be read."""
    try:
        return os.read(file, READ_BYTES_MAX)
    except OSError:
        return b""

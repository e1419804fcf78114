"""A person at a terminal, for tests: types keys, and reads what the screen has said."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

from tests.e2e.node.serving import SECONDS_MAX, surroundings

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")
CTRL_C, CTRL_D, CTRL_Z, ENTER, TAB = "\x03", "\x04", "\x1a", "\r", "\t"


class Terminal:
    """One `lithox` command on a pseudo-terminal of its own."""

    def __init__(self, *arguments: str | Path, history: Path) -> None:
        self._raw = b""
        self._place = 0
        self._status: int | None = None
        environment = surroundings(
            TERM="xterm", PROMPT_TOOLKIT_NO_CPR="1", LITHOX_HISTORY=str(history)
        )
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            words = [sys.executable, "-m", "lithox.cli.main", *map(str, arguments)]
            os.execve(sys.executable, words, environment)

    @property
    def text(self) -> str:
        """All the screen has said, without control sequences."""
        return _CONTROL.sub("", self._raw.decode(errors="replace"))

    @property
    def raw(self) -> bytes:
        """All the screen has been sent."""
        return self._raw

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self._file, keys.encode())

    def expect(self, pattern: str) -> str:
        """Waits until `pattern` appears behind what was expected before; returns what it took."""
        deadline = time.monotonic() + SECONDS_MAX
        while (found := re.compile(pattern, re.DOTALL).search(self.text, self._place)) is None:
            seen = self.text[self._place :]
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"waited in vain for {pattern!r}; the screen said {seen!r}"
            assert self._read(left_s), f"ended without {pattern!r}; the screen said {seen!r}"
        taken = self.text[self._place : found.end()]
        self._place = found.end()
        return taken

    def _read(self, left_s: float) -> bool:
        """Reads what there is; returns False at the end."""
        if not select.select([self._file], [], [], left_s)[0]:
            return True
        try:
            data = os.read(self._file, 65536)
        except OSError:
            # What Linux says when the other side is closed.
            return False
        self._raw += data
        return bool(data)

    def wait(self) -> int:
        """Returns the exit status, once the command has ended."""
        deadline = time.monotonic() + SECONDS_MAX
        while self._read(max(0.1, deadline - time.monotonic())):
            assert time.monotonic() < deadline, f"does not end; the screen said {self.text!r}"
        self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def close(self) -> None:
        """Leaves no process behind."""
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._file)

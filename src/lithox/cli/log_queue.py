"""Log lines on their way to stderr: a bounded queue that drops and counts, and one thread.

Nobody may be reading stderr (a full pipe, a stopped terminal). The node must not stand still then,
so its own thread never writes a log line: it makes the text, puts it here, and goes on.

Invariants: `emit` never waits for whoever reads; at most `LINES_MAX` lines and `BYTES_MAX` bytes
are kept; each run of lines dropped is told, once there is room, by one line that counts them.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from contextlib import suppress
from typing import Final

LINES_MAX: Final = 10_000
BYTES_MAX: Final = 8 << 20
"""Of what waits; a handler may log 2 MiB in one run by default."""
CLOSE_WAIT_S: Final = 2.0
"""How long `close` waits for a reader before the rest is given up."""
DROPPED: Final = "log lines dropped: nobody reads them fast enough"


class LogQueue(logging.Handler):
    """Writes formatted records to a file descriptor, from a thread of its own.

    Args:
        descriptor: where lines go; stays open.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._is_closing = False
        self._changed = threading.Condition()
        self.dropped = 0
        """Lines dropped since the last that was told."""
        self._thread = threading.Thread(target=self._work, name="lithox-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queues one record, or counts it as dropped. Does not wait for the writer."""
        if self._drop_if_full(1):
            return  # Before it is formatted, which is most of the work.
        try:
            line = (self.format(record) + "\n").encode(errors="backslashreplace")
        except Exception:  # noqa: BLE001 - as in every handler of the library
            self.handleError(record)
            return
        with self._changed:
            if self._drop_if_full(len(line)):
                return
            self._lines.append(line)
            self._bytes += len(line)
            self._changed.notify()

    def _drop_if_full(self, size: int) -> bool:
        with self._changed:
            if self._is_closing:
                return True
            if len(self._lines) < LINES_MAX and self._bytes + size <= BYTES_MAX:
                return False
            self.dropped += 1
            return True

    def close(self) -> None:
        """Writes what waits, for at most `CLOSE_WAIT_S`, and ends the thread. Idempotent."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(CLOSE_WAIT_S)
        super().close()

    def _work(self) -> None:
        while (data := self._take()) is not None:
            # Not through sys.stderr: a thread that hangs in there would hold its lock at exit.
            with suppress(OSError):
                while data:
                    data = data[os.write(self._descriptor, data) :]

    def _take(self) -> bytes | None:
        """Waits for the next line; None when there will be no more."""
        with self._changed:
            while not self._lines and not self.dropped:
                if self._is_closing:
                    return None
                self._changed.wait()
            if self._lines:
                line = self._lines.popleft()
                self._bytes -= len(line)
                return line
            count, self.dropped = self.dropped, 0
        # Told when all that was kept before it is written: then whoever reads is there again.
        record = logging.LogRecord(
            "lithox.log", logging.WARNING, __file__, 0, "%d " + DROPPED, (count,), None
        )
        return (self.format(record) + "\n").encode(errors="backslashreplace")

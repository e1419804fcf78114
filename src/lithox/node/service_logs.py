"""What services print: lines with their time in files that rotate by size, read back by offset.

A service writes into `logs/NAME.log` of the data directory. When the file is full it becomes
`NAME.log.OFFSET`, named by the number of bytes that were ever written before it, and the oldest
beyond the bound is deleted. So an offset means the same place for ever, and a reader that follows
by offset loses nothing that is still kept. The files are for people and tools as well as for us.

Invariants: names cannot leave the folder; a write never waits and never raises: what the disk does
not take is counted, and the next line that it takes says how much is missing; no file grows beyond
its bound by more than a line. Everything on the node's thread; one write is a few microseconds
into the system's cache (measured: 6 us for 80 bytes), and nothing is synced: a log is no state.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from lithox.dispatch.job import Clock
from lithox.dispatch.programs.process import Cancel, Exit, ProgramProcess, cancel_nothing
from lithox.errors import BadArguments
from lithox.modules.code import check_code_name
from lithox.modules.services import LogSpec

FOLDER_NAME: Final = "logs"
READ_BYTES_MAX: Final = 256 << 10
"""One answer to a reader."""
TAIL_LINES_MAX: Final = 10_000
OPEN_MAX: Final = 64
"""Log files held open at a time; the one opened longest ago is closed first."""
_OFFSET_DIGITS: Final = 18
_log: Final = logging.getLogger("lithox.node")

Then = Callable[[], None]


class ServiceLog:
    """The log of one service; a `Terminal` without input.

    Args:
        path: its newest file.
        spec: how much is kept.
        wall_ns: the time for its lines.
    """

    def __init__(self, path: Path, spec: LogSpec, wall_ns: Callable[[], int]) -> None:
        self.spec = spec
        self._path = path
        self._wall_ns = wall_ns
        self._file: IO[bytes] | None = None
        self._line_of: str | None = None
        """The stream whose last line has no end yet, or None."""
        self._lost_bytes = 0
        self._watchers: dict[object, Then] = {}
        """By a mark of each, in the order they came."""
        self._start, self._size = self._measure()

    # -- the service's side -----------------------------------------------------------------

    def write(self, frame: ProgramProcess, stream: str, data: bytes) -> bool:
        """Takes output of a service, always."""
        del frame
        if data:
            self._append(stream, data)
        return True

    def when_writable(self, then: Then) -> Cancel:
        """Calls `then` at once: there is always room."""
        then()
        return cancel_nothing

    def read(self, bytes_max: int) -> bytes | None:
        """Returns None: a service has no input."""
        del bytes_max
        return None

    def when_readable(self, then: Then) -> Cancel:
        """Calls `then` at once."""
        then()
        return cancel_nothing

    def on_start(self, frame: ProgramProcess) -> None:
        """Notes the process it is given to: nothing to do."""
        del frame

    def on_exit(self, frame: ProgramProcess, exit_: Exit) -> None:
        """Writes how a process ended, so that the log alone tells the story."""
        text = f"process {frame.pid} ended with status {exit_.status}"
        if exit_.message:
            text += f": {exit_.message.splitlines()[0][:500]}"
        self._append("end", text.encode() + b"\n")

    def _append(self, stream: str, data: bytes) -> None:
        """Puts the time and the stream's name before each line that begins here."""
        at = datetime.fromtimestamp(self._wall_ns() / 1e9, UTC)
        stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z {stream} ".encode()
        head = b""
        if self._line_of is not None and self._line_of != stream:
            head, self._line_of = b"\n", None
        if self._lost_bytes:
            head += (b"\n" if self._line_of is not None else b"") + stamp
            head += f"[{self._lost_bytes} bytes could not be written]\n".encode()
            self._line_of = None
        is_whole = data.endswith(b"\n")
        body = data[:-1] if is_whole else data
        text = (b"" if self._line_of == stream else stamp) + body.replace(b"\n", b"\n" + stamp)
        if self._put(head + text + (b"\n" if is_whole else b"")):
            self._lost_bytes = 0
            self._line_of = None if is_whole else stream
        else:
            self._lost_bytes += len(data)
        self._tell()

    def _put(self, data: bytes) -> bool:
        """Writes into the newest file, and into new ones where it is full; False on a full disk."""
        view, at = memoryview(data), 0
        try:
            while at < len(data):
                end, room = len(data), self.spec.bytes_max - self._size
                if end - at > room:
                    end = data.rfind(b"\n", at, at + max(room, 0)) + 1
                if end <= at:
                    if self._size:
                        self._rotate()
                        continue
                    # A line longer than a file is cut rather than kept whole.
                    end = at + self.spec.bytes_max
                # A disk that is about to be full takes a part; the next try says that it is.
                written = self._open().write(view[at:end])
                self._size += written
                at += written
        except OSError as error:
            if not self._lost_bytes:
                _log.warning("log of %s: %s", self._path.stem, error.strerror)
            self.close()
            self._start, self._size = self._measure()
            return False
        return True

    def _open(self) -> IO[bytes]:
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
        return self._file

    def _rotate(self) -> None:
        self.close()
        kept = f"{self._path.name}.{self._start:0{_OFFSET_DIGITS}d}"
        self._path.rename(self._path.with_name(kept))
        self._start += self._size
        self._size = 0
        for _, old in self._old_files()[: -(self.spec.files - 1) or None]:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file; the next write opens it again."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    # -- reading ----------------------------------------------------------------------------

    @property
    def end_offset(self) -> int:
        """Bytes ever written."""
        return self._start + self._size

    def read_after(self, offset: int) -> tuple[bytes, int, int]:
        """Returns (text from `offset` on, the offset behind it, bytes before it that are gone).

        At most `READ_BYTES_MAX` bytes; ask again from the second for more.
        """
        files = self._files()
        first = files[0][0] if files else self.end_offset
        start = min(max(offset, first), self.end_offset)
        parts: list[bytes] = []
        at, left = start, READ_BYTES_MAX
        for begin, path, size in files:
            if left and begin <= at < begin + size:
                part = _read_part(path, at - begin, min(left, begin + size - at))
                parts.append(part)
                at, left = at + len(part), left - len(part)
        return b"".join(parts), at, max(0, first - offset) if offset < first else 0

    def read_tail(self, lines: int) -> tuple[bytes, int]:
        """Returns (the last `lines` lines, as far as `READ_BYTES_MAX` allows, the end's offset)."""
        text, at, _ = self.read_after(max(0, self.end_offset - READ_BYTES_MAX))
        position = len(text)
        if text.endswith(b"\n"):
            position -= 1
        for _ in range(lines):
            position = text.rfind(b"\n", 0, position)
            if position < 0:
                break
        return (b"" if lines == 0 else text[position + 1 :]), at

    def watch(self, then: Then) -> Cancel:
        """Calls `then` once, at the next output; returns how to take that back."""
        mark = object()
        self._watchers[mark] = then

        def cancel() -> None:
            self._watchers.pop(mark, None)

        return cancel

    def _tell(self) -> None:
        told, self._watchers = self._watchers, {}
        for then in told.values():
            then()

    def _old_files(self) -> list[tuple[int, Path]]:
        """Returns (offset, path) of the files that are full, oldest first."""
        found: list[tuple[int, Path]] = []
        for path in self._path.parent.glob(f"{self._path.name}.*"):
            digits = path.name.rpartition(".")[2]
            if len(digits) == _OFFSET_DIGITS and digits.isdecimal():
                found.append((int(digits), path))
        return sorted(found)

    def _files(self) -> list[tuple[int, Path, int]]:
        files = [(begin, path, path.stat().st_size) for begin, path in self._old_files()]
        if self._size:
            files.append((self._start, self._path, self._size))
        return files

    def _measure(self) -> tuple[int, int]:
        """Returns (offset at which the newest file begins, its size) as the disk has them."""
        try:
            old = self._old_files()
            start = old[-1][0] + old[-1][1].stat().st_size if old else 0
            size = self._path.stat().st_size if self._path.exists() else 0
        except OSError:
            return 0, 0
        return start, size


def _read_part(path: Path, offset: int, count: int) -> bytes:
    with path.open("rb") as file:
        return os.pread(file.fileno(), count, offset)


class ServiceLogs:
    """The logs of all services of a node.

    Args:
        data: the node's data directory.
        find_definition: name -> what the registry keeps of the service, or None.
    """

    def __init__(
        self, data: Path, clock: Clock, find_definition: Callable[[str], dict[str, Any] | None]
    ) -> None:
        self._folder = data / FOLDER_NAME
        self._clock = clock
        self._find_definition = find_definition
        self._logs: dict[str, ServiceLog] = {}

    def open(self, name: str) -> ServiceLog:
        """Returns the log of a service; a new one for a name that has none.

        Raises:
            BadArguments: what is no name.
        """
        check_code_name(name, "service")
        found = self._logs.pop(name, None)
        spec = self._spec_of(name)
        if found is None:
            found = ServiceLog(self._folder / f"{name}.log", spec, self._clock.wall_ns)
        found.spec = spec
        self._logs[name] = found
        # Whoever writes to one that is closed goes on: it opens its file again.
        for old in list(self._logs.values())[:-OPEN_MAX]:
            old.close()
        return found

    def _spec_of(self, name: str) -> LogSpec:
        said = (self._find_definition(name) or {}).get("log")
        standard = LogSpec()
        if not isinstance(said, dict):
            return standard
        table: dict[str, Any] = said  # pyright: ignore[reportUnknownVariableType]
        size, files = table.get("bytes_max"), table.get("files")
        # Definitions are checked where they are made; a foreign one must not break a log.
        return LogSpec(
            bytes_max=size if type(size) is int and size >= 4096 else standard.bytes_max,
            files=files if type(files) is int and 1 <= files <= 100 else standard.files,
        )

    def forget(self, name: str) -> None:
        """Closes the log of a service that is removed; its files stay."""
        found = self._logs.pop(name, None)
        if found is not None:
            found.close()

    def close(self) -> None:
        """Closes every file."""
        for one in self._logs.values():
            one.close()


def check_lines(lines: int) -> int:
    """Returns `lines`; raises BadArguments unless it is 0 to 10,000."""
    if type(lines) is not int or not 0 <= lines <= TAIL_LINES_MAX:
        raise BadArguments(f"lines is 0 to {TAIL_LINES_MAX}; found {lines!r:.40}")
    return lines

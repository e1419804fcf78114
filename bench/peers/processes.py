"""Processes of a peer as seen from outside: started, ended by their own ids, counted (Linux).

Everything is read from /proc of the processes and their descendants: processor time, memory, and
which of their files are opened for synchronous writing. strace counts what they sync.
"""

from __future__ import annotations

import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

READY_S_MAX: Final = 60.0
END_S_MAX: Final = 15.0
POLL_S: Final = 0.02
LAST_WORDS_BYTES: Final = 400
TRACE_ATTACH_S_MAX: Final = 10.0
_CHILD: Final = re.compile(r"^\d+ \(.*\) \S (\d+) ", re.DOTALL)
_SYNC_CALLS: Final = ("fsync", "fdatasync", "sync_file_range", "msync")
_WRITE_CALLS: Final = ("write", "writev", "pwrite64", "pwritev", "pwritev2")
_TRACED: Final = re.compile(r"(?:^|\s)(\w+)\((\d+|0x[0-9a-f]+)[,) ]")


class MissingError(Exception):
    """A peer, or a tool to look at it, cannot be had here; the words say why."""


def free_port() -> int:
    """Returns a port of the loopback that nobody uses now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until(is_ready: Callable[[], bool], child: Child | None = None) -> None:
    """Blocks until `is_ready`. Raises MissingError when `child` ends before, or it is late."""
    end = time.monotonic() + READY_S_MAX
    while not is_ready():
        if child is not None and child.process.poll() is not None:
            raise MissingError(f"it ended while it was started: {child.last_words()}")
        if time.monotonic() > end:
            raise MissingError(f"not ready after {READY_S_MAX:.0f} s")
        time.sleep(POLL_S)


def is_listening(port: int) -> bool:
    """Returns whether somebody takes connections on `port`."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Child:
    """A process that we started, with its output in a file, and whatever it has started."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = folder / log
        # What an earlier process wrote there is none of this one's words.
        self._log_begin = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def last_words(self) -> str:
        """Returns the end of what it has printed."""
        said = self._log.read_bytes()[self._log_begin :]
        return said[-LAST_WORDS_BYTES:].decode(errors="replace").strip()

    def end(self) -> None:
        """Asks it to end, and makes it. Blocks until it is gone."""
        if self.process.poll() is None:
            pids = tree([self.pid])
            self.process.terminate()
            try:
                self.process.wait(END_S_MAX)
            except subprocess.TimeoutExpired:
                kill_all(pids)
                self.process.wait()

    def kill(self) -> None:
        """Ends it and its descendants with SIGKILL. Blocks until it is gone."""
        kill_all(tree([self.pid]))
        self.process.wait()


def kill_all(pids: Sequence[int]) -> None:
    """Sends SIGKILL to processes of ours."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def tree(roots: Sequence[int]) -> list[int]:
    """Returns `roots` and all their descendants that live."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found = _CHILD.match(path.read_text())
            if found is not None:
                parents.setdefault(int(found[1]), []).append(int(path.parent.name))
    members: list[int] = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in members and Path(f"/proc/{pid}").exists():
            members.append(pid)
            waiting += parents.get(pid, [])
    return members


def cpu_seconds(pids: Sequence[int]) -> float:
    """Returns user and system time of all threads of `pids`, and of their ended children."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += sum(int(field) for field in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def children_cpu_seconds() -> float:
    """Returns the time of all ended children of this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_mb(pids: Sequence[int], kind: str = "Pss") -> float:
    """Returns "Pss" (shared pages divided among their users) or "Rss" of `pids`, added up."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(f"{kind}:"):
                    total += int(line.split()[1])
    return total / 1024


class MemoryWatch:
    """Ends a peer that grows beyond a bound, so that a memory eater does not take the machine."""

    def __init__(self, pids: Sequence[int], *, mb_max: float) -> None:
        self._pids, self._mb_max = pids, mb_max
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.highest_mb = 0.0
        self.has_ended_it = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(POLL_S):
            now_mb = sum(_resident_mb(pid) for pid in self._pids)
            self.highest_mb = max(self.highest_mb, now_mb)
            if now_mb > self._mb_max:
                self.has_ended_it = True
                kill_all(self._pids)
                return


def _resident_mb(pid: int) -> float:
    with suppress(OSError, IndexError, ValueError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    return 0.0


def synchronous_files(pids: Sequence[int]) -> set[int]:
    """Returns numbers of descriptors opened so that each write is a sync (O_SYNC, O_DSYNC)."""
    found: set[int] = set()
    for pid in pids:
        for path in Path(f"/proc/{pid}/fdinfo").glob("[0-9]*"):
            with suppress(OSError):
                flags = re.search(r"flags:\s*([0-7]+)", path.read_text())
                if flags is not None and int(flags[1], 8) & os.O_DSYNC:
                    found.add(int(path.name))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Syncs:
    """What strace saw: calls that sync by name, and writes to files that sync each write."""

    calls: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.calls.values())


class SyncTrace:
    """Counts syncs of processes while it is entered; slows them down while it does."""

    def __init__(self, pids: Sequence[int]) -> None:
        if shutil.which("strace") is None:
            raise MissingError("strace is not installed (apt-get install strace)")
        self._files = synchronous_files(pids)
        self._pids = pids
        self._calls = list(_SYNC_CALLS) + (list(_WRITE_CALLS) if self._files else [])
        self.result = Syncs(calls={})

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp())
        self._output = self._folder / "calls"
        command = ["strace", "-f", "-s", "0", "-o", str(self._output)]
        command += ["-e", "trace=" + ",".join(self._calls), "-e", "signal=none"]
        for pid in self._pids:
            command += ["-p", str(pid)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._wait_attached()
        return self

    def _wait_attached(self) -> None:
        """Blocks until strace has said of every process that it is attached."""
        assert self._process.stderr is not None
        waiting, end = len(self._pids), time.monotonic() + TRACE_ATTACH_S_MAX
        poll = select.poll()
        poll.register(self._process.stderr, select.POLLIN)
        while waiting and time.monotonic() < end and self._process.poll() is None:
            if poll.poll(100):
                line = self._process.stderr.readline()
                if "not permitted" in line:
                    self._end()
                    raise MissingError("this user may not trace processes")
                waiting -= "attached" in line

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.communicate(timeout=END_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def __exit__(self, *_: object) -> None:
        self._end()
        text = self._output.read_text(errors="replace") if self._output.exists() else ""
        self.result = count_syncs(text, self._files)
        shutil.rmtree(self._folder, ignore_errors=True)


def count_syncs(text: str, files: set[int]) -> Syncs:
    """Returns the syncs in strace's lines; of writes only those to `files`."""
    calls: dict[str, int] = {}
    for line in text.splitlines():
        # The second half of an interrupted call has no arguments, and so is not found again.
        found = _TRACED.search(line)
        if found is None:
            continue
        name, first = found[1], int(found[2], 0)
        if name in _SYNC_CALLS or (name in _WRITE_CALLS and first in files):
            calls[name] = calls.get(name, 0) + 1
    return Syncs(calls=calls)

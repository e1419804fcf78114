"""What is one worker process, seen from the node?

A `Worker` is a process, two pipes and the bytes on their way: never waited for longer than asked,
never believed. It can be stopped and continued at any instruction, its processor time is read from
outside, and its end, however it comes, is an exception for whoever speaks to it then.

Invariants: the process is ours until it has been reaped, so its number is never another's; a frame
longer than `FRAME_BYTES_MAX` is not read; one thread speaks to a worker at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Final

from lithox.errors import ConfigError
from lithox.sandbox.meters import REQUEST_BYTES_MAX
from lithox.sandbox.python.wire import (
    LENGTH_BYTES,
    RUNTIME_VERSION,
    Event,
    EventKind,
    WireError,
    decode_event,
)

FRAME_BYTES_MAX: Final = 64 << 20
"""An outcome of `OUTCOME_BYTES_MAX`, with what its text form adds."""
CALL_BYTES_MAX: Final = 2 * REQUEST_BYTES_MAX
"""A call of `REQUEST_BYTES_MAX`, with what its text form adds; it is ended before more is kept."""
READ_BYTES: Final = 1 << 18
PIPE_BYTES: Final = 512 << 10
"""Room for an image that is sent ahead, so that nobody has to wait for the worker to read it."""
END_WAIT_S: Final = 0.05
"""How long a worker that has closed its pipe may take to be gone before it is made to."""
ADDRESS_BYTES: Final = 256 << 20
"""Address space of a worker that holds nothing (116 MiB measured), and room for its allocator."""
CHECK_ADDRESS_BYTES: Final = 4 << 30
"""The same for one that checks types: the checker maps much and uses 60 MiB."""
CPUCLOCK_SCHED: Final = 2
"""Source: linux/posix-timers_types.h: the clock of process p is (~p << 3) | 2."""
PAGE_BYTES: Final = resource.getpagesize()
LAUNCHER: Final = Path(__file__).with_name("launcher.py")
BINARY: Final = "monty"
PACKAGE: Final = "pydantic-monty-runtime"


class WorkerGone(Exception):
    """The process has ended, or its pipe has.

    Attributes:
        status: as `subprocess` has it: negative for a signal; None when it had to be ended.
    """

    def __init__(self, status: int | None) -> None:
        super().__init__(f"the worker ended with {status}")
        self.status = status


def find_binary() -> Path:
    """Returns the worker's program as its package has installed it.

    Raises:
        ConfigError: it is not installed, or in another version than this one speaks to.
    """
    try:
        found = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        raise ConfigError(
            f"Python handlers need the package {PACKAGE}=={RUNTIME_VERSION}", file=BINARY
        ) from None
    if found.version != RUNTIME_VERSION:
        raise ConfigError(
            f"Python handlers need {PACKAGE}=={RUNTIME_VERSION}; found {found.version}",
            file=BINARY,
        )
    for file in found.files or ():
        path = Path(str(found.locate_file(file)))
        if file.name == BINARY and path.is_file():
            return path.resolve()
    raise ConfigError(f"{PACKAGE} has no program {BINARY}", file=BINARY)


class Worker:
    """One process. Made off the event loop: starting takes 20 ms of a processor.

    Attributes:
        pid: its number.
        runs: sessions it has served.
        is_stopped: it is held by SIGSTOP.
        has_spoken: it has said something, so it has bound its life to the node's before.
        taken_bytes: size of all events taken from it.
    """

    __slots__ = (
        "_cpu_clock",
        "_inbox",
        "_outbox",
        "_poller",
        "_process",
        "_statm",
        "_stdin",
        "_stdout",
        "has_spoken",
        "is_stopped",
        "pid",
        "runs",
        "taken_bytes",
    )

    def __init__(self, binary: Path) -> None:
        """Starts it. The calling thread must outlive it: its death kills the worker.

        Raises:
            OSError: no process can be made.

        Blocks: about a millisecond.
        """
        self._process = subprocess.Popen(  # noqa: S603 - our own launcher
            [sys.executable, "-I", "-S", str(LAUNCHER), str(binary), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            bufsize=0,
        )
        self.pid = self._process.pid
        self._cpu_clock = (~self.pid << 3) | CPUCLOCK_SCHED
        self._statm = -1
        self._inbox = bytearray()
        self._outbox = bytearray()
        self.runs = 0
        self.is_stopped = False
        self.has_spoken = False
        self.taken_bytes = 0
        try:
            self._open()
        except BaseException:
            # Nobody would ever know of it: not to be left running, nor unburied.
            self.reap()
            raise

    def _open(self) -> None:
        """Makes its pipes ready, and what is read of it from outside; raises OSError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin.fileno()
        self._stdout = self._process.stdout.fileno()
        with contextlib.suppress(OSError):
            # Beyond the system's allowance for pipes an image is written in pieces instead.
            fcntl.fcntl(self._stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self._stdin, False)
        os.set_blocking(self._stdout, False)
        self._poller = select.poll()
        self._poller.register(self._stdout, select.POLLIN)
        self._statm = os.open(f"/proc/{self.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)

    def cpu_ns(self) -> int:
        """Returns processor time of all its threads; raises WorkerGone when it is no more."""
        try:
            return time.clock_gettime_ns(self._cpu_clock)
        except OSError:
            raise WorkerGone(self._reap()) from None

    def memory_bytes(self) -> int:
        """Returns memory that is its own; what all workers share of the program is not."""
        try:
            fields = os.pread(self._statm, 128, 0).split()
            return max(0, int(fields[1]) - int(fields[2])) * PAGE_BYTES
        except (OSError, IndexError, ValueError):
            return 0

    def bound_address_space(self, size_bytes: int) -> None:
        """Lets its memory grow to that much; beyond, its allocator ends it."""
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(self.pid, resource.RLIMIT_AS, (size_bytes, resource.RLIM_INFINITY))

    def send(self, request: bytes) -> None:
        """Queues `request`; `exchange` writes what does not fit now. Never blocks."""
        self._outbox += request
        self._write()

    def _write(self) -> None:
        was_empty = not self._outbox
        try:
            while self._outbox:
                del self._outbox[: os.write(self._stdin, self._outbox)]
        except BlockingIOError:
            self._poller.register(self._stdin, select.POLLOUT)
            return
        except OSError:
            # Its end is told by the other pipe, which may hold its last words.
            self._outbox.clear()
        if not was_empty:
            with contextlib.suppress(KeyError):
                self._poller.unregister(self._stdin)

    def take_event(self) -> Event | None:
        """Returns the next event that has arrived whole, or None. Never blocks.

        Raises:
            WireError: no healthy worker sends that.
        """
        length = self.waiting_bytes()
        if length is None:
            return None
        end = LENGTH_BYTES + length
        frame = bytes(memoryview(self._inbox)[LENGTH_BYTES:end])
        del self._inbox[:end]
        self.taken_bytes += length
        return decode_event(frame)

    def waiting_bytes(self) -> int | None:
        """Returns the size of the next event that has arrived whole, or None. Never blocks.

        Raises:
            WireError: what has begun to arrive is larger than what is read.
        """
        inbox = self._inbox
        if len(inbox) < LENGTH_BYTES:
            return None
        length = int.from_bytes(inbox[:LENGTH_BYTES], "little")
        if length > FRAME_BYTES_MAX:
            raise WireError(f"a frame of {length} bytes")
        kind = inbox[LENGTH_BYTES] >> 3 if len(inbox) > LENGTH_BYTES else 0
        if length > CALL_BYTES_MAX and kind == EventKind.FUNCTION_CALL:
            raise WireError(f"a call of {length} bytes; at most {CALL_BYTES_MAX} are read")
        return length if len(inbox) >= LENGTH_BYTES + length else None

    def exchange(self, timeout_ms: float) -> bool:
        """Reads and writes what can be; returns False when nothing could within the time.

        Raises:
            WorkerGone: it has ended.

        Blocks: at most `timeout_ms`, without holding the interpreter's lock.
        """
        ready = self._poller.poll(timeout_ms)
        if not ready:
            return False
        for descriptor, _ in ready:
            if descriptor == self._stdin:
                self._write()
                continue
            try:
                data = os.read(self._stdout, READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                raise WorkerGone(self._reap())
            self._inbox += data
            self.has_spoken = True
        return True

    def stop(self) -> None:
        """Holds it where it is, if it has spoken. Idempotent.

        Held before, it might outlive the node: it has not bound its life to the node's yet. What
        it runs until its next slice counts all the same.
        """
        if not self.is_stopped and self.has_spoken:
            self.is_stopped = True
            self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on. Idempotent."""
        if self.is_stopped:
            self.is_stopped = False
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, number)

    def _reap(self) -> int | None:
        """Returns how it ended; None when it had to be ended first."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(END_WAIT_S)
        self.kill()
        return None

    def is_alive(self) -> bool:
        """Returns whether it has not ended yet. Never blocks."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Ends it, at whatever instruction it is. Never blocks; `reap` must follow."""
        self._signal(signal.SIGKILL)

    def reap(self) -> None:
        """Ends it, waits until it is gone, and closes its pipes. Idempotent.

        Blocks: for as long as the system takes to free its memory.
        """
        self.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout):
            assert file is not None
            with contextlib.suppress(OSError):
                file.close()
        if self._statm >= 0:
            os.close(self._statm)
            self._statm = -1

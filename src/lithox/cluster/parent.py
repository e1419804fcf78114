"""THE PARENT of a server of several processes: starts them, starts them again, ends them.

It holds the lock on the data directory, which its processes inherit, so that nobody else opens the
directory while one of them lives; it does no other work. A process:

    STARTING  has been started and has not said that it serves
    READY     serves
    GONE      has ended; unless the server stops it is started again, after a pause that doubles
              with each death that follows soon

Invariants: before all are READY for the first time the first failure ends everything, and is told;
afterwards only a stop does. A process whose parent dies is ended by the kernel of the machine
(PR_SET_PDEATHSIG) and by the end of its control stream. Every start has a listening socket of its
own, bound here; a bound socket that never listens keeps the address between two starts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from lithox.cluster.control import Control, failure_of
from lithox.errors import LithoxError, PeerProtocolError, StoreUnavailable

PAUSE_FIRST_S: Final = 0.1
PAUSE_S_MAX: Final = 10.0
LIVED_WELL_S: Final = 30.0
"""A process that has served so long dies of something new: the pause begins small again."""
STOP_S_MAX: Final = 45.0
"""From the stop to the end: two graces of ten seconds, services, and time for the disk."""
_log: Final = logging.getLogger("lithox.cluster")


@dataclass(slots=True, kw_only=True)
class Start:
    """What one start of a process needs.

    Attributes:
        begin: what it is told first; `fds` is added.
        sockets: by name; handed over and closed here.
    """

    begin: dict[str, Any]
    sockets: dict[str, socket.socket]


@dataclass(slots=True, kw_only=True)
class _Child:
    """One process as its parent knows it."""

    number: int
    process: asyncio.subprocess.Process
    control: Control
    is_ready: bool = False
    is_drained: bool = False


@dataclass(slots=True, kw_only=True)
class Parent:
    """All processes of one server. `run` once.

    Attributes:
        count: how many.
        module: what each runs: `python -m module FD`.
        prepare: makes what a start of process n needs; raises LithoxError.
        lock_fd: of the lock on the data directory, inherited by each.
        on_ready: told once, when all serve for the first time.
    """

    count: int
    module: str
    prepare: Callable[[int], Start]
    lock_fd: int
    on_ready: Callable[[], None]
    _children: dict[int, _Child] = field(default_factory=dict[int, _Child])
    _was_ready: bool = False
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _failure: Exception | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event) -> None:
        """Keeps the processes until `stop` is set; returns when all have ended.

        Raises:
            LithoxError: why one of them could not be started the first time; none is left.
        """
        keepers = [asyncio.create_task(self._keep(number)) for number in range(self.count)]
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set() and self._failure is None:
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait({stopped, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                self._changed.clear()
                self._tell_ready()
            await self._stop(keepers)
        finally:
            stopped.cancel()
            self.kill()
        if self._failure is not None:
            raise self._failure

    def is_serving(self, number: int) -> bool:
        """Returns whether process `number` has said that it serves."""
        child = self._children.get(number)
        return child is not None and child.is_ready

    def kill(self) -> None:
        """Ends every process at once."""
        for child in self._children.values():
            with suppress(ProcessLookupError):
                child.process.kill()

    def _tell_ready(self) -> None:
        is_all = len(self._children) == self.count
        if not self._was_ready and is_all and all(c.is_ready for c in self._children.values()):
            self._was_ready = True
            self.on_ready()

    # One process.

    async def _keep(self, number: int) -> None:
        """Has process `number` run until the server stops."""
        loop = asyncio.get_running_loop()
        pause_s = PAUSE_FIRST_S
        while not self._stopping.is_set():
            begun_s = loop.time()
            try:
                child = await self._start(number)
            except (LithoxError, OSError) as error:
                self._note_failure(number, error)
            else:
                await self._listen(child)
                status = await child.process.wait()
                del self._children[number]
                child.control.close()
                self._changed.set()
                if self._stopping.is_set():
                    return
                self._note_end(number, status)
            if self._failure is not None:
                return
            if loop.time() - begun_s > LIVED_WELL_S:
                pause_s = PAUSE_FIRST_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def _start(self, number: int) -> _Child:
        start = self.prepare(number)
        ours, theirs = socket.socketpair()
        fds = {name: one.fileno() for name, one in start.sockets.items()}
        fds["lock"] = self.lock_fd
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self.module,
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *fds.values()),
                # Ctrl-C is told to the parent, who says what it means for all.
                process_group=0,
            )
        finally:
            theirs.close()
            for one in start.sockets.values():
                one.close()
        child = _Child(number=number, process=process, control=await Control.open(ours))
        self._children[number] = child
        child.control.say("begin", fds=fds, parent=os.getpid(), **start.begin)
        if self._stopping.is_set():
            process.send_signal(signal.SIGTERM)
        return child

    async def _listen(self, child: _Child) -> None:
        """Notes what a process says, until it says no more."""
        while True:
            try:
                said = await child.control.hear()
            except PeerProtocolError:
                said = None
            if said is None:
                return
            match said.get("say"):
                case "ready":
                    child.is_ready = True
                    if self._was_ready:
                        _log.warning("process %d serves again", child.number)
                case "drained":
                    child.is_drained = True
                    if not self._stopping.is_set():
                        # Somebody told this one alone to stop: it ends, and is started again.
                        child.control.say("close")
                case "failed":
                    self._note_failure(child.number, failure_of(said))
                case _:
                    _log.error("process %d says what nobody understands", child.number)
            self._changed.set()

    def _note_failure(self, number: int, error: Exception) -> None:
        if self._was_ready:
            _log.error("process %d cannot serve: %s", number, error)
        elif self._failure is None and not self._stopping.is_set():
            self._failure = error
            self._changed.set()

    def _note_end(self, number: int, status: int) -> None:
        text = f"signal {-status}" if status < 0 else f"status {status}"
        if self._was_ready:
            _log.error("process %d ended with %s; it is started again", number, text)
        elif self._failure is None:
            self._failure = StoreUnavailable(
                f"process {number} of this server ended with {text} before it was ready; its log "
                "says why"
            )
            self._changed.set()

    # The end.

    async def _stop(self, keepers: list[asyncio.Task[None]]) -> None:
        """Has all finish what they have, then end; ends by force what takes too long."""
        self._stopping.set()
        for child in self._children.values():
            with suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S_MAX):
                while not all(c.is_drained for c in self._children.values()):
                    await self._changed.wait()
                    self._changed.clear()
                # Only now nobody needs another's help to answer.
                for child in self._children.values():
                    child.control.say("close")
                while self._children:
                    await self._changed.wait()
                    self._changed.clear()
        except TimeoutError:
            _log.error("%d processes did not end in time; they are killed", len(self._children))
            self.kill()
        # The directory is free when this returns: whoever inherited its lock is gone.
        await asyncio.gather(*keepers)

"""Runs that somebody outside watches: started through init, followed by offset, fed with input.

Every run has a session, kept by the PID of its process until its end has been read or, unread,
for a minute. A reader that stays away for half a minute counts as gone: the program goes on, and
output beyond the buffer is dropped, which the next reader is told.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from lithox.dispatch.job import Clock
from lithox.dispatch.programs.process import Exit
from lithox.dispatch.programs.sessions import Session
from lithox.errors import BadArguments, DeadlinePassed, NotFound, NotPermitted, Overloaded
from lithox.model.limits import Limits
from lithox.model.request import Caller
from lithox.node.init_process import InitProcess

SESSIONS_MAX: Final = 1_000
READER_GONE_NS: Final = 30_000_000_000
EXIT_KEPT_NS: Final = 60_000_000_000
WAIT_MS_MAX: Final = 60_000
INPUT_WAIT_S: Final = 30.0
NUMBER_DIGITS_MAX: Final = 15
_STOPS: Final = "the node stops"


@dataclass(slots=True)
class _Watched:
    """A session and when somebody last read from it."""

    session: Session
    read_ns: int
    ended_ns: int | None = None


@dataclass(slots=True, kw_only=True)
class RunsFromOutside:
    """All watched runs of a node."""

    init: InitProcess
    clock: Clock
    _by_number: dict[int, _Watched] = field(default_factory=dict[int, _Watched])
    _by_pid: dict[int, _Watched] = field(default_factory=dict[int, _Watched])
    _last_number: int = 0

    async def run(self, order: dict[str, Any], limits: Limits | None, caller: Caller) -> int:
        """Starts a program and returns its PID.

        Args:
            order: program, or code and name; runtime, args, priority, mode.

        Raises:
            NotPermitted: not an administrator.
            Overloaded: as many watched runs as there may be.
            LithoxError: why it does not start.
        """
        if not caller.is_admin:
            raise NotPermitted(f"{caller.identity} may not run programs: it takes an administrator")
        if (order.get("program") is None) == (order.get("code") is None):
            raise BadArguments("run takes either a program's name or code")
        self.sweep()
        if len(self._by_number) + len(self._by_pid) >= SESSIONS_MAX:
            self._drop_oldest_end()
        if len(self._by_number) + len(self._by_pid) >= SESSIONS_MAX:
            raise Overloaded(
                f"{SESSIONS_MAX} runs are being watched; try again", retry_after_ms=1_000
            )
        self._last_number += 1
        number = self._last_number
        watched = _Watched(Session(), self.clock.monotonic_ns())
        self._by_number[number] = watched
        said = {key: value for key, value in order.items() if value is not None}
        # Each run has the account of whoever asked for it, never init's own.
        said["account"] = caller.account
        if limits is not None:
            said["limits"] = _limits_table(limits)
        try:
            values = await self.init.call("run", {**said, "session": number})
            pid = watched.session.pid if watched.session.pid is not None else int(values[0])
        except BaseException:
            self._by_number.pop(number, None)
            raise
        self._by_number.pop(number, None)
        self._by_pid[pid] = watched
        return pid

    def open_session(self, name: str) -> Session:
        """Returns the session init asks for by its number; raises NotFound."""
        is_number = name.isdecimal() and len(name) <= NUMBER_DIGITS_MAX
        watched = self._by_number.get(int(name)) if is_number else None
        if watched is None:
            raise NotFound("no such session")
        return watched.session

    def _get(self, pid: int) -> _Watched:
        watched = self._by_pid.get(pid)
        if watched is None:
            raise NotFound(f"no run as process {pid} is being watched")
        return watched

    async def read(self, pid: int, after: int, wait_ms: int) -> dict[str, Any]:
        """Returns output from offset `after` on, waiting up to `wait_ms` for some.

        Everything before `after` counts as read and is forgotten. That the program has begun to
        wait for input is told at once, too. The end of the run is told once all its output has
        been read.
        """
        watched = self._get(pid)
        session = watched.session
        loop = asyncio.get_running_loop()
        end_s = loop.time() + min(max(wait_ms, 0), WAIT_MS_MAX) / 1000
        while True:
            watched.read_ns = self.clock.monotonic_ns()
            session.is_attached = True
            chunks, missed = session.output_after(after)
            left_s = end_s - loop.time()
            is_news = session.is_hungry and not session.is_hunger_told
            if chunks or is_news or session.exit is not None or left_s <= 0:
                break
            await _watch(session, left_s)
        session.is_hunger_told = session.is_hungry
        ended = session.exit
        return {
            "chunks": [
                {"offset": one.offset, "stream": one.stream, "data": one.data} for one in chunks
            ],
            "next": chunks[-1].offset + len(chunks[-1].data) if chunks else max(after, 0),
            "missed": missed,
            "reading": session.is_hungry,
            "exit": exit_to_plain(ended) if ended is not None and not chunks else None,
        }

    async def write(self, pid: int, data: bytes, *, is_end: bool) -> None:
        """Feeds the program's input; waits while its buffer is full.

        Raises:
            DeadlinePassed: it did not read for half a minute.
        """
        session = self._get(pid).session
        loop = asyncio.get_running_loop()
        end_s = loop.time() + INPUT_WAIT_S
        while data and not session.feed(data):
            if session.exit is not None or session.is_input_over:
                raise NotFound("the program takes no more input")
            if loop.time() >= end_s:
                raise DeadlinePassed("the program does not read its input")
            await _wait(session.when_taken, end_s - loop.time())
        if is_end:
            session.end_input()

    def sweep(self) -> None:
        """Lets go of readers that stay away and of ends nobody asks for."""
        now_ns = self.clock.monotonic_ns()
        for pid, watched in list(self._by_pid.items()):
            if watched.session.exit is not None:
                if watched.ended_ns is None:
                    watched.ended_ns = now_ns
                elif now_ns - max(watched.ended_ns, watched.read_ns) > EXIT_KEPT_NS:
                    del self._by_pid[pid]
            elif now_ns - watched.read_ns > READER_GONE_NS:
                watched.session.detach()

    def _drop_oldest_end(self) -> None:
        for pid, watched in self._by_pid.items():
            if watched.session.exit is not None:
                del self._by_pid[pid]
                return

    def finish_all(self) -> None:
        """Lets everybody who waits go: the node closes."""
        for watched in (*self._by_pid.values(), *self._by_number.values()):
            if watched.session.exit is None:
                watched.session.finish(Exit(status=63, code="store.unavailable", message=_STOPS))


async def _watch(session: Session, left_s: float) -> None:
    await _wait(session.watch, left_s)


async def _wait(ask: Any, left_s: float) -> None:
    """Waits until `ask` calls back, or `left_s` seconds."""
    happened = asyncio.Event()
    cancel = ask(happened.set)
    try:
        await asyncio.wait_for(happened.wait(), left_s)
    except TimeoutError:
        return
    finally:
        cancel()


def _limits_table(limits: Limits) -> dict[str, int]:
    found = {
        "fuel": limits.fuel,
        "memory": limits.memory_bytes,
        "wall_ms": None if limits.wall_ns is None else limits.wall_ns // 1_000_000,
        "output": limits.output_bytes,
        "calls": limits.calls,
    }
    return {name: value for name, value in found.items() if value is not None}


def exit_to_plain(exit_: Exit) -> dict[str, Any]:
    """Returns an end as plain data."""
    return {
        "status": exit_.status,
        "code": exit_.code,
        "message": exit_.message,
        "values": msgspec.msgpack.decode(exit_.values),
    }

"""The parent: all or none at the first start, again and again afterwards, together at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lithox.cluster import parent as parent_module
from lithox.cluster.parent import Parent, Start
from lithox.cluster.sockets import SharedAddress
from lithox.errors import ConfigError, NotFound, StoreUnavailable

MODULE = "tests.unit.cluster.dummy_process"


class Server:
    """A parent over dummy processes; `acts` says what each does when it is started."""

    def __init__(self, folder: Path, *acts: str) -> None:
        self.file = folder / "notes"
        self.file.touch()
        self.acts = list(acts)
        self.ready = asyncio.Event()
        self.readies = 0
        self.stop = asyncio.Event()
        lock = os.open(folder, os.O_RDONLY)
        self.parent = Parent(
            count=len(acts),
            module=MODULE,
            prepare=self.prepare,
            lock_fd=lock,
            on_ready=self.note_ready,
        )
        self.task = asyncio.create_task(self.run(lock))

    async def run(self, lock: int) -> None:
        try:
            await self.parent.run(self.stop)
        finally:
            os.close(lock)

    def prepare(self, number: int) -> Start:
        begin = {"number": number, "act": self.acts[number], "file": str(self.file)}
        return Start(begin=begin, sockets={})

    def note_ready(self) -> None:
        self.readies += 1
        self.ready.set()

    def notes(self, what: str) -> list[list[str]]:
        lines = [one.split() for one in self.file.read_text().splitlines()]
        return [one for one in lines if one[0] == what]

    def pids(self) -> list[int]:
        return [int(one[2]) for one in self.notes("begun")]


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await body()

    asyncio.run(bounded())


async def until(is_so: Callable[[], bool]) -> None:
    """Returns when it is so; what another process does can only be looked at again and again."""
    while not is_so():  # noqa: ASYNC110 - another process tells nobody here
        await asyncio.sleep(0)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_process_that_dies_is_started_again_and_the_others_stay(tmp_path):
    """Only the dead one is new; ready is told once; at the end all have gone, drained first."""

    async def body():
        server = Server(tmp_path, "serve", "serve", "serve")
        await server.ready.wait()
        first = server.pids()
        killed = next(int(pid) for _, number, pid in server.notes("begun") if number == "1")
        os.kill(killed, signal.SIGKILL)
        await until(lambda: len(server.pids()) == 4)
        assert server.notes("begun")[-1][1] == "1"
        again = server.pids()[-1]
        # Told to stop by itself it ends, and is started again, too.
        await until(lambda: server.parent.is_serving(1))
        os.kill(again, signal.SIGTERM)
        await until(lambda: len(server.pids()) == 5)
        await until(lambda: server.parent.is_serving(1))
        before = len(server.file.read_text().splitlines())
        server.stop.set()
        await server.task
        assert server.readies == 1
        last = [one.split()[0] for one in server.file.read_text().splitlines()[before:]]
        assert last == ["drained"] * 3 + ["closed"] * 3
        for pid in (*first, *server.pids()):
            assert is_gone(pid)

    run(body)


def test_the_first_failure_ends_all_and_is_told(tmp_path):
    """An operator gets the error itself, and nothing is left running."""

    async def body():
        server = Server(tmp_path, "wait", "fail")
        with pytest.raises(NotFound, match="no such thing"):
            await server.task
        assert server.readies == 0
        for pid in server.pids():
            assert is_gone(pid)

    run(body)


def test_a_death_before_all_are_ready_is_a_failure(tmp_path):
    """What cannot be started once is not started for ever."""

    async def body():
        server = Server(tmp_path, "serve", "die")
        with pytest.raises(StoreUnavailable, match=r"process 1 .* status 3"):
            await server.task
        assert len(server.notes("begun")) <= 2

    run(body)


def test_a_process_that_cannot_be_started_any_more_is_tried_again(tmp_path):
    """Afterwards nothing but a stop ends the server."""

    async def body():
        server = Server(tmp_path, "serve", "serve")
        await server.ready.wait()
        server.acts[1] = "fail"
        os.kill(next(int(p) for _, n, p in server.notes("begun") if n == "1"), signal.SIGKILL)
        await until(lambda: len(server.notes("begun")) >= 4)
        server.acts[1] = "serve"
        await until(lambda: server.parent.is_serving(1))
        server.stop.set()
        await server.task

    run(body)


def test_what_does_not_end_is_killed(tmp_path, monkeypatch):
    """A process that is stuck does not keep the directory from its next server."""
    monkeypatch.setattr(parent_module, "STOP_S_MAX", 0.2)

    async def body():
        server = Server(tmp_path, "serve", "serve")
        await server.ready.wait()
        stuck = server.pids()[0]
        os.kill(stuck, signal.SIGSTOP)
        server.stop.set()
        await server.task
        assert is_gone(stuck)

    run(body)


def test_an_address_is_shared_by_its_own_sockets_only():
    """Sockets of one server share it; one that somebody listens on is refused."""
    shared = SharedAddress("127.0.0.1", 0)
    first, second = shared.open_socket(), shared.open_socket()
    try:
        first.listen()
        assert first.getsockname() == second.getsockname() == ("127.0.0.1", shared.port)
        with pytest.raises(ConfigError, match="Address already in use"):
            SharedAddress("127.0.0.1", shared.port)
        second.listen()
        first.close()
        # New connections go to who is left.
        socket.create_connection(second.getsockname(), 5).close()
        shared.open_socket().close()
    finally:
        for one in (first, second, shared):
            one.close()


def test_an_address_that_is_none_is_an_operators_error():
    """It names what was wanted."""
    with pytest.raises(ConfigError, match=r"no-such-host\.invalid:80"):
        SharedAddress("no-such-host.invalid", 80)

"""A command waits for a node of this machine that is just starting."""

from __future__ import annotations

import asyncio
import socket

import pytest

from lithox.cli.waiting_node import ATTEMPTS_MAX, PAUSE_SECONDS, wait_until_listening

URL = "http://127.0.0.1:7070"


class Machine:
    """Refuses connections so many times; sleeping takes no time."""

    def __init__(self, refusals: int, error: Exception | None = None) -> None:
        self.refusals = refusals
        self.error = error or ConnectionRefusedError()
        self.tried: list[tuple[str, int]] = []
        self.slept: list[float] = []

    def connect(self, address: tuple[str, int]) -> None:
        self.tried.append(address)
        if len(self.tried) <= self.refusals:
            raise self.error

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def wait(self, url: str) -> None:
        asyncio.run(wait_until_listening(url, connect=self.connect, sleep=self.sleep))


def test_a_node_that_starts_is_waited_for_and_that_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It goes on with the first connection that is taken."""
    machine = Machine(refusals=4)
    machine.wait(URL)
    assert (len(machine.tried), machine.slept) == (5, [PAUSE_SECONDS] * 4)
    ended = capsys.readouterr()
    assert (ended.out, ended.err) == ("", f"no node at {URL} yet; waiting for it, at most 3s\n")


def test_a_node_that_is_there_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """One connection, no word."""
    machine = Machine(refusals=0)
    machine.wait(URL)
    assert (len(machine.tried), machine.slept, capsys.readouterr().err) == (1, [], "")


def test_the_wait_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing ever listens, whoever asks next tells so."""
    machine = Machine(refusals=ATTEMPTS_MAX + 100)
    machine.wait(URL)
    assert len(machine.tried) == ATTEMPTS_MAX
    assert sum(machine.slept) == pytest.approx(3)
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "error", [TimeoutError(), OSError("no route"), socket.gaierror(), ValueError("port")]
)
def test_only_a_refused_connection_is_waited_for(error: Exception) -> None:
    """Anything else is no node that starts."""
    machine = Machine(refusals=1, error=error)
    machine.wait(URL)
    assert (len(machine.tried), machine.slept) == (1, [])


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost:7070", ("localhost", 7070)),
        ("http://[::1]:7070/", ("::1", 7070)),
        ("https://127.3.2.1", ("127.3.2.1", 443)),
        ("http://10.0.0.1:7070", None),
        ("http://node.example:7070", None),
        ("ftp://127.0.0.1:7070", None),
        ("http://127.0.0.1:seven", None),
        ("http://127.0.0.1:99999", None),
        ("http://[::1", None),
        ("127.0.0.1:7070", None),
        ("", None),
    ],
)
def test_only_this_machine_is_asked(url: str, address: tuple[str, int] | None) -> None:
    """A node elsewhere, or what is no address, is left to the client."""
    machine = Machine(refusals=0)
    machine.wait(url)
    assert machine.tried == ([] if address is None else [address])

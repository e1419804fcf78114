"""The load generator keeps its promises against a server of the test's own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.peers.asking import Asker, Plan
from bench.peers.wires import resp_message

END = b"\r\nend\r\n"


@contextmanager
def serving(answer: Callable[[int, int], bytes | None]) -> Iterator[tuple[int, list[int]]]:
    """Gives the port of a server, and how many requests each of its reads brought.

    `answer` makes the answers of (requests so far, requests of this read); None closes.
    """
    seen: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(sock: socket.socket) -> None:
        with sock:
            while data := sock.recv(1 << 16):
                count = data.count(END)
                seen.append(count)
                words = answer(sum(seen), count)
                if words is None:
                    return
                sock.sendall(words)

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def run(folder: Path, port: int, *, messages: int, **plan: Any) -> dict[str, Any]:
    path = folder / "messages"
    path.write_bytes(
        msgspec.msgpack.encode([resp_message([f"{n}", "end"]) for n in range(messages)])
    )
    whole = Plan(kind="resp", host="127.0.0.1", port=port, messages=str(path), **plan)
    return Asker(whole).run()


def test_each_message_is_asked_once(tmp_path: Path) -> None:
    """A plan of `once` ends by itself, with every message answered once."""
    with serving(lambda _, count: b":1\r\n" * count) as (port, seen):
        found = run(
            tmp_path, port, messages=100, connections=2, outstanding=3, seconds=30.0, is_once=True
        )
    assert found["answered"] == sum(seen) == 100
    assert found["p50_us"] > 0


def test_no_more_requests_are_under_way_than_callers(tmp_path: Path) -> None:
    """A server that answers everything it has read never has more than the plan's callers."""
    with serving(lambda _, count: b":1\r\n" * count) as (port, seen):
        run(tmp_path, port, messages=50, outstanding=4, seconds=30.0, is_once=True)
    assert max(seen) <= 4


def test_errors_are_failures_and_no_answers(tmp_path: Path) -> None:
    """What the server refuses is counted apart, with its first words."""
    with serving(lambda _, count: b"-BUSY wait\r\n" * count) as (port, _):
        found = run(tmp_path, port, messages=3, seconds=30.0, is_once=True)
    assert (found["answered"], found["failed"], found["first_failure"]) == (0, 3, "BUSY wait")


def test_the_highest_number_of_each_message_is_kept(tmp_path: Path) -> None:
    """A recorded plan says what was acknowledged, message by message."""
    with serving(lambda total, _: f":{total}\r\n".encode()) as (port, _):
        found = run(tmp_path, port, messages=3, seconds=30.0, is_once=True, is_recorded=True)
    assert found["highest"] == {0: 1, 1: 2, 2: 3}


def test_a_server_that_goes_away_ends_the_load(tmp_path: Path) -> None:
    """What was answered before stays, and that the server closed is said."""
    with serving(lambda total, _: b":1\r\n" if total < 4 else None) as (port, _):
        found = run(tmp_path, port, messages=9, seconds=30.0, is_once=True)
    assert found["answered"] == 3
    assert found["is_closed"]


def test_a_server_that_is_not_there_is_an_end_and_no_error(tmp_path: Path) -> None:
    """A peer that died beside a memory eater answers nothing; that is a figure."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = run(tmp_path, unused.getsockname()[1], messages=1, seconds=30.0)
    assert (found["answered"], found["is_closed"]) == (0, True)

"""Answers are found in streams of three kinds, however the bytes come."""

from __future__ import annotations

import msgspec
import pytest

from bench.peers.wires import (
    READERS,
    Action,
    Answer,
    Wire,
    http_message,
    iproto_message,
    number_in,
)

HTTP = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n17"
    b"HTTP/1.1 500 Error\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n"
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n18\r\n0\r\n\r\n"
)


def make_iproto(code: int, body: dict[int, object]) -> bytes:
    """Returns an answer as Tarantool writes it: numbers of the header in full width."""
    header = b"\x83\x00\xce" + code.to_bytes(4) + b"\x01\xcf" + bytes(8) + b"\x05\xce" + bytes(4)
    data = header + msgspec.msgpack.encode(body)
    return b"\xce" + len(data).to_bytes(4) + data


IPROTO = (
    b"Tarantool".ljust(128)
    + make_iproto(0, {0x30: [17]})
    + make_iproto(0x8003, {0x31: "no"})
    + make_iproto(0, {0x30: [300_000]})
)


def read(kind: str, data: bytes, step: int) -> list[Answer]:
    reader = READERS[kind]()
    found: list[Answer] = []
    for first in range(0, len(data), step):
        found += reader.feed(data[first : first + step])
    return found


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("kind", "data", "numbers"),
    [
        ("http", HTTP, [17, None, 18]),
        ("resp", b":17\r\n-ERR no\r\n$2\r\n18\r\n", [17, None, 18]),
        ("iproto", IPROTO, [17, None, 300_000]),
    ],
)
def test_answers_are_found_however_they_are_cut(
    kind: str, data: bytes, numbers: list[int | None], step: int
) -> None:
    """Each answer comes once, in order, with its number, and errors are told from answers."""
    found = read(kind, data, step)
    assert [one.is_ok for one in found] == [number is not None for number in numbers]
    assert [number_in(kind, one.value) for one in found if one.is_ok] == [
        number for number in numbers if number is not None
    ]


def test_half_an_answer_is_none() -> None:
    """What has not come whole is not counted."""
    assert read("http", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n17", 100) == []
    assert read("resp", b"$5\r\n17", 100) == []
    assert read("iproto", IPROTO[: 128 + 9], 100) == []


def test_the_value_of_an_answer_of_lithox_is_its_number() -> None:
    """Our HTTP answers are maps with a value."""
    assert number_in("http", b'{"status": "ok", "value": 5}') == 5
    assert number_in("http", b"no json") is None


def test_a_wire_says_an_action_in_its_own_words() -> None:
    """The same action is a request of HTTP, a command, or a call."""
    action = Action("increment", "e5")
    http = Wire(kind="http", host="h", port=1, words=lambda one: (f"/{one.entity}", "{}"))
    resp = Wire(kind="resp", host="h", port=1, words=lambda one: ["CALL", one.entity])
    iproto = Wire(kind="iproto", host="h", port=1, words=lambda one: (one.handler, [one.entity]))
    assert http.encode(action) == http_message("h:1", "/e5", "{}")
    assert http.encode(action).endswith(b"Content-Length: 2\r\n\r\n{}")
    assert resp.encode(action) == b"*2\r\n$4\r\nCALL\r\n$2\r\ne5\r\n"
    message = iproto.encode(action)
    assert message == iproto_message("increment", ["e5"])
    assert int.from_bytes(message[1:5]) == len(message) - 5

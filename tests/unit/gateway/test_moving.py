"""Archives over HTTP: streamed both ways, broken off rather than falsified, bounded."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lithox.gateway.app import Gateway
from lithox.gateway.protocol import STREAM_STEP_BYTES, bounded_protocol
from lithox.gateway.settings import GatewaySettings
from lithox.model.archive import KIND_ENTITIES, KIND_STORE, MEDIA_TYPE
from tests.unit.gateway.asgi_client import send
from tests.unit.gateway.fake_moving import ROW, archive
from tests.unit.gateway.fake_node import FakeNode

JSONL = (("content-type", MEDIA_TYPE),)


def test_a_backup_leaves_chunk_by_chunk():
    """The body is the archive, of no announced length, under its media type."""
    node = FakeNode()
    got = send("GET", "/v1/backup", node=node)
    assert got.status == 200
    assert got.headers["content-type"] == MEDIA_TYPE
    assert "content-length" not in got.headers
    assert got.body == b"".join(archive(KIND_STORE, 3))
    assert node.closed == ["backup"]


def test_head_makes_no_archive():
    """Who asks for the headers only costs no reading of the store."""
    node = FakeNode()
    got = send("HEAD", "/v1/backup", node=node)
    assert (got.status, got.body, node.closed) == (200, b"", [])


@pytest.mark.parametrize(
    ("target", "pattern"),
    [("a/b", "a/b"), ("shop/**", "shop/**"), ("shop/%2A", "shop/*"), ("%2a%2A", "**")],
)
def test_an_export_takes_a_path_or_a_pattern(target: str, pattern: str):
    """Wildcards come plain or percent-encoded."""
    node = FakeNode()
    got = send("GET", f"/v1/export/{target}", node=node)
    assert (got.status, node.closed) == (200, [pattern])
    assert got.body == b"".join(archive(KIND_ENTITIES, 1))


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [("none", 404, "request.not_found"), ("fails/early", 500, "store.corrupt")],
)
def test_what_is_wrong_at_once_is_an_error_answer(target: str, status: int, code: str):
    """As long as nothing has left, the answer is the error and not a broken body."""
    got = send("GET", f"/v1/export/{target}")
    assert (got.status, got.code) == (status, code)


def test_a_failure_half_way_breaks_the_answer_off():
    """The last piece is never marked as last, so that a server closes the connection."""
    node = FakeNode()
    messages = asyncio.run(ask(node, "/v1/export/fails/late"))
    assert [one.get("more_body") for one in messages[1:]] == [True, True]
    assert node.closed == ["fails/late"]


def test_who_leaves_ends_the_making():
    """With the client gone the next chunk is the last, and the source is told."""
    node = FakeNode()
    messages = asyncio.run(ask(node, "/v1/backup", leaves_after=2))
    assert len(messages) <= 4
    assert not any(one.get("more_body") is False for one in messages)
    assert node.closed == ["backup"]


async def ask(node: FakeNode, path: str, *, leaves_after: int | None = None) -> list[dict]:
    """Returns what is sent in answer to a GET; the client leaves after so many messages."""
    sent: list[dict[str, Any]] = []
    gone = asyncio.Event()
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if asked == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def answer(message: dict[str, Any]) -> None:
        sent.append(message)
        if leaves_after is not None and len(sent) >= leaves_after:
            gone.set()
        await asyncio.sleep(0)

    scope = {
        "type": "http",
        "method": "GET",
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    await Gateway(node, GatewaySettings())(scope, receive, answer)
    return sent


def test_an_import_reads_the_body_as_it_comes():
    """In any pieces, with its mode; the answer says what was done."""
    node = FakeNode()
    data = b"".join(archive(KIND_ENTITIES, 2))
    parts = [data[:5], data[5:60], b"", data[60:]]
    got = send("POST", "/v1/import?mode=replace", parts=parts, headers=JSONL, node=node)
    assert got.json == {"imported": 1, "skipped": 0, "keys": 1, "in_pieces": []}
    assert node.imports == [("replace", data)]


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"parts": [b"{}"]}, 400, "bodies are application/jsonl"),
        ({"parts": [b"{}"], "headers": JSONL}, 400, "not a whole archive"),
        ({"parts": [ROW * 3], "headers": JSONL}, 413, "a body has at most 100 bytes"),
        ({"parts": [ROW, ROW, ROW], "headers": (*JSONL, ("transfer-encoding", "chunked"))},
         413, "a body has at most 100 bytes"),
        ({"parts": [b"x"], "headers": (*JSONL, ("content-encoding", "gzip"))},
         400, "not compressed"),
    ],
)  # fmt: skip
def test_a_body_that_is_not_what_is_taken_is_refused(
    options: dict[str, Any], status: int, words: str
):
    """Another media type, no archive, compressed, or longer than its bound."""
    node = FakeNode()
    settings = GatewaySettings(stream_bytes_max=100)
    got = send("POST", "/v1/import", node=node, settings=settings, **options)
    assert (got.status, node.imports) == (status, [])
    assert words in got.message


def test_an_unknown_mode_is_refused():
    """What to do with entities that are there is one of three words."""
    got = send("POST", "/v1/import?mode=merge", parts=[b""], headers=JSONL)
    assert (got.status, got.code) == (400, "request.bad_arguments")


class Armed:
    """Stands for the loop of a connection: remembers which timers were set and cancelled."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def call_later(self, _delay_s: float, _action: Any) -> Any:
        self.events.append("armed")
        return SimpleNamespace(cancel=lambda: self.events.append("cancelled"))


@pytest.mark.parametrize(
    ("sizes", "is_answered", "events"),
    [
        ([STREAM_STEP_BYTES], False, ["cancelled", "armed"]),
        ([STREAM_STEP_BYTES - 1], False, []),
        ([STREAM_STEP_BYTES // 2] * 4, False, ["cancelled", "armed"] * 2),
        ([STREAM_STEP_BYTES] * 2, True, []),
    ],
)
def test_a_long_body_that_comes_on_gets_new_time(
    sizes: list[int], is_answered: bool, events: list[str]
):
    """Each 64 KiB of a streamed body, until it is answered; a body that only trickles gets none."""
    protocol: Any = object.__new__(bounded_protocol(GatewaySettings()))
    protocol.loop = loop = Armed()
    protocol.cycle = SimpleNamespace(response_complete=is_answered)
    protocol._stream_bytes = 0
    protocol._timer = None
    protocol._arm()
    for size in sizes:
        protocol._note_progress(size)
    assert loop.events == ["armed", *events]

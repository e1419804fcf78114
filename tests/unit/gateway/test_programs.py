"""Programs over HTTP: start, describe, follow, feed; who may, and what is refused."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from lithox.gateway.app import Gateway
from lithox.gateway.process_routes import WAIT_MS_MAX
from lithox.gateway.settings import GatewaySettings
from lithox.model.limits import Limits
from tests.unit.gateway.asgi_client import AsgiClient, send
from tests.unit.gateway.fake_node import FakeNode
from tests.unit.gateway.fake_programs import FIRST_PID, FakeRun


def start(node: FakeNode, **body: Any) -> int:
    """Starts a program; returns its PID."""
    got = send("POST", "/v1/processes", body, node=node)
    assert got.status == 201, got.body
    return got.json["pid"]


def test_a_program_is_started_by_name_with_all_that_goes_with_it():
    """Every field of the body arrives at the node, values unescaped."""
    node = FakeNode()
    pid = start(
        node,
        program="hello",
        runtime="compat-5.1",
        args=[1, "x", {"$bytes": base64.b64encode(b"\xff").decode()}],
        limits={"fuel": 9, "memory": 8, "wall_ms": 7, "output": 6, "calls": 5},
        priority=3,
        mode="cooperative",
    )
    order = node.runs[pid].order
    assert pid == FIRST_PID
    assert (order["program"], order["runtime"], order["code"]) == ("hello", "compat-5.1", None)
    assert order["args"] == [1, "x", b"\xff"]
    assert order["limits"] == Limits(
        fuel=9, memory_bytes=8, wall_ns=7_000_000, output_bytes=6, calls=5
    )
    assert (order["priority"], order["mode"]) == (3, "cooperative")
    assert order["caller"].is_admin


@pytest.mark.parametrize(
    ("code", "expected"),
    [("print(1)", b"print(1)"), ({"$bytes": base64.b64encode(b"\xfe").decode()}, b"\xfe")],
)
def test_a_program_is_started_as_code(code, expected):
    """Text, or bytes that are not UTF-8."""
    node = FakeNode()
    pid = start(node, code=code, name="hello")
    assert node.runs[pid].order["code"] == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"program": "hello", "color": 1}, "unknown field `color`"),
        ({"program": "hello", "limits": {"state": 1}}, "unknown field `state`"),
        ({"program": "hello", "limits": {"fuel": 0}}, "`int` >= 1"),
        ({"program": "hello", "priority": 10}, "`int` <= 9"),
        ({"program": "hello", "mode": "lazy"}, "Invalid enum value 'lazy'"),
        ({"program": 5}, "Expected `str | null`"),
        ({"code": {"$map": {}}}, "Expected `str`, got `object`"),
        ({"code": {"x": "y"}}, "code is a text or"),
        ({"program": "hello", "args": [[[]], {"$x": 1}]}, 'first key starts with "$"'),
    ],
)
def test_a_wrong_order_is_refused_by_what_is_wrong(body, words):
    """400, and nothing was started."""
    node = FakeNode()
    got = send("POST", "/v1/processes", body, node=node)
    assert (got.status, got.code) == (400, "request.bad_arguments")
    assert words in got.message
    assert node.runs == {}


def test_code_may_be_longer_than_other_bodies_and_has_a_bound():
    """A program of a mebibyte fits whatever its JSON looks like; a deploy's bound holds."""
    node = FakeNode()
    start(node, code="\n" * (1 << 20), name="hello")
    settings = GatewaySettings(deploy_bytes_max=1000)
    got = send("POST", "/v1/processes", {"code": "x" * 1000}, node=node, settings=settings)
    assert got.status == 413


def test_output_is_a_page_from_an_offset_on():
    """Text as text, other bytes escaped, the end behind everything else."""
    node = FakeNode()
    pid = start(node, program="hello", args=["you"])
    first = send("GET", f"/v1/processes/{pid}/output", node=node).json
    assert first == {
        "chunks": [
            {"offset": 0, "stream": "out", "data": "hello you\n"},
            {"offset": 1, "stream": "err", "data": "\x1b[2J\n"},
        ],
        "next": 2,
        "missed": 0,
        "reading": False,
        "exit": None,
    }
    last = send("GET", f"/v1/processes/{pid}/output?after=2&wait_ms=100", node=node).json
    assert (last["chunks"], last["exit"]) == (
        [],
        {"status": 0, "code": "", "message": "", "values": [1, {"$bytes": "/g=="}]},
    )


def test_output_that_is_no_text_is_escaped():
    """Bytes that are not UTF-8 arrive as they are."""
    node = FakeNode()
    pid = start(node, program="binary")
    page = send("GET", f"/v1/processes/{pid}/output", node=node).json
    assert page["chunks"][0]["data"] == {"$bytes": "/xtbMkoK"}


def test_a_reader_waits_until_there_is_something():
    """A long poll is answered by the output that comes, not before."""

    async def wait() -> tuple[Any, bool]:
        node = FakeNode()
        node.runs[9] = run = FakeRun({"program": "cat"})
        client = AsgiClient(Gateway(node, GatewaySettings()))
        polling = asyncio.ensure_future(client.send("GET", "/v1/processes/9/output?wait_ms=30000"))
        for _ in range(5):
            await asyncio.sleep(0)
        was_done = polling.done()
        run.write("out", b"now")
        return (await polling).json["chunks"], was_done

    assert asyncio.run(wait()) == ([{"offset": 0, "stream": "out", "data": "now"}], False)


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", f"wait_ms={WAIT_MS_MAX + 1}", "wait_ms=1s", "before=1"]
)
def test_a_wrong_query_is_refused(query):
    """Offsets and waits are whole numbers within bounds."""
    node = FakeNode()
    node.runs[9] = FakeRun({"program": "cat"})
    got = send("GET", f"/v1/processes/9/output?{query}", node=node)
    assert (got.status, got.code) == (400, "request.bad_arguments")


def test_input_arrives_as_bytes_and_its_end_is_told():
    """Text and bytes; `end` alone says that no more comes."""
    node = FakeNode()
    node.runs[9] = run = FakeRun({"program": "cat"})
    for body in ({"data": "ü"}, {"data": {"$bytes": "/w=="}}, {"end": True}):
        assert send("POST", "/v1/processes/9/input", body, node=node).status == 204
    assert (run.input, run.is_input_over) == ("ü".encode() + b"\xff", True)


def test_one_process_is_described():
    """The row of the table, or 404."""
    assert send("GET", "/v1/processes/7").json["process"]["pid"] == 7
    assert send("GET", "/v1/processes/8").status == 404
    assert send("GET", "/v1/processes/x").status == 400


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/processes", {"program": "hello"}),
        ("GET", "/v1/processes/9/output", None),
        ("POST", "/v1/processes/9/input", {"data": "x"}),
    ],
)
def test_only_administrators_run_programs(method, path, body):
    """403 for anybody else, 401 for strangers."""
    node = FakeNode(has_tokens=True)
    node.runs[9] = FakeRun({"program": "cat"})
    for token, status in (("alice-token", 403), ("wrong", 401)):
        headers = [("authorization", f"Bearer {token}")]
        assert send(method, path, body, node=node, headers=headers).status == status
    headers = [("authorization", "Bearer admin-token")]
    assert send(method, path, body, node=node, headers=headers).status < 300


def test_a_process_that_is_not_there_is_404():
    """Reading and feeding say so."""
    assert send("GET", "/v1/processes/9/output").status == 404
    assert send("POST", "/v1/processes/9/input", {"data": "x"}).status == 404

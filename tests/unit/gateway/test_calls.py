"""Calls of the whole application in process: shapes, values, errors, malformed bodies."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from lithox.gateway.app import Gateway
from lithox.gateway.settings import GatewaySettings
from tests.unit.gateway.asgi_client import AsgiClient, Got, send
from tests.unit.gateway.fake_node import FakeNode

CALL = "/v1/entities/counter/alice:echo"


def test_call_answers_in_the_shape_of_the_contract():
    """A call answers id, status, value and usage, and nothing else."""
    got = send("POST", CALL, {"args": [5]}, headers=[("Idempotency-Key", "r-1")])
    assert got.status == 200
    assert got.json == {
        "request": "r-1",
        "status": "ok",
        "value": [5],
        "usage": {"fuel": 7, "cpu_us": 0, "ms": 0.0, "memory": 0, "attempts": 1},
    }


def test_call_passes_limits_deadline_and_id_to_the_node():
    """What the body asks arrives as the model's own record."""
    node = FakeNode()
    body = {"limits": {"fuel": 9, "memory": 8, "wall_ms": 7}, "deadline_ms": 6}
    send("POST", CALL, body, headers=[("Idempotency-Key", "r")], node=node)
    request = node.requests[0]
    assert request.limits is not None
    assert (request.limits.fuel, request.limits.memory_bytes) == (9, 8)
    assert request.limits.wall_ns == 7_000_000
    assert (request.deadline_ns, request.request_id, request.args) == (6_000_000, "r", [])


def test_call_without_body_has_no_arguments():
    """An empty body means every default."""
    assert send("POST", CALL).json["value"] == []


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        9223372036854775807,
        -9223372036854775808,
        0.5,
        "\N{SNOWMAN}",
        [],
        {},
        {"a": [1]},
        {"$bytes": base64.b64encode(b"\xff\x00").decode()},
        {"$map": {"$bytes": "no base64"}},
    ],
)
def test_call_carries_every_kind_of_value_both_ways(value):
    """What goes in through JSON comes out as the same JSON."""
    assert send("POST", CALL, {"args": [value]}).json["value"] == [value]


def test_call_gives_bytes_to_the_node_as_bytes():
    """The escape is undone before the node sees the value."""
    node = FakeNode()
    send("POST", CALL, {"args": [{"$bytes": "/w=="}]}, node=node)
    assert node.requests[0].args == [b"\xff"]


@pytest.mark.parametrize(
    ("handler", "status", "code", "error"),
    [
        ("raise", 422, "app.sold_out", {"message": "no more apples", "left": 0}),
        (
            "fuel",
            422,
            "guest.out_of_fuel",
            {"message": "out of fuel", "limit": "fuel", "used": 10, "allowed": 9},
        ),
        ("nope", 404, "request.not_found", {"message": "no handler 'nope'"}),
    ],
)
def test_call_error_has_the_same_shape_with_code_fields_and_usage(handler, status, code, error):
    """An error names its code and fields, with the status of the one table."""
    got = send("POST", f"/v1/entities/a:{handler}")
    assert (got.status, got.code, got.json["error"]) == (status, code, error)
    assert got.json["usage"]["fuel"] == 7
    assert got.json["request"] is None


def test_overload_says_when_to_come_back():
    """Retry-After is in whole seconds, rounded up."""
    got = send("POST", "/v1/entities/a:busy")
    assert (got.status, got.headers["retry-after"]) == (429, "2")
    assert got.json["error"]["retry_after_ms"] == 1500


def test_a_bug_answers_500_without_telling_its_inside(caplog):
    """Our own fault is logged under a reference; the caller sees only the reference."""
    got = send("POST", "/v1/entities/a:bug")
    assert (got.status, got.code) == (500, "internal")
    assert b"secret inside" not in got.body
    assert got.json["error"]["reference"] in caplog.text
    assert "secret inside" in caplog.text


def test_a_client_that_leaves_does_not_end_the_run():
    """A run whose client has gone is neither cancelled nor asked again."""
    node = FakeNode()
    client = AsgiClient(Gateway(node, GatewaySettings()))

    async def leave() -> Got:
        task = asyncio.ensure_future(client.send("POST", "/v1/entities/a:wait"))
        await node.arrival("a").wait()
        assert not task.done()
        node.gates["a"].set_result(None)
        return await task

    assert asyncio.run(leave()).json["value"] == "waited"
    assert len(node.requests) == 1


def test_a_body_cut_short_by_the_client_starts_nothing():
    """A client gone in mid body leaves no run and gets no answer."""
    node = FakeNode()
    gateway = Gateway(node, GatewaySettings())
    sent: list[Any] = []
    messages = [
        {"type": "http.request", "body": b'{"args":', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def answer(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "raw_path": CALL.encode(),
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"content-length", b"100"),
            (b"content-type", b"application/json"),
        ],
    }
    asyncio.run(gateway(scope, receive, answer))
    assert sent == []
    assert node.requests == []


def test_a_forced_stop_answers_503_and_says_how_to_find_out():
    """A request cut off by the end of the stop's grace is told to ask again with its id."""
    node = FakeNode()
    client = AsgiClient(Gateway(node, GatewaySettings()))

    async def cut() -> Got:
        task = asyncio.ensure_future(client.send("POST", "/v1/entities/a:wait"))
        await node.arrival("a").wait()
        task.cancel()
        return await task

    got = asyncio.run(cut())
    assert (got.status, got.code) == (503, "store.unavailable")
    assert "ask again with the same request id" in got.message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "the body is not JSON in UTF-8: Input data was truncated"),
        (b"[]", "the body has another shape than expected: Expected `object`, got `array`"),
        (
            b'{"args": 5}',
            "the body has another shape than expected: Expected `array`, got `int` - at `$.args`",
        ),
        (
            b'{"arg": []}',
            "the body has another shape than expected: Object contains unknown field `arg`",
        ),
        (
            b'{"limits": {"gas": 1}}',
            (
                "the body has another shape than expected: "
                "Object contains unknown field `gas` - at `$.limits`"
            ),
        ),
        (
            b'{"limits": {"fuel": 0}}',
            "the body has another shape than expected: Expected `int` >= 1 - at `$.limits.fuel`",
        ),
        (
            b'{"limits": {"fuel": 1.5}}',
            (
                "the body has another shape than expected: "
                "Expected `int | null`, got `float` - at `$.limits.fuel`"
            ),
        ),
        (
            b'{"deadline_ms": -1}',
            "the body has another shape than expected: Expected `int` >= 1 - at `$.deadline_ms`",
        ),
        (b'{"args": [18446744073709551616]}', "integers are 64-bit signed; found"),
        (b'{"args": [NaN]}', "the body is not JSON in UTF-8: JSON is malformed"),
        (b'{"args": [1e999]}', "the body has another shape than expected: Number out of range"),
        (b'{"args": ["\xff"]}', "the body is not JSON in UTF-8"),
        (b'{"args": [' + b"[" * 200 + b"]" * 200 + b"]}", "values nest at most 64 levels deep"),
        (b'{"args": ' + b"[" * 100_000, "values nest at most 64 levels deep"),
        (b'{"args": [{"$bytes": "?"}]}', '"$bytes" holds base64; found something else'),
        (b'{"args": [{"$what": 1}]}', 'a map whose first key starts with "$" is'),
    ],
)
def test_malformed_body_is_refused_with_what_was_expected_and_found(raw, message):
    """Bad JSON, shapes, names, ranges and depths are 400 with a message that helps."""
    got = send("POST", CALL, parts=[raw])
    assert (got.status, got.code) == (400, "request.bad_arguments")
    assert got.message.startswith(message)


def test_a_body_of_exactly_the_bound_is_taken():
    """The bound itself is allowed."""
    raw = b'{"args": ["' + b"x" * 1000
    raw += b"y" * ((1 << 20) - len(raw) - 3) + b'"]}'
    assert len(raw) == 1 << 20
    assert send("POST", CALL, parts=[raw]).status == 200


def test_a_longer_body_is_refused_before_any_of_it_is_read():
    """One byte above the bound is 413 from its announced length alone."""
    client = AsgiClient(Gateway(FakeNode(), GatewaySettings()))
    length = str((1 << 20) + 1)
    got = asyncio.run(client.send("POST", CALL, parts=[b"x"], headers=[("Content-Length", length)]))
    assert (got.status, got.code) == (413, "request.too_large")
    assert got.json["error"] == {
        "message": "a body has at most 1048576 bytes",
        "allowed": 1048576,
    }
    assert client.reads == 0


def test_a_body_of_unannounced_length_is_cut_at_the_bound():
    """A chunked body is not read further than the bound and one part."""
    client = AsgiClient(Gateway(FakeNode(), GatewaySettings(body_bytes_max=10)))
    chunked = [("Transfer-Encoding", "chunked")]
    got = asyncio.run(client.send("POST", CALL, parts=[b"x" * 8] * 50, headers=chunked))
    assert (got.status, got.code) == (413, "request.too_large")
    assert client.reads == 2


def test_a_body_in_single_bytes_reads_like_a_whole_one():
    """How a body is cut into parts makes no difference."""
    raw = json.dumps({"args": ["\N{SNOWMAN}", 1]}).encode()
    got = send("POST", CALL, parts=[raw[i : i + 1] for i in range(len(raw))])
    assert got.json["value"] == ["\N{SNOWMAN}", 1]

"""The whole application in process: every route, every refusal of the contract."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from lithox.gateway.app import Gateway
from lithox.gateway.settings import GatewaySettings
from tests.unit.gateway.asgi_client import AsgiClient, Got
from tests.unit.gateway.fake_node import FakeNode

CALL = "/v1/entities/counter/alice:echo"


def send(method: str, target: str | bytes, body: Any = None, **kwargs: Any) -> Got:
    """Sends one request to a fresh gateway over a fresh fake node, or over `node`."""
    node = kwargs.pop("node", None) or FakeNode()
    settings = kwargs.pop("settings", GatewaySettings())
    client = AsgiClient(Gateway(node, settings))
    return asyncio.run(client.send(method, target, body, **kwargs))


# -- calls ----------------------------------------------------------------------------------


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


# -- malformed bodies -----------------------------------------------------------------------


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


# -- headers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "code", "message"),
    [
        (
            [("Content-Type", "text/plain")],
            400,
            "request.bad_arguments",
            "bodies are application/json; found Content-Type 'text/plain'",
        ),
        (
            [("Content-Type", "application/json; charset=latin-1")],
            400,
            "request.bad_arguments",
            "JSON is UTF-8; found charset 'latin-1'",
        ),
        (
            [("Content-Encoding", "gzip")],
            400,
            "request.bad_arguments",
            "bodies are not compressed; remove the Content-Encoding header",
        ),
        (
            [("Host", "evil.example")],
            403,
            "request.not_permitted",
            (
                "the Host header names 'evil.example', which is not this node; list it "
                "under allowed_hosts in the configuration"
            ),
        ),
        (
            [("Origin", "https://evil.example")],
            403,
            "request.not_permitted",
            (
                "pages of origin 'https://evil.example' may not call this node; list "
                "their host under allowed_hosts in the configuration"
            ),
        ),
        ([("Origin", "null")], 403, "request.not_permitted", "pages of origin 'null'"),
        (
            [("Idempotency-Key", "a"), ("Idempotency-Key", "a")],
            400,
            "request.bad_arguments",
            "header idempotency-key was sent more than once",
        ),
        (
            [("Host", "localhost"), ("Host", "localhost")],
            400,
            "request.bad_arguments",
            "header host was sent more than once",
        ),
        (
            [("Idempotency-Key", "no spaces")],
            400,
            "request.bad_arguments",
            "a request id is 1-128 of [A-Za-z0-9._~-]; found 'no spaces'",
        ),
        (
            [("Idempotency-Key", "x" * 129)],
            400,
            "request.bad_arguments",
            "a request id is 1-128 of [A-Za-z0-9._~-]; found",
        ),
        (
            [("Content-Length", "abc")],
            400,
            "request.bad_arguments",
            "the Content-Length header is a decimal number of bytes",
        ),
        (
            [("Prefer", "respond-async")],
            501,
            "request.not_available",
            "asynchronous requests are not available on this node yet",
        ),
    ],
)
def test_a_header_that_decides_is_checked(headers, status, code, message):
    """Each guard refuses with the table's status and says what was found."""
    got = send("POST", CALL, {"args": []}, headers=headers)
    assert (got.status, got.code) == (status, code)
    assert got.message.startswith(message)


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Type", "application/json; charset=UTF-8")],
        [("Host", "localhost")],
        [("Host", "[::1]:7070")],
        [("Host", "127.0.0.1:7070"), ("Origin", "http://127.0.0.1:7070")],
        [("Host", "LOCALHOST:1")],
    ],
)
def test_what_is_ours_passes_the_guards(headers):
    """Loopback names, the node's own origin and JSON with its charset are taken."""
    assert send("POST", CALL, {"args": []}, headers=headers).status == 200


def test_a_request_without_host_is_refused():
    """HTTP/1.1 wants one Host header."""
    got = send("GET", "/v1/node", is_bare=True)
    assert (got.status, got.message) == (400, "a request has one Host header; found none")


def test_configured_hosts_and_origins_pass():
    """The operator's names are the node's names."""
    settings = GatewaySettings(hosts=frozenset({"node.example", "app.example"}))
    headers = [("Host", "node.example"), ("Origin", "https://app.example:8443")]
    assert send("GET", "/v1/node", headers=headers, settings=settings).status == 200


def test_a_node_on_every_address_answers_to_addresses_but_not_to_names():
    """Rebinding needs a name; a literal address cannot be rebound."""
    settings = GatewaySettings(host="0.0.0.0")
    token = ("Authorization", "Bearer alice-token")
    node = FakeNode(has_tokens=True)
    good = send(
        "GET", "/v1/node", headers=[("Host", "10.0.0.9:1"), token], settings=settings, node=node
    )
    bad = send(
        "GET", "/v1/node", headers=[("Host", "a.example"), token], settings=settings, node=node
    )
    assert (good.status, bad.status) == (200, 403)


# -- who ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer wrong")],
        [("Authorization", "Basic YTpi")],
        [("Authorization", "Bearer ")],
        [("Authorization", "Bearer \xff\xfe")],
    ],
)
def test_an_unknown_caller_gets_401_and_is_told_how(headers):
    """Where tokens are configured, one of them is wanted."""
    got = send("POST", CALL, headers=headers, node=FakeNode(has_tokens=True))
    assert (got.status, got.code) == (401, "request.unauthenticated")
    assert got.headers["www-authenticate"] == 'Bearer realm="lithox"'


def test_a_token_names_the_caller():
    """The node's answer for a token is the caller of the request."""
    node = FakeNode(has_tokens=True)
    got = send("POST", CALL, headers=[("Authorization", "bearer alice-token")], node=node)
    assert got.status == 200
    assert node.requests[0].caller.identity == "alice"


def test_no_token_passes_nowhere_but_loopback():
    """Without configured tokens a gateway that others can reach lets nobody in."""
    settings = GatewaySettings(host="192.0.2.1")
    got = send("GET", "/v1/node", settings=settings, headers=[("Host", "192.0.2.1")])
    assert got.status == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/openapi.json"])
def test_probes_and_the_document_need_no_token(path):
    """What tells nothing of anybody is public."""
    assert send("GET", path, node=FakeNode(has_tokens=True)).status == 200


@pytest.mark.parametrize("path", ["/metrics", "/v1/node", "/v1/audit", "/v1/entities"])
def test_what_tells_of_the_node_needs_a_token(path):
    """Figures and names are for known callers."""
    assert send("GET", path, node=FakeNode(has_tokens=True)).status == 401


# -- paths ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/entities/a", "a call names ENTITY:HANDLER; found 'a'"),
        ("/v1/entities/:x", "an entity path is 1-16 segments"),
        ("/v1/entities/a:", "a handler name is [a-z_][a-z0-9_]{0,63}; found ''"),
        ("/v1/entities/a:Bad", "a handler name is [a-z_][a-z0-9_]{0,63}; found 'Bad'"),
        ("/v1/entities/../x:y", "an entity path is 1-16 segments"),
        ("/v1/entities/a//b:y", "an entity path is 1-16 segments"),
        ("/v1/entities/a%2Fb:y", "entity path: segments are joined by a plain '/'"),
        ("/v1/entities/a%2:y", "entity path: a '%' is followed by two hexadecimal digits"),
        ("/v1/entities/a%zz:y", "entity path: a '%' is followed by two hexadecimal digits"),
        ("/v1/entities/a%ff:y", "entity path: is percent-encoded UTF-8"),
        ("/v1/entities/a%00:y", "an entity path is 1-16 segments"),
        ("/v1/entities/" + "/".join("a" * 17) + ":y", "an entity path is 1-16 segments"),
        ("/v1/entities/" + "a" * 65 + ":y", "an entity path is 1-16 segments"),
    ],
)
def test_a_path_that_is_not_exactly_right_is_refused(path, message):
    """Nothing in a path is repaired, shortened or guessed."""
    got = send("POST", path)
    assert (got.status, got.code) == (400, "request.bad_arguments")
    assert got.message.startswith(message)


def test_an_encoded_spelling_of_an_allowed_character_is_the_same_entity():
    """`%40` is `@`: percent-encoding has one reading."""
    node = FakeNode()
    send("POST", "/v1/entities/user/%40alice:echo", node=node)
    assert node.requests[0].entity == "user/@alice"


@pytest.mark.parametrize("path", ["/", "/v2/node", "/v1/nodes", "/healthz/", "/v1/node%"])
def test_an_unknown_path_is_404_and_names_the_document(path):
    """Who is lost is told where the list is."""
    got = send("GET", path)
    assert (got.status, got.code) == (404, "request.not_found")
    assert got.message == f"no such path: {path}; /v1/openapi.json lists what is there"


def test_a_wrong_method_names_the_right_ones():
    """The answer tells what the path takes, in words and in Allow."""
    got = send("PATCH", "/v1/state/a:b")
    assert (got.status, got.headers["allow"]) == (404, "DELETE, GET, PUT")
    assert got.message == "/v1/state/a:b takes DELETE, GET, PUT; found PATCH"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/entities?limit=0", "limit is an integer of 1 to 500; found '0'"),
        ("/v1/entities?limit=x", "limit is an integer of 1 to 500; found 'x'"),
        ("/v1/entities?size=1", "unknown query parameter 'size'; known are prefix, after, limit"),
        ("/v1/entities?limit=1&limit=2", "query parameter 'limit' is given more than once"),
        ("/v1/node?x=1", "unknown query parameter 'x'; known are none"),
        ("/v1/entities?prefix=%f", "query parameter 'prefix': a '%' is followed by two"),
    ],
)
def test_a_query_that_is_not_exactly_right_is_refused(path, message):
    """Unknown, repeated or malformed parameters are 400."""
    got = send("GET", path)
    assert got.status == 400
    assert got.message.startswith(message)


# -- administration -------------------------------------------------------------------------


def test_state_goes_in_and_out_under_any_key():
    """A key may hold any text; it is percent-encoded in the path."""
    node = FakeNode()
    path = "/v1/state/a/b:k%2F%25%3A%C3%BC%20x"
    assert send("PUT", path, {"value": {"$bytes": "/w=="}}, node=node).status == 204
    assert node.state == {"a/b": {"k/%:ü x": b"\xff"}}
    assert send("GET", path, node=node).json == {"value": {"$bytes": "/w=="}}
    assert send("GET", "/v1/state/a/b", node=node).json["items"] == {"k/%:ü x": {"$bytes": "/w=="}}
    assert send("DELETE", path, node=node).status == 204
    assert send("GET", path, node=node).status == 404


@pytest.mark.parametrize("key", ["", "%00system", "%ff", "x" * 513])
def test_a_key_no_caller_may_use_is_refused(key):
    """Empty, too long, not UTF-8, or one of the system's own."""
    assert send("GET", f"/v1/state/a:{key}").status == 400


def test_put_state_wants_a_value():
    """A forgotten value is not null."""
    got = send("PUT", "/v1/state/a:k", {})
    assert got.message == (
        "the body has another shape than expected: Object missing required field `value`"
    )


def test_entities_are_listed_in_pages():
    """A page says whether others follow."""
    node = FakeNode(state={name: {} for name in ("a/1", "a/2", "a/3", "b/1")})
    first = send("GET", "/v1/entities?prefix=a%2F&limit=2", node=node).json
    assert first == {"entities": ["a/1", "a/2"], "more": True}
    rest = send("GET", "/v1/entities?prefix=a/&after=a/2&limit=2", node=node).json
    assert rest == {"entities": ["a/3"], "more": False}


def test_an_entity_is_shown_and_deleted():
    """Describe, delete, and then it is not there."""
    node = FakeNode(state={"a": {"k": 1}})
    assert send("GET", "/v1/entities/a", node=node).json["keys"] == 1
    assert send("DELETE", "/v1/entities/a", node=node).status == 204
    assert send("GET", "/v1/entities/a", node=node).status == 404


def test_handlers_are_read_and_written():
    """The handler table goes in and out in one shape."""
    node = FakeNode()
    table = {"handlers": {"go": {"priority": 5}}}
    assert send("PUT", "/v1/handlers/a", table, node=node).status == 204
    assert send("GET", "/v1/handlers/a", node=node).json == table


def test_processes_are_listed_and_ended():
    """A process number that is none is refused before the node is asked."""
    node = FakeNode()
    assert send("GET", "/v1/processes", node=node).json["processes"][0]["pid"] == 7
    assert send("DELETE", "/v1/processes/7", node=node).status == 204
    assert node.killed == [7]
    assert send("DELETE", "/v1/processes/8", node=node).status == 404
    assert send("DELETE", "/v1/processes/-1", node=node).status == 400


def test_deploy_takes_text_and_bytes():
    """A bundle's files arrive byte for byte."""
    node = FakeNode()
    manifest = (
        '[[template]]\nmatch = "a"\nlanguage = "lua"\nsource = "a.lua"\n'
        '[[template]]\nmatch = "b"\nlanguage = "lua"\nsource = "b.lua"\n'
    )
    files = {"a.lua": "return {}", "b.lua": {"$bytes": "/w=="}}
    got = send("POST", "/v1/deploy", {"manifest": manifest, "files": files}, node=node)
    assert got.status == 200
    assert got.json["templates"] == ["a", "b"]
    assert node.deployed[0].files == {"a.lua": b"return {}", "b.lua": b"\xff"}


def test_deploy_may_be_larger_than_a_call():
    """A deploy has its own bound."""
    settings = GatewaySettings(body_bytes_max=100, deploy_bytes_max=100_000)
    manifest = '[[template]]\nmatch = "a"\nlanguage = "lua"\nsource = "a.lua"\n'
    body = {"manifest": manifest, "files": {"a.lua": "-" * 5000}}
    assert send("POST", "/v1/deploy", body, settings=settings).status == 200
    body["files"] = {"a.lua": "-" * 200_000}
    assert send("POST", "/v1/deploy", body, settings=settings).status == 413


@pytest.mark.parametrize("content", [5, {"$bytes": "?"}, {"text": "x"}, {"$bytes": "", "x": ""}])
def test_deploy_refuses_a_file_of_another_form(content):
    """A file is text or base64."""
    got = send("POST", "/v1/deploy", {"manifest": "", "files": {"a.lua": content}})
    assert (got.status, got.code) == (400, "request.bad_arguments")


def test_deploy_of_a_malformed_manifest_names_file_and_line():
    """What the operator wrote wrong is told where."""
    got = send("POST", "/v1/deploy", {"manifest": "[[template]\n", "files": {}})
    assert got.code == "config.invalid"
    assert got.json["error"]["file"] == "lithox.toml"
    assert got.json["error"]["line"] == 1


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/node"), ("DELETE", "/v1/entities/a")])
def test_a_route_without_body_refuses_one(method, path):
    """A body where none is meant is a mistake of the caller."""
    got = send(method, path, parts=[b"{}"])
    assert (got.status, got.message.endswith("takes no body")) == (400, True)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/atomic"), ("GET", "/v1/requests/r-1?wait_ms=5")]
)
def test_what_comes_later_says_so(method, path):
    """Paths of the contract that are not there yet answer 501, not 404."""
    got = send(method, path)
    assert (got.status, got.code) == (501, "request.not_available")


def test_readiness_follows_the_store():
    """A node that cannot write is alive but not ready."""
    node = FakeNode(ready=False)
    assert send("GET", "/healthz", node=node).status == 200
    got = send("GET", "/readyz", node=node)
    assert (got.status, got.json) == (503, {"status": "store.unavailable"})


def test_head_is_answered_like_get():
    """Probes may ask with HEAD."""
    assert send("HEAD", "/healthz").status == 200


def test_audit_is_read_newest_first_within_a_bound():
    """The number of records is the caller's, up to the page bound."""
    assert send("GET", "/v1/audit?limit=1").json["records"][0]["identity"] == "mallory"
    assert send("GET", "/v1/audit?limit=501").status == 400

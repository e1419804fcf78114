"""What is decided by headers and paths alone: senders, callers, names."""

from __future__ import annotations

import pytest

from lithox.gateway.settings import GatewaySettings
from tests.unit.gateway.asgi_client import send
from tests.unit.gateway.fake_node import FakeNode

CALL = "/v1/entities/counter/alice:echo"


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

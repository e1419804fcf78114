"""Every route beside the call, in process."""

from __future__ import annotations

import pytest

from lithox.gateway.settings import GatewaySettings
from tests.unit.gateway.asgi_client import send
from tests.unit.gateway.fake_node import FakeNode

CALL = "/v1/entities/counter/alice:echo"


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
    assert first == {"entities": ["a/1", "a/2"], "more": True, "after": "a/2"}
    rest = send("GET", "/v1/entities?prefix=a/&after=a/2&limit=2", node=node).json
    assert rest == {"entities": ["a/3"], "more": False, "after": "a/3"}


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

"""The routes and the client of services, against a node that remembers."""

from __future__ import annotations

import asyncio
from typing import Any

from lithox.gateway.app import Gateway
from lithox.gateway.settings import GatewaySettings
from tests.unit.gateway.asgi_client import AsgiClient
from tests.unit.gateway.fake_node import FakeNode
from tests.unit.gateway.fake_services import LOG


def ask(node: FakeNode, method: str, path: str, body: Any = None, token: str = "") -> Any:
    headers = [("authorization", f"Bearer {token}")] if token else []
    client = AsgiClient(Gateway(node, GatewaySettings()))
    return asyncio.run(client.send(method, path, body, headers=headers))


def test_a_definition_goes_in_as_a_manifest_has_it() -> None:
    """What a body says reaches the node, and nothing it does not say."""
    node = FakeNode()
    body = {"program": "p", "args": [{"$bytes": "AA=="}, 2], "requires": ["hello"], "quota": "1MiB"}
    got = ask(node, "PUT", "/v1/services/web", body)
    assert got.status == 200
    assert node.services["web"]["definition"] == {
        "program": "p",
        "args": [b"\x00", 2],
        "requires": ["hello"],
        "quota": "1MiB",
    }


def test_a_wrong_definition_is_the_callers_fault() -> None:
    """An unknown key and a value out of range are refused, by name."""
    node = FakeNode()
    got = ask(node, "PUT", "/v1/services/web", {"program": "p", "colour": 1})
    assert (got.status, got.json["status"]) == (400, "request.bad_arguments")
    got = ask(node, "PUT", "/v1/services/web", {"program": "p", "restart": "maybe"})
    assert (got.status, got.json["status"]) == (400, "config.invalid")
    assert "restart is one of" in got.json["error"]["message"]
    assert "web" not in node.services


def test_acts_are_named_behind_a_colon() -> None:
    """start, stop and restart reach the service the path names."""
    node = FakeNode()
    for act in ("start", "stop", "restart"):
        assert ask(node, "POST", f"/v1/services/hello:{act}").status == 204
    assert node.service_acts == [("start", "hello"), ("stop", "hello"), ("restart", "hello")]
    assert ask(node, "POST", "/v1/services/other:start").status == 404
    assert ask(node, "POST", "/v1/services/hello:dance").status == 404
    assert ask(node, "DELETE", "/v1/services/hello").status == 204
    assert node.services == {}


def test_waiting_is_asked_for_by_query() -> None:
    """`seen` and `wait_ms`, `lines` and `after` reach the node as numbers."""
    node = FakeNode()
    assert ask(node, "GET", "/v1/services/hello?seen=3&wait_ms=50").status == 200
    got = ask(node, "GET", "/v1/services/hello/logs?lines=7")
    assert got.json == {"text": LOG.decode(), "next": len(LOG), "missed": 0}
    ask(node, "GET", "/v1/services/hello/logs?after=9&wait_ms=1")
    assert [act for act, _ in node.service_acts] == ["show 3 50", "logs 7 None 0", "logs None 9 1"]
    assert ask(node, "GET", "/v1/services/hello/logs?lines=99999999").status == 400


def test_only_administrators_pass() -> None:
    """A caller with a token of its own sees no service and changes none."""
    node = FakeNode(has_tokens=True)
    for method, path in (
        ("GET", "/v1/services"),
        ("GET", "/v1/services/hello"),
        ("GET", "/v1/services/hello/logs"),
        ("POST", "/v1/services/hello:stop"),
        ("DELETE", "/v1/services/hello"),
    ):
        assert ask(node, method, path, token="alice-token").status == 403, path
    assert "hello" in node.services

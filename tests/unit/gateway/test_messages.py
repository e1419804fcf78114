"""The routes and the client of messages and timers, against a node that remembers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lithox.gateway.app import Gateway
from lithox.gateway.settings import GatewaySettings
from tests.unit.gateway.asgi_client import AsgiClient
from tests.unit.gateway.fake_node import FakeNode


def ask(node: FakeNode, method: str, path: str, body: Any = None, token: str = "") -> Any:
    headers = [("authorization", f"Bearer {token}")] if token else []
    client = AsgiClient(Gateway(node, GatewaySettings()))
    return asyncio.run(client.send(method, path, body, headers=headers))


def test_what_waits_and_what_is_dead_are_listed_in_pages() -> None:
    """`after` and `limit` reach the node; bytes among arguments are escaped."""
    node = FakeNode()
    got = ask(node, "GET", "/v1/messages?after=m.0&limit=7")
    assert (got.status, got.json["more"], got.json["messages"][0]["tries"]) == (200, True, 2)
    got = ask(node, "GET", "/v1/messages/dead")
    assert got.json["dead"][0]["args"] == [{"$bytes": "/w=="}]
    assert got.json["dead"][1]["unreadable"] == "?"
    assert node.message_acts == [("list", ("m.0", 7)), ("dead", ("", 100))]


def test_dead_letters_are_sent_again_or_forgotten_by_id_or_all() -> None:
    """Which is said each time; a path without its id is no path."""
    node = FakeNode()
    assert ask(node, "POST", "/v1/messages/dead", {"ids": ["m.1"]}).json == {"count": 1}
    assert ask(node, "POST", "/v1/messages/dead", {"all": True}).json == {"count": 2}
    assert ask(node, "DELETE", "/v1/messages/dead/m.1").json == {"count": 1}
    assert ask(node, "DELETE", "/v1/messages/dead").json == {"count": 2}
    acts = [("retry", ["m.1"]), ("retry", None), ("purge", ["m.1"]), ("purge", None)]
    assert node.message_acts == acts
    assert ask(node, "POST", "/v1/messages/dead", {}).status == 400
    assert ask(node, "POST", "/v1/messages/dead", {"ids": ["m.1"], "all": True}).status == 400
    assert node.message_acts == acts
    assert ask(node, "DELETE", "/v1/messages/dead/none").status == 404
    assert ask(node, "DELETE", "/v1/messages/dead/").status == 404
    assert node.message_acts[4:] == [("purge", ["none"])]


def test_timers_of_an_entity_are_listed_and_cancelled() -> None:
    """The path names the entity, and behind a colon the timer."""
    node = FakeNode()
    got = ask(node, "GET", "/v1/timers/a/b?limit=3")
    assert got.json["timers"][0]["args"] == [{"$bytes": "AA=="}, 2]
    assert ask(node, "DELETE", "/v1/timers/a/b:t.1").status == 204
    assert ask(node, "DELETE", "/v1/timers/a/b:t.2").status == 404
    assert node.message_acts == [("timers", ("a/b", "", 3)), ("cancel", ("a/b", "t.1"))]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/messages", None),
        ("GET", "/v1/messages/dead", None),
        ("POST", "/v1/messages/dead", {"all": True}),
        ("DELETE", "/v1/messages/dead", None),
    ],
)
def test_messages_are_for_administrators(method: str, path: str, body: Any) -> None:
    """Rows name entities of everybody."""
    node = FakeNode(has_tokens=True)
    assert ask(node, method, path, body, token="alice-token").status == 403
    assert ask(node, method, path, body, token="admin-token").status == 200

"""The stores of programs, libraries and runtimes over HTTP, in process."""

from __future__ import annotations

import pytest

from lithox.modules import boot
from tests.unit.gateway.asgi_client import send
from tests.unit.gateway.fake_node import FakeNode

HELLO = "/v1/code/program/hello"


@pytest.fixture(autouse=True)
def no_boot_copy(monkeypatch):
    """The package's own programs are not these tests' business."""
    monkeypatch.setattr(boot, "_read_all", lambda kind: {})


def test_a_text_goes_in_and_out_with_its_versions():
    """Set, set again, read either, roll back, list, see the history."""
    node = FakeNode()
    body = {"text": "print(1)", "note": "first", "runtime": "compat-5.1"}
    assert send("PUT", HELLO, body, node=node).json == {"version": 1}
    assert send("PUT", HELLO, {"text": {"$bytes": "/w=="}}, node=node).json == {"version": 2}
    newest = send("GET", HELLO, node=node).json
    assert newest["text"] == {"$bytes": "/w=="}
    assert (newest["info"]["version"], newest["info"]["runtime"]) == (2, "compat-5.1")
    first = send("GET", f"{HELLO}?version=1", node=node).json
    assert (first["text"], first["info"]["note"]) == ("print(1)", "first")
    assert send("POST", f"{HELLO}/rollback", {"version": 1}, node=node).json == {"version": 3}
    rows = send("GET", f"{HELLO}/history?limit=2", node=node).json["versions"]
    assert [(row["version"], row["note"]) for row in rows] == [(3, "rollback to 1"), (2, "")]
    rows = send("GET", f"{HELLO}/history?before=2", node=node).json["versions"]
    assert [row["version"] for row in rows] == [1]
    listed = send("GET", "/v1/code/program", node=node).json
    assert [(row["name"], row["version"]) for row in listed["items"]] == [("hello", 3)]
    assert listed["more"] is False


def test_a_name_is_removed_with_or_without_its_history():
    """The answer is the version that says so; then there is no such name."""
    node = FakeNode()
    send("PUT", HELLO, {"text": "1"}, node=node)
    assert send("DELETE", HELLO, node=node).json == {"version": 2}
    got = send("GET", HELLO, node=node)
    assert (got.status, got.json["status"]) == (404, "request.not_found")
    assert send("GET", f"{HELLO}?version=1", node=node).status == 200
    assert send("DELETE", f"{HELLO}?history=true", node=node).status == 200
    assert send("GET", f"{HELLO}?version=1", node=node).status == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/code/prog/hello", None, 400),
        ("GET", "/v1/code/program/.x", None, 400),
        ("GET", "/v1/code/program/a%2Fb", None, 400),
        ("GET", "/v1/code/program/%ff", None, 400),
        ("GET", f"{HELLO}?version=-1", None, 400),
        ("GET", f"{HELLO}?version=x", None, 400),
        ("GET", f"{HELLO}/history?limit=0", None, 400),
        ("GET", f"{HELLO}/history", None, 404),
        ("PUT", HELLO, {}, 400),
        ("PUT", HELLO, {"text": {"$byte": "x"}}, 400),
        ("PUT", HELLO, {"text": 5}, 400),
        ("PUT", HELLO, {"text": "x", "nope": 1}, 400),
        ("PUT", HELLO, {"text": "x", "runtime": "a b"}, 400),
        ("PUT", HELLO, {"text": "x", "check": "no-such-runtime"}, 404),
        ("PUT", HELLO, {"text": "x", "check": "native"}, 501),
        ("PUT", HELLO, {"text": "x" * ((1 << 20) + 1)}, 413),
        ("PUT", "/v1/code/runtime/compat", {"text": "x"}, 400),
        ("POST", f"{HELLO}/rollback", {"version": 7}, 404),
        ("POST", f"{HELLO}/rollback", {"version": -1}, 400),
        ("POST", f"{HELLO}/rollback", {}, 400),
        ("DELETE", HELLO, None, 404),
        ("DELETE", f"{HELLO}?history=1", None, 400),
        ("POST", HELLO, {}, 404),
    ],
)
def test_mistakes_are_told_and_set_nothing(method, path, body, status):
    """Each has its status; the store stays empty."""
    node = FakeNode()
    assert send(method, path, body, node=node).status == status
    assert send("GET", "/v1/code/program", node=node).json["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/code/program", None),
        ("GET", HELLO, None),
        ("GET", f"{HELLO}/history", None),
        ("PUT", HELLO, {"text": "x"}),
        ("POST", f"{HELLO}/rollback", {"version": 1}),
        ("DELETE", HELLO, None),
    ],
)
def test_only_administrators_use_the_stores(method, path, body):
    """Anybody else is refused, and the refusal is on record."""
    node = FakeNode(has_tokens=True)
    headers = [("authorization", "Bearer alice-token")]
    assert send(method, path, body, node=node, headers=headers).status == 403
    assert [(who, outcome) for who, _, outcome in node.acts] == [("alice", "request.not_permitted")]

"""Groups, requests answered later and their outcomes, over the whole application in process."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.gateway.asgi_client import Got, send
from tests.unit.gateway.fake_node import FakeNode
from tests.unit.gateway.fake_requests import DEAD

CALL = "/v1/entities/counter/alice:increment"
LATER = [("Prefer", "respond-async")]
GROUP = {
    "calls": [
        {"entity": "bank/a", "handler": "take", "args": [{"$bytes": "AA=="}]},
        {"entity": "bank/b", "handler": "give"},
    ]
}


def test_group_answers_a_list_of_values():
    """Calls arrive in order with their own arguments; the answer has the shape of a call's."""
    node = FakeNode()
    body = {**GROUP, "limits": {"fuel": 9}, "deadline_ms": 6}
    got = send("POST", "/v1/atomic", body, headers=[("Idempotency-Key", "r-1")], node=node)
    assert (got.status, got.json["request"], got.json["status"]) == (200, "r-1", "ok")
    assert got.json["value"] == [["bank/a", "take", [{"$bytes": "AA=="}]], ["bank/b", "give", []]]
    request = node.requests[0]
    assert request.limits is not None
    assert (request.limits.fuel, request.deadline_ns, request.request_id) == (9, 6_000_000, "r-1")


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ({"calls": []}, None),
        ({"calls": [{"entity": "a", "handler": "b"}] * 101}, None),
        ({"calls": [{"entity": "a", "handler": "b"}, {"entity": "..", "handler": "b"}]}, 1),
        ({"calls": [{"entity": "a", "handler": "B"}]}, 0),
        ({"calls": [{"entity": "a", "handler": "b", "more": 1}]}, None),
        ({}, None),
    ],
)
def test_malformed_group_is_refused(body: dict[str, Any], call: int | None):
    """With the number of the call where one is wrong in itself."""
    got = send("POST", "/v1/atomic", body)
    assert (got.status, got.code, got.json["error"].get("call")) == (
        400,
        "request.bad_arguments",
        call,
    )


@pytest.mark.parametrize("path", [CALL, "/v1/atomic"])
def test_request_may_be_answered_later(path: str):
    """202 names the id and where its outcome is found; nothing has been run."""
    node = FakeNode()
    body = {} if path == CALL else GROUP
    headers = [*LATER, ("Idempotency-Key", "r-9")]
    got = send("POST", path, body, headers=headers, node=node)
    assert (got.status, got.json) == (202, {"request": "r-9", "status": "accepted"})
    assert got.headers["location"] == "/v1/requests/r-9"
    assert got.headers["preference-applied"] == "respond-async"
    assert node.requests == []
    assert [(one.request_id, callback) for one, callback in node.accepted] == [("r-9", None)]


def test_request_answered_later_gets_an_id_if_it_has_none():
    """The id is in the answer."""
    assert send("POST", CALL, {}, headers=LATER).json["request"] == "a.made"


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("respond-async", 202),
        ("Respond-Async; foo=1", 202),
        ("wait=10, respond-async", 202),
        ("wait=10", 200),
        ("respond-asynchronously", 200),
        ('foo="x respond-async"', 200),
    ],
)
def test_preference_is_read_as_a_list(prefer: str, status: int):
    """Only the preference itself counts, among others and in any case."""
    assert send("POST", CALL, {}, headers=[("Prefer", prefer)]).status == status


def test_callback_goes_with_requests_answered_later_only():
    """Its origin is the node's to judge; without `respond-async` it is a mistake."""
    node = FakeNode()
    body = {"callback": "https://example.org/hook"}
    assert send("POST", CALL, body, headers=LATER, node=node).status == 202
    assert node.accepted[0][1] == "https://example.org/hook"
    got = send("POST", CALL, body)
    assert (got.status, got.code) == (400, "request.bad_arguments")
    got = send("POST", "/v1/atomic", {**GROUP, **body})
    assert (got.status, got.code) == (400, "request.bad_arguments")
    got = send("POST", CALL, {"callback": "http://169.254.169.254/"}, headers=LATER)
    assert (got.status, got.code) == (403, "request.not_permitted")


def look(target: str, node: FakeNode | None = None) -> Got:
    return send("GET", f"/v1/requests/{target}", node=node)


def test_outcome_is_told_with_200_whatever_it_is():
    """The lookup has succeeded; the outcome's own status is in the body."""
    assert look("r-1").json == {"request": "r-1", "status": "ok", "value": {"done": B64}}
    got = look("r-failed")
    assert (got.status, got.json["status"]) == (200, "app.sold_out")
    assert got.json["error"] == {"message": "sold out", "data": {"blob": B64}}


B64 = {"$bytes": "AA=="}


def test_running_request_is_202_and_an_unknown_one_404():
    """So that a poll tells them apart."""
    got = look("r-running")
    assert (got.status, got.json) == (202, {"request": "r-running", "status": "running"})
    assert look("r-unknown").status == 404
    assert look("r%2F1").status == 400


def test_lookup_passes_entity_and_time_to_wait():
    """An entity's path may come encoded or plain; the time is bounded."""
    node = FakeNode()
    look("r-1?entity=counter/alice&wait_ms=500", node)
    look("r-1?entity=counter%2Falice", node)
    assert node.looked == [("r-1", "counter/alice", 500), ("r-1", "counter/alice", 0)]
    assert look("r-1?wait_ms=30001").status == 400
    assert look("r-1?entity=../x").status == 400
    assert look("r-1?other=1").status == 400


def test_dead_callbacks_are_listed_retried_and_purged():
    """By identity and id."""
    node = FakeNode()
    got = send("GET", "/v1/callbacks/dead?limit=1", node=node)
    assert got.json == {"callbacks": [DEAD], "more": False}
    body = {"identity": "alice", "request": "r-1"}
    assert send("POST", "/v1/callbacks/dead:retry", body, node=node).status == 204
    assert send("POST", "/v1/callbacks/dead:purge", body, node=node).status == 404

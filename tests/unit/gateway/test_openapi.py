"""The document describes what is really there: valid, complete, and walked against the app."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from lithox.errors import TABLE
from lithox.gateway.app import Gateway
from lithox.gateway.openapi import describe
from lithox.gateway.settings import GatewaySettings
from lithox.model.archive import KIND_ENTITIES, MEDIA_TYPE
from tests.unit.gateway.asgi_client import AsgiClient
from tests.unit.gateway.fake_moving import archive
from tests.unit.gateway.fake_node import FakeNode
from tests.unit.gateway.fake_programs import FakeRun

GATEWAY = Gateway(FakeNode(), GatewaySettings())
DOCUMENT = describe(GATEWAY.routes)
OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
EXAMPLES = {
    "entity": "a/b",
    "handler": "echo",
    "key": "k",
    "pid": "7",
    "id": "r-1",
    "kind": "program",
    "name": "hello",
    "pattern": "a/b",
    "timer": "t.1",
}
STREAMS = {"import_entities": (b"".join(archive(KIND_ENTITIES, 1)), MEDIA_TYPE)}
"""Bodies that are no JSON, with their media types."""
BODIES: dict[str, Any] = {
    "start_process": {"program": "hello", "args": ["you"]},
    "write_input": {"data": "x"},
    "call": {"args": [1]},
    "atomic": {"calls": [{"entity": "a", "handler": "b"}]},
    "retry_dead_callback": {"identity": "alice", "request": "r-1"},
    "purge_dead_callback": {"identity": "alice", "request": "r-1"},
    "retry_dead": {"all": True},
    "put_state": {"value": 1},
    "put_handlers": {"handlers": {}},
    "set_code": {"text": "print(1)"},
    "rollback_code": {"version": 1},
    "put_service": {"program": "hello", "args": [1], "backoff_min": "1s", "log": {"files": 2}},
    "deploy": {
        "manifest": '[[template]]\nmatch = "a"\nlanguage = "lua"\nsource = "a.lua"\n',
        "files": {"a.lua": "return {}"},
    },
}


def test_the_document_is_valid_openapi():
    """A kept validator finds no fault in it."""
    validate(DOCUMENT)


def test_the_served_document_is_the_generated_one():
    """What /v1/openapi.json says is what the table says."""
    got = asyncio.run(AsgiClient(GATEWAY).send("GET", "/v1/openapi.json"))
    assert got.json == DOCUMENT


def test_every_route_is_described_exactly_once():
    """No route without a description, no description without a route."""
    described = sorted(operation["operationId"] for _, _, operation in OPERATIONS)
    assert described == sorted(route.name for route in GATEWAY.routes)


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    OPERATIONS,
    ids=[one["operationId"] for _, _, one in OPERATIONS],
)
def test_every_operation_answers_live_as_described(method, path, operation):
    """Each operation, asked as its parameters say, gives the described status and media type."""
    node = FakeNode(state={"a/b": {"k": 1}})
    node.runs[7] = FakeRun({"program": "cat"})
    asyncio.run(node.store_set("program", "hello", "print(0)"))
    target = re.sub(r"\{([a-z]+)\}", lambda found: EXAMPLES[found[1]], path)
    body = BODIES.get(operation["operationId"])
    client = AsgiClient(Gateway(node, GatewaySettings()))
    raw, media_type = STREAMS.get(operation["operationId"], (None, "application/json"))
    got = asyncio.run(
        client.send(
            method.upper(),
            target,
            body,
            parts=None if raw is None else [raw],
            headers=[] if raw is None else [("content-type", media_type)],
        )
    )
    described = operation["responses"].get(str(got.status))
    assert described is not None, (got.status, got.body)
    if "content" in described:
        assert got.headers["content-type"] in described["content"]
    schema = described.get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        named = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        assert set(got.json) <= set(named["properties"])
        assert set(named.get("required", ())) <= set(got.json)


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    OPERATIONS,
    ids=[one["operationId"] for _, _, one in OPERATIONS],
)
def test_only_public_operations_need_no_token(method, path, operation):
    """Where the document says no security, none is asked; elsewhere a token is."""
    target = re.sub(r"\{([a-z]+)\}", lambda found: EXAMPLES[found[1]], path)
    client = AsgiClient(Gateway(FakeNode(has_tokens=True), GatewaySettings()))
    got = asyncio.run(client.send(method.upper(), target))
    assert (got.status != 401) == (operation.get("security") == [])


def test_every_error_code_is_named():
    """The default answer lists the codes of the one table."""
    words = OPERATIONS[0][2]["responses"]["default"]["description"]
    assert all(code in words for code in TABLE)

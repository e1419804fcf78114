"""Publishing over HTTP: who may, in which form, how many at once, and checks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lithox.gateway.app import Gateway
from lithox.gateway.deploy_routes import AT_ONCE_MAX
from lithox.gateway.settings import GatewaySettings
from lithox.model.bundles import write_bundle
from tests.unit.gateway.asgi_client import AsgiClient, send
from tests.unit.gateway.fake_node import FakeNode

MANIFEST = '[[template]]\nmatch = "a"\nlanguage = "lua"\nsource = "a.lua"\n'
BODY = {"manifest": MANIFEST, "files": {"a.lua": "return {}"}}
FRAME = ("content-type", "application/octet-stream")


def frame(content: bytes = b"return {}") -> list[bytes]:
    return list(write_bundle(MANIFEST, {"a.lua": content}))


def test_a_bundle_in_its_frame_is_deployed_as_one_in_json():
    """Both forms of a body publish the same."""
    node = FakeNode()
    assert send("POST", "/v1/deploy", BODY, node=node).status == 200
    got = send("POST", "/v1/deploy", parts=frame(), headers=[FRAME], node=node)
    assert (got.status, got.json["templates"]) == (200, ["a"])
    assert node.deployed[0] == node.deployed[1]


@pytest.mark.parametrize("query", ["?check", "?check=true"])
def test_a_check_publishes_nothing(query):
    """The answer is the deploy's, the node is told to store nothing."""
    node = FakeNode()
    first = send("POST", f"/v1/deploy{query}", BODY, node=node)
    second = send("POST", f"/v1/deploy{query}", parts=frame(), headers=[FRAME], node=node)
    assert (first.status, first.json) == (200, second.json)
    assert (node.deployed, len(node.checked)) == ([], 2)
    assert send("POST", "/v1/deploy?check=false", BODY, node=node).status == 200
    assert len(node.deployed) == 1
    assert send("POST", "/v1/deploy?check=perhaps", BODY, node=node).status == 400


def test_a_compile_error_carries_its_fields():
    """Where and what, for a deploy and for a check alike."""
    body = {**BODY, "files": {"a.lua": "syntax error"}}
    for path in ("/v1/deploy", "/v1/deploy?check"):
        got = send("POST", path, body)
        assert (got.status, got.code) == (422, "guest.compile_failed")
        assert got.json["error"] == {
            "message": "counter.lua:2: '=' expected",
            "file": "counter.lua",
            "line": 2,
        }


@pytest.mark.parametrize("headers", [[FRAME], []])
def test_who_may_not_deploy_is_refused_before_a_byte_is_read(headers):
    """A stranger cannot make the node hold a bundle, in neither form, to check it neither."""

    async def main() -> None:
        client = AsgiClient(Gateway(FakeNode(has_tokens=True), GatewaySettings()))
        token = ("authorization", "Bearer alice-token")
        for path in ("/v1/deploy", "/v1/deploy?check"):
            got = await client.send("POST", path, parts=[b"x" * 1000], headers=[token, *headers])
            assert (got.status, got.code) == (403, "request.not_permitted")
        assert client.reads == 0

    asyncio.run(main())


def test_few_deploys_are_read_at_once():
    """One more than the bound is told to come again; a place is free when one has ended."""

    async def main() -> None:
        node = FakeNode()
        node.gates["deploy"] = asyncio.get_running_loop().create_future()
        client = AsgiClient(Gateway(node, GatewaySettings()))
        tasks = [
            asyncio.ensure_future(client.send("POST", "/v1/deploy", BODY))
            for _ in range(AT_ONCE_MAX)
        ]
        while client.reads < AT_ONCE_MAX:  # noqa: ASYNC110
            await asyncio.sleep(0)
        got = await client.send("POST", "/v1/deploy", BODY)
        assert (got.status, got.code) == (429, "request.overloaded")
        assert client.reads == AT_ONCE_MAX
        node.gates["deploy"].set_result(None)
        assert [(await one).status for one in tasks] == [200] * AT_ONCE_MAX
        assert (await client.send("POST", "/v1/deploy", BODY)).status == 200

    asyncio.run(main())


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([b"rubbish\n"], 400),
        ([b""], 400),
        (frame()[:1], 400),
        ([*frame(), b"x"], 400),
        ([json.dumps({"format": "lithox-bundle", "version": 1, "manifest": "",
                      "files": [["a", 1 << 40]]}).encode() + b"\n"], 413),
    ],
)  # fmt: skip
def test_a_frame_that_is_none_is_refused(parts: list[bytes], status: int):
    """Nothing is published of what is not whole."""
    node = FakeNode()
    got = send("POST", "/v1/deploy", parts=parts, headers=[FRAME], node=node)
    assert (got.status, node.deployed) == (status, [])


def test_places_are_given_back_by_clients_that_leave():
    """A client that ends its connection in the middle of a body holds no place."""

    async def main() -> None:
        gateway = Gateway(FakeNode(), GatewaySettings())

        async def leave() -> None:
            messages: AsyncIterator[dict[str, Any]] = _leaving(frame()[0])
            scope = {
                "type": "http", "method": "POST", "raw_path": b"/v1/deploy", "path": "/v1/deploy",
                "query_string": b"",
                "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"1000"),
                            (b"content-type", b"application/octet-stream")],
            }  # fmt: skip

            async def receive() -> dict[str, Any]:
                return await anext(messages)

            async def send_nothing(message: dict[str, Any]) -> None:
                raise AssertionError(message)

            await gateway(scope, receive, send_nothing)

        for _ in range(AT_ONCE_MAX + 1):
            await leave()
        assert (await AsgiClient(gateway).send("POST", "/v1/deploy", BODY)).status == 200

    asyncio.run(main())


async def _leaving(first: bytes) -> AsyncIterator[dict[str, Any]]:
    yield {"type": "http.request", "body": first[:10], "more_body": True}
    while True:
        yield {"type": "http.disconnect"}

"""Archives over a real connection: whole, or told not to be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import lithox
from lithox.errors import BadArguments, NotFound, PeerProtocolError, PeerUnreachable
from lithox.gateway.serve import serve
from lithox.gateway.settings import GatewaySettings
from lithox.model.archive import KIND_ENTITIES, KIND_STORE
from lithox.node.node import Node
from lithox.testing.scripted import ScriptedEngine
from tests.e2e.http.test_connections import Running, running
from tests.unit.gateway.fake_moving import archive
from tests.unit.node.test_node import bundle_of

pytestmark = pytest.mark.e2e


def use(work):
    """Runs `work(client, server)` against a served fake node."""

    async def whole() -> None:
        async with (
            running(GatewaySettings(port=0)) as server,
            lithox.Client(server.address.url) as client,
        ):
            await work(client, server)

    asyncio.run(whole())


async def give(data: bytes, size: int) -> AsyncIterator[bytes]:
    for begin in range(0, len(data), size):
        yield data[begin : begin + size]


def test_a_backup_arrives_whole():
    """The bytes are those the node gave."""

    async def work(client: lithox.Client, server: Running) -> None:
        data = b"".join([chunk async for chunk in client.backup()])
        assert data == b"".join(archive(KIND_STORE, 3))
        assert server.node.closed == ["backup"]

    use(work)


def test_an_export_that_fails_half_way_is_an_error():
    """The connection is closed before the body's end, which the client does not take for it."""

    async def work(client: lithox.Client, server: Running) -> None:
        with pytest.raises((PeerUnreachable, PeerProtocolError)):
            async for _ in client.entity_export("fails/late"):
                pass
        with pytest.raises(NotFound):
            async for _ in client.entity_export("none"):
                pass
        assert await client.call("a", "echo", 1) == [1]

    use(work)


def test_an_import_is_sent_as_it_is_made():
    """In pieces of any size; what the node says of it comes back as value or error."""
    data = b"".join(archive(KIND_ENTITIES, 200))

    async def work(client: lithox.Client, server: Running) -> None:
        report = await client.entity_import(give(data, 97), mode="skip")
        assert report == {"imported": 1, "skipped": 0, "keys": 1, "in_pieces": []}
        assert server.node.imports == [("skip", data)]
        with pytest.raises(BadArguments, match="not a whole archive"):
            await client.entity_import(give(data[:-1], 1000))

    use(work)


def test_patterns_survive_the_way():
    """Wildcards and odd characters of paths arrive as they were."""

    async def work(client: lithox.Client, server: Running) -> None:
        for pattern in ("a/*/~x@y", "**", "shop/**"):
            async for _ in client.entity_export(pattern):
                pass
        assert server.node.closed == ["a/*/~x@y", "**", "shop/**"]
        for wrong in ("", "a:b"):
            with pytest.raises(BadArguments):
                client.entity_export(wrong)

    use(work)


def test_a_whole_node_goes_through_it(tmp_path: Path):
    """A real node's entities leave through HTTP and come into another, timers and all."""

    async def whole() -> None:
        async def served(folder: Path, work) -> None:
            engine = ScriptedEngine()
            stop, ready = asyncio.Event(), asyncio.Queue()
            async with Node(folder, engines={"lua": engine}) as node:
                await node.deploy(bundle_of(engine))
                task = asyncio.ensure_future(
                    serve(node, GatewaySettings(port=0), stop=stop, on_ready=ready.put_nowait)
                )
                address = await ready.get()
                async with lithox.Client(address.url) as client:
                    await work(client)
                stop.set()
                await task

        kept: list[bytes] = []

        async def out(client: lithox.Client) -> None:
            for name in ("a", "b"):
                await client.call(f"counter/{name}", "increment", 3)
            kept.extend([chunk async for chunk in client.entity_export("**")])
            store = b"".join([chunk async for chunk in client.backup()])
            assert json.loads(store.splitlines()[-1])["counts"]["cell"] >= 6

        async def back(client: lithox.Client) -> None:
            report = await client.entity_import(give(b"".join(kept), 100))
            assert (report["imported"], report["keys"]) == (2, 2)
            assert await client.call("counter/b", "increment", 1) == 4

        await served(tmp_path / "1", out)
        await served(tmp_path / "2", back)

    asyncio.run(whole())

"""Values as bytes over a real connection: a real node, its gateway and `lithox.Client`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import lithox
from lithox.dispatch.big_values import big_entity
from lithox.errors import (
    BadArguments,
    NotFound,
    PeerUnreachable,
    PreconditionFailed,
    TooLarge,
)
from lithox.gateway.serve import Address, serve
from lithox.gateway.settings import GatewaySettings
from lithox.model.big_values import BIG_VALUE_BYTES_MAX, BigValue
from lithox.node.node import Node
from lithox.store.contract import Range
from lithox.testing.scripted import ScriptedEngine
from tests.unit.node.test_node import bundle_of

pytestmark = pytest.mark.e2e

A = "counter/a"
DATA = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(20_000))
DIGEST = hashlib.sha256(DATA).hexdigest()
GET = (
    b"GET /v1/state/counter/a:k HTTP/1.1\r\nHost: localhost\r\nAccept: application/octet-stream\r\n"
)
PUT = (
    b"PUT /v1/state/counter/a:k HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/octet-stream\r\n"
)


class Served:
    """A node that is served, and clients of it."""

    def __init__(self, node: Node, address: Address, client: lithox.Client) -> None:
        self.node = node
        self.address = address
        self.client = client

    async def exchange(self, head: bytes, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Sends a request as it stands; returns (status, headers, body) of the answer."""
        reader, writer = await asyncio.open_connection(self.address.host, self.address.port)
        writer.write(head + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        first, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        line, *lines = first.decode().split("\r\n")
        headers = dict(one.lower().split(": ", 1) for one in lines)
        return int(line.split()[1]), headers, rest

    @property
    def held_bytes(self) -> int:
        return self.node._big_values._held_bytes

    @property
    def snapshots_open(self) -> int:
        return self.node._store.statistics()["snapshots_open"]

    def count_chunks(self) -> int:
        snapshot = self.node._store.open_snapshot()
        try:
            return len(snapshot.scan(Range(big_entity(A), "", None), 100_000).items)
        finally:
            snapshot.release()


async def until(is_so: Callable[[], bool]) -> None:
    """Waits for what the server does by itself; the test's own time limit bounds it."""
    while not is_so():  # noqa: ASYNC110 - nothing tells of it but the state itself
        await asyncio.sleep(0)


@asynccontextmanager
async def served(folder: Path) -> AsyncGenerator[Served]:
    engine, stop = ScriptedEngine(), asyncio.Event()
    ready: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    async with Node(folder / "data", engines={"lua": engine}) as node:
        await node.deploy(bundle_of(engine))
        settings = GatewaySettings(port=0)
        task = asyncio.ensure_future(serve(node, settings, stop=stop, on_ready=ready.set_result))
        try:
            address = await ready
            async with lithox.Client(address.url) as client:
                yield Served(node, address, client)
        finally:
            stop.set()
            await task


def run(folder: Path, work: Callable[[Served], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with served(folder) as server:
            await work(server)

    asyncio.run(whole())


def test_the_largest_value_goes_there_and_back(tmp_path: Path) -> None:
    """16 MiB in parts come back byte by byte; one byte more is refused before it is sent."""
    part = DATA[:65_536]

    async def work(server: Served) -> None:
        parts = [part] * (BIG_VALUE_BYTES_MAX // len(part))
        told = await server.client.write_value(A, "k", parts)
        assert told.size == BIG_VALUE_BYTES_MAX
        seen, size = hashlib.sha256(), 0
        async for piece in server.client.read_value(A, "k"):
            seen.update(piece)
            size += len(piece)
        assert (size, seen.hexdigest()) == (told.size, told.digest)
        assert await server.client.value_info(A, "k") == told
        status, _, body = await server.exchange(
            PUT + b"Content-Length: %d\r\n" % (BIG_VALUE_BYTES_MAX + 1)
        )
        assert (status, b"request.too_large" in body) == (413, True)
        with pytest.raises((TooLarge, PeerUnreachable)):
            await server.client.write_value(A, "k", [*parts, b"x"])
        assert await server.client.value_info(A, "k") == told

    run(tmp_path, work)


def test_json_tells_of_a_big_value(tmp_path: Path) -> None:
    """Size and digest stand where the value would; they cannot be written back."""

    async def work(server: Served) -> None:
        client = server.client
        await client.write_value(A, "k", DATA)
        told = BigValue(size=len(DATA), digest=DIGEST)
        assert await client.state_get(A, "k") == told
        assert await client.state_list(A) == ({"k": told}, False)
        status, headers, body = await server.exchange(
            b"GET /v1/state/counter/a:k HTTP/1.1\r\nHost: localhost\r\n"
        )
        assert (status, headers["content-type"]) == (200, "application/json")
        assert body == b'{"value":{"$big":{"size":%d,"digest":"%s"}}}' % (
            len(DATA),
            DIGEST.encode(),
        )
        with pytest.raises(BadArguments, match="values are None"):
            await client.state_put(A, "k", told)
        await client.state_put(A, "k", "plain")
        assert server.count_chunks() == 0
        assert b"".join([piece async for piece in client.read_value(A, "k")]) == b"plain"

    run(tmp_path, work)


def test_entity_tags_are_digests(tmp_path: Path) -> None:
    """Who has the value is told so, who expects another is refused, in either direction."""
    tag = f'"{DIGEST}"'.encode()

    async def work(server: Served) -> None:
        status, headers, _ = await server.exchange(
            PUT + b"If-None-Match: *\r\nContent-Length: %d\r\n" % len(DATA), DATA
        )
        assert (status, headers["etag"]) == (204, tag.decode())
        status, headers, body = await server.exchange(GET)
        assert (status, headers["etag"], body) == (200, tag.decode(), DATA)
        assert headers["content-type"] == "application/octet-stream"
        for header, expected in (
            (b"If-None-Match: " + tag, 304),
            (b'If-None-Match: "' + b"0" * 64 + b'", W/' + tag, 304),
            (b"If-None-Match: *", 304),
            (b'If-None-Match: "' + b"0" * 64 + b'"', 200),
            (b"If-Match: " + tag, 200),
            (b"If-Match: *", 200),
            (b'If-Match: "' + b"0" * 64 + b'"', 412),
            (b"If-Match: abc", 400),
        ):
            status, headers, body = await server.exchange(GET + header + b"\r\n")
            assert status == expected, header
            assert (body == DATA) == (status == 200)
        for header, expected in (
            (b"If-None-Match: *", 412),
            (b"If-None-Match: " + tag, 400),
            (b'If-Match: "' + b"0" * 64 + b'"', 412),
            (b"If-Match: " + tag, 204),
        ):
            status, _, _ = await server.exchange(
                PUT + header + b"\r\nContent-Length: 3\r\n", b"new"
            )
            assert status == expected, header
        with pytest.raises(PreconditionFailed):
            await server.client.write_value(A, "k", b"x", expected="")
        await server.client.write_value(A, "k", b"x", expected="*")
        status, _, _ = await server.exchange(GET.replace(b"a:k", b"a:absent") + b"If-Match: *\r\n")
        assert status == 412

    run(tmp_path, work)


def test_head_has_the_size_and_no_body(tmp_path: Path) -> None:
    """HEAD tells what GET would, whatever the size."""

    async def work(server: Served) -> None:
        await server.client.write_value(A, "k", DATA)
        status, headers, body = await server.exchange(GET.replace(b"GET", b"HEAD", 1))
        assert (status, headers["content-length"], body) == (200, str(len(DATA)), b"")
        assert headers["etag"] == f'"{DIGEST}"'
        with pytest.raises(NotFound):
            await server.client.value_info(A, "absent")

    run(tmp_path, work)


def test_a_client_that_leaves_half_way_leaves_nothing(tmp_path: Path) -> None:
    """A body that ends early is no value, announced or in chunks of its own."""

    async def work(server: Served) -> None:
        for head in (b"Content-Length: 1000000\r\n", b"Transfer-Encoding: chunked\r\n"):
            reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
            writer.write(PUT + head + b"\r\n" + b"%x\r\n" % 200_000 + DATA[:200_000])
            await writer.drain()
            await until(lambda: server.held_bytes > 0)
            writer.close()
            await reader.read()
            await until(lambda: server.held_bytes == 0)
        assert server.count_chunks() == 0
        with pytest.raises(NotFound):
            await server.client.state_get(A, "k")

    run(tmp_path, work)


def test_a_reader_that_leaves_ends_its_reading(tmp_path: Path) -> None:
    """Nothing of a download is held once its client has gone."""

    async def work(server: Served) -> None:
        part = DATA[:65_536]
        await server.client.write_value(A, "k", [part] * 256)
        before = server.snapshots_open
        reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
        writer.write(GET + b"\r\n")
        await reader.readexactly(1_000)
        assert server.snapshots_open == before + 1
        writer.transport.abort()
        await until(lambda: server.snapshots_open == before)

    run(tmp_path, work)


def test_a_source_that_fails_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """What breaks on the client's side is raised there; the node has no part of the value."""

    async def broken() -> AsyncIterator[bytes]:
        yield DATA
        raise ValueError("the disk is gone")

    async def work(server: Served) -> None:
        with pytest.raises((ValueError, PeerUnreachable)):
            await server.client.write_value(A, "k", broken())
        await until(lambda: server.held_bytes == 0)
        assert server.count_chunks() == 0

    run(tmp_path, work)


def test_bytes_and_json_are_told_apart_by_their_media_type(tmp_path: Path) -> None:
    """Another type than those two is refused; a listing takes a range of keys."""

    async def work(server: Served) -> None:
        client = server.client
        status, _, _ = await server.exchange(
            PUT.replace(b"octet-stream", b"x-other") + b"Content-Length: 1\r\n", b"x"
        )
        assert status == 400
        for key in ("a1", "a2", "b1"):
            await client.state_put(A, key, 1)
        items, more = await client.state_list(A, start="a2", end="b2")
        assert (list(items), more) == (["a2", "b1"], False)
        assert await client.state_list(A, end="") == ({}, False)

    run(tmp_path, work)

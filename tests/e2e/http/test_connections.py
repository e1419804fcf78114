"""The real server on a real socket: what slow, broken, greedy and leaving clients meet."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from lithox.errors import ConfigError
from lithox.gateway.serve import Address, open_socket, serve
from lithox.gateway.settings import GatewaySettings
from tests.unit.gateway.fake_node import FakeNode

pytestmark = pytest.mark.e2e

SMALL = GatewaySettings(
    port=0,
    header_bytes_max=1024,
    header_count_max=20,
    body_bytes_max=1000,
    receive_ns=300_000_000,
    idle_ns=1_000_000_000,
    connections_max=3,
    stop_grace_ns=1_000_000_000,
)
HEAD = b"POST /v1/entities/a:echo HTTP/1.1\r\nHost: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
BODY = b'{"args":[1]}'
WHOLE = HEAD + JSON + b"Content-Length: 12\r\n\r\n" + BODY


class Running:
    """A gateway that serves, and how to stop it."""

    def __init__(self, node: FakeNode, address: Address, stop: asyncio.Event) -> None:
        self.node = node
        self.address = address
        self.stop = stop

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.address.host, self.address.port)

    async def exchange(self, *pieces: bytes) -> bytes:
        """Sends the pieces and reads until the server closes."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        got = await reader.read()
        writer.close()
        return got


@asynccontextmanager
async def running(settings: GatewaySettings = SMALL) -> AsyncGenerator[Running]:
    """Serves a fake node on a free port."""
    node, stop = FakeNode(), asyncio.Event()
    ready: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(serve(node, settings, stop=stop, on_ready=ready.set_result))
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield Running(node, ready.result(), stop)
    finally:
        stop.set()
        await task


def run(work: Callable[[Running], Awaitable[None]], settings: GatewaySettings = SMALL) -> None:
    """Runs `work` against a served fake node."""

    async def whole() -> None:
        async with running(settings) as server:
            await work(server)

    asyncio.run(whole())


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Returns (status, headers, body) of one answer on a kept connection."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(lines[0].split()[1]), headers, body


def status_and_error(raw: bytes) -> tuple[int, str, str]:
    """Returns (HTTP status, code, message) of an answer that ended its connection."""
    head, _, body = raw.partition(b"\r\n\r\n")
    data = json.loads(body)
    return int(head.split()[1]), data["status"], data["error"]["message"]


def test_port_zero_gives_the_real_port_and_a_connection_is_kept():
    """Two requests go over one connection to the port that was told."""

    async def work(server: Running) -> None:
        assert server.address.port != 0
        reader, writer = await server.connect()
        for _ in range(2):
            writer.write(WHOLE)
            status, _, body = await read_answer(reader)
            assert (status, json.loads(body)["value"]) == (200, [1])
        writer.close()

    run(work)


def test_pipelined_requests_are_answered_in_order():
    """Requests sent at once are answered one after the other."""

    async def work(server: Running) -> None:
        reader, writer = await server.connect()
        second = WHOLE.replace(b"[1]", b"[2]")
        writer.write(WHOLE + second + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        bodies = [json.loads((await read_answer(reader))[2]) for _ in range(3)]
        assert [one.get("value") for one in bodies] == [[1], [2], None]
        writer.close()

    run(work)


def test_a_request_byte_by_byte_reads_like_a_whole_one():
    """How the network cuts a request makes no difference."""

    async def work(server: Running) -> None:
        reader, writer = await server.connect()
        for position in range(len(WHOLE)):
            writer.write(WHOLE[position : position + 1])
            await writer.drain()
        assert json.loads((await read_answer(reader))[2])["value"] == [1]
        writer.close()

    run(work, replace(SMALL, receive_ns=20_000_000_000))


@pytest.mark.parametrize(
    "raw",
    [
        b"RUBBISH\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Bad Header: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_in_our_words(raw):
    """Rubbish gets a JSON error of the table and an ended connection, and the node lives on."""

    async def work(server: Running) -> None:
        status, code, message = status_and_error(await server.exchange(raw))
        assert (status, code) == (400, "request.bad_arguments")
        assert message == "the request is not well-formed HTTP/1.1; see RFC 9112 for its form"
        again = WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in await server.exchange(again)

    run(work)


def test_rubbish_behind_a_whole_request_does_not_spoil_its_answer():
    """The first answer leaves whole before the connection ends."""

    async def work(server: Running) -> None:
        raw = await server.exchange(WHOLE + b"RUBBISH\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 200 OK")
        assert raw.endswith(b"}}")

    run(work)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 2000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 30 + b"\r\n",
    ],
)
def test_long_headers_are_refused(raw):
    """Request line, size and number of headers have bounds."""

    async def work(server: Running) -> None:
        status, code, message = status_and_error(await server.exchange(raw))
        assert (status, code) == (413, "request.too_large")
        assert message == "request line and headers have at most 1024 bytes and 20 headers"

    run(work)


def test_headers_without_end_are_cut_off_while_they_come():
    """A header that never ends is refused at the bound, not collected."""

    async def work(server: Running) -> None:
        reader, writer = await server.connect()
        writer.write(b"GET / HTTP/1.1\r\nA: ")
        sent, got = 0, b""
        # The server closes while bytes are under way, so that a reset may overtake its answer.
        with contextlib.suppress(ConnectionError):
            while sent < 10_000_000 and not writer.is_closing():
                writer.write(b"a" * 500)
                await writer.drain()
                sent += 500
            got = await reader.read()
        assert sent < 10_000_000
        assert not got or status_and_error(got)[:2] == (413, "request.too_large")
        writer.close()

    run(work, replace(SMALL, receive_ns=20_000_000_000))


@pytest.mark.parametrize(
    "start", [HEAD, HEAD + JSON + b"Content-Length: 12\r\n\r\n", HEAD + JSON, b"P"]
)
def test_a_request_that_never_becomes_whole_is_cut_off(start):
    """Slow headers and slow bodies get the time there is, then an answer and the end."""

    async def work(server: Running) -> None:
        status, code, message = status_and_error(await server.exchange(start))
        assert (status, code) == (400, "request.bad_arguments")
        assert message == "the request was not whole after 300ms"
        assert server.node.requests == []

    run(work)


@pytest.mark.parametrize("start", [HEAD, HEAD + JSON + b"Content-Length: 12\r\n\r\n", b"P"])
@pytest.mark.parametrize("is_pipelined", [False, True])
def test_the_second_request_of_a_connection_has_no_more_time_than_the_first(start, is_pipelined):
    """A kept connection, too, is cut off when a request does not become whole."""

    async def work(server: Running) -> None:
        reader, writer = await server.connect()
        writer.write(WHOLE + start if is_pipelined else WHOLE)
        assert (await read_answer(reader))[0] == 200
        if not is_pipelined:
            writer.write(start)
        status, code, message = status_and_error(await reader.read())
        assert (status, code) == (400, "request.bad_arguments")
        assert message == "the request was not whole after 300ms"
        writer.close()

    run(work, replace(SMALL, idle_ns=40_000_000_000))


@pytest.mark.parametrize("start", [b"", b"\r\n", WHOLE, WHOLE + b"\r\n"])
def test_a_silent_connection_ends(start):
    """Saying nothing, before or after a request, does not hold a connection for ever."""

    async def work(server: Running) -> None:
        await server.exchange(start)

    run(work)


def test_the_413_of_a_large_body_reaches_a_client_that_sends_it_all_first():
    """The body is dropped unread, so that the client can finish and see the answer."""

    async def work(server: Running) -> None:
        reader, writer = await server.connect()
        size = 5_000_000
        writer.write(HEAD + JSON + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(size // 100_000):
            writer.write(b"x" * 100_000)
            await writer.drain()
        status, _, body = await read_answer(reader)
        assert (status, json.loads(body)["status"]) == (413, "request.too_large")
        writer.write(WHOLE)
        assert (await read_answer(reader))[0] == 200
        writer.close()

    run(work, replace(SMALL, receive_ns=20_000_000_000))


def test_a_client_that_waits_to_be_told_is_refused_without_sending():
    """With Expect: 100-continue the refusal comes instead of the go-ahead."""

    async def work(server: Running) -> None:
        reader, writer = await server.connect()
        writer.write(HEAD + JSON + b"Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        assert (await read_answer(reader))[0] == 413
        writer.close()

    run(work)


def test_a_client_that_waits_to_be_told_is_told():
    """A body within the bound is asked for."""

    async def work(server: Running) -> None:
        reader, writer = await server.connect()
        writer.write(HEAD + JSON + b"Content-Length: 12\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        assert (await read_answer(reader))[0] == 200
        writer.close()

    run(work)


def test_connections_above_the_bound_are_told_to_come_back():
    """One more than allowed is answered 429 at once; the others stay."""

    async def work(server: Running) -> None:
        kept = [await server.connect() for _ in range(3)]
        for reader, writer in kept:
            writer.write(WHOLE)
            assert (await read_answer(reader))[0] == 200
        status, code, _ = status_and_error(await server.exchange())
        assert (status, code) == (429, "request.overloaded")
        for _, writer in kept:
            writer.close()

    run(work)


def test_a_run_whose_client_has_left_goes_on():
    """Closing the connection neither cancels the run nor disturbs the server."""

    async def work(server: Running) -> None:
        _, writer = await server.connect()
        writer.write(WHOLE.replace(b"a:echo", b"a:wait"))
        await server.node.arrival("a").wait()
        writer.transport.abort()
        assert b"200 OK" in await server.exchange(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        gate = server.node.gates["a"]
        assert not gate.cancelled()
        gate.set_result(None)

    run(work)


async def connect_until_refused(server: Running) -> None:
    """Connects again and again; raises OSError once the server takes no more."""
    while True:
        _, other = await server.connect()
        other.close()


def test_a_stop_lets_a_running_request_be_answered():
    """No new connection, but the answer that is owed."""

    async def work() -> None:
        async with running() as server:
            reader, writer = await server.connect()
            writer.write(WHOLE.replace(b"a:echo", b"a:wait"))
            await server.node.arrival("a").wait()
            server.stop.set()
            with pytest.raises(OSError, match="Connect"):
                await connect_until_refused(server)
            server.node.gates["a"].set_result(None)
            assert (await read_answer(reader))[0] == 200
            writer.close()

    asyncio.run(work())


def test_a_stop_does_not_wait_longer_than_its_grace():
    """A request that does not end is answered 503 when the grace is over."""

    async def work() -> None:
        async with running() as server:
            reader, writer = await server.connect()
            writer.write(WHOLE.replace(b"a:echo", b"a:wait"))
            await server.node.arrival("a").wait()
            server.stop.set()
            status, _, body = await read_answer(reader)
            assert (status, json.loads(body)["status"]) == (503, "store.unavailable")
            writer.close()

    asyncio.run(work())


def test_a_taken_port_is_the_operators_error():
    """Two servers do not share a port silently."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            open_socket(GatewaySettings(port=port))
    assert caught.value.message == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_an_unknown_address_is_the_operators_error():
    """A host that is none is refused before anything else."""
    with pytest.raises(ConfigError) as caught:
        open_socket(GatewaySettings(host="no-such-host.invalid"))
    assert caught.value.message.startswith("cannot listen on no-such-host.invalid:7070: ")

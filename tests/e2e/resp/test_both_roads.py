"""The same cases over HTTP and over RESP: values, errors, identities and bounds do not differ."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import lithox
from lithox.errors import PeerProtocolError, PeerUnreachable
from lithox.gateway.settings import GatewaySettings
from tests.e2e.http.test_connections import Running, running

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("scheme", ["http", "lithox"]),
]
SETTINGS = GatewaySettings(port=0)
Work = Callable[[lithox.Client, Running], Awaitable[None]]


def use(
    scheme: str,
    work: Work,
    token: str | None = None,
    settings: GatewaySettings = SETTINGS,
    **more: Any,
) -> None:
    """Runs `work(client, server)` against a served fake node."""

    async def whole() -> None:
        async with running(settings) as server:
            if token is not None:
                server.node.has_tokens = True
                server.node.__post_init__()
            url = server.address.url.replace("http", scheme, 1)
            async with lithox.Client(url, token, **more) as client:
                await work(client, server)

    asyncio.run(whole())


def test_values_cross_both_ways(scheme: str) -> None:
    """Every kind of value arrives as it left."""
    values: list[Any] = [
        *(None, True, -(1 << 63), (1 << 63) - 1, 0.5, "ü", b"\xff", [1, []]),
        *({"$m": {"a": b""}}, {"x": "\n*1\r\n"}, "", {}),
    ]

    async def work(client: lithox.Client, server: Running) -> None:
        assert await client.call("a", "echo", *values) == values
        assert server.node.requests[0].args == values
        assert await client.call("a", "echo") == []

    use(scheme, work)


def test_a_call_carries_id_limits_and_deadline(scheme: str) -> None:
    """What the caller says arrives in the request."""
    limits = lithox.Limits(
        fuel=5,
        memory_bytes=6,
        wall_ns=7_000_000,
        output_bytes=8,
        calls=9,
        state_bytes=10,
        big_bytes=11,
    )

    async def work(client: lithox.Client, server: Running) -> None:
        answer = await client.ask("a", "echo", request_id="r-1", limits=limits, deadline_ms=8)
        assert (answer.request_id, answer.usage.fuel, answer.error) == ("r-1", 7, None)
        request = server.node.requests[0]
        assert (request.limits, request.deadline_ns) == (limits, 8_000_000)
        assert await client.atomic(
            [("a", "get", 1), ("b", "put", b"x")], request_id="g", limits=limits, deadline_ms=9
        ) == [["a", "get", [1]], ["b", "put", [b"x"]]]
        group = server.node.requests[1]
        assert (group.request_id, group.limits, group.deadline_ns) == ("g", limits, 9_000_000)

    use(scheme, work)


@pytest.mark.parametrize(
    ("handler", "kind", "code", "fields"),
    [
        ("raise", lithox.GuestRaised, "app.sold_out", {"left": 0}),
        (
            "fuel",
            lithox.LimitExceeded,
            "guest.out_of_fuel",
            {"limit": "fuel", "used": 10, "allowed": 9},
        ),
        ("nope", lithox.NotFound, "request.not_found", {}),
        ("busy", lithox.Overloaded, "request.overloaded", {}),
        (
            "compile",
            lithox.CompileFailed,
            "guest.compile_failed",
            {"file": "counter.lua", "line": 3, "excerpt": "  retrun x"},
        ),
    ],
)
def test_errors_come_back_as_what_they_left_as(
    scheme: str, handler: str, kind: type[lithox.LithoxError], code: str, fields: dict[str, Any]
) -> None:
    """Class, code and fields are rebuilt from the answer."""

    async def work(client: lithox.Client, _: Running) -> None:
        with pytest.raises(kind) as caught:
            await client.call("a", handler)
        assert type(caught.value) is kind
        assert (caught.value.code, caught.value.fields) == (code, fields)
        if handler == "busy":
            assert caught.value.retry_after_ms == 1500

    use(scheme, work)


def test_a_bug_of_the_node_is_an_internal_error(scheme: str) -> None:
    """Our fault must not hide in a broad except, and says nothing of its inside."""

    async def work(client: lithox.Client, _: Running) -> None:
        with pytest.raises(lithox.InternalError) as caught:
            await client.call("a", "bug")
        assert "secret" not in str(caught.value)

    use(scheme, work)


@pytest.mark.parametrize(
    ("entity", "handler", "options", "kind"),
    [
        ("a b", "echo", {}, lithox.BadArguments),
        ("a", "NO", {}, lithox.BadArguments),
        ("a", "echo", {"request_id": "ü"}, lithox.BadArguments),
        ("a", "echo", {"deadline_ms": 0}, lithox.BadArguments),
        ("a", "echo", {"limits": lithox.Limits(fuel=0)}, lithox.BadArguments),
    ],
)
def test_what_is_refused_is_refused_on_both_roads(
    scheme: str, entity: str, handler: str, options: dict[str, Any], kind: type[Exception]
) -> None:
    """The same bounds hold, and the node hears nothing of what breaks them."""

    async def work(client: lithox.Client, server: Running) -> None:
        with pytest.raises(kind):
            await client.call(entity, handler, **options)
        assert server.node.requests == []
        assert await client.call("a", "echo", 1) == [1], "the connection goes on"

    use(scheme, work)


def test_a_body_has_the_same_bound(scheme: str) -> None:
    """More than the node takes is refused as such, and the calls of others go on."""

    async def work(client: lithox.Client, server: Running) -> None:
        waiting = asyncio.ensure_future(client.call("w", "wait"))
        await server.node.arrival("w").wait()
        with pytest.raises(lithox.TooLarge) as caught:
            await client.call("a", "echo", "x" * 1_000)
        assert caught.value.fields == {"allowed": 1_000}
        server.node.gates["w"].set_result(None)
        assert await waiting == "waited"

    use(scheme, work, settings=GatewaySettings(port=0, body_bytes_max=1_000))


def test_the_token_says_who_asks(scheme: str) -> None:
    """One identity for both roads; without a token, or with a wrong one, nothing is done."""

    async def work(client: lithox.Client, server: Running) -> None:
        await client.call("a", "echo")
        assert server.node.requests[0].caller.identity == "alice"
        url = server.address.url.replace("http", scheme, 1)
        for token in (None, "wrong"):
            async with lithox.Client(url, token) as nobody:
                with pytest.raises(lithox.Unauthenticated):
                    await nobody.call("a", "echo")
        assert len(server.node.requests) == 1

    use(scheme, work, token="alice-token")


def test_async_requests_and_their_outcomes(scheme: str) -> None:
    """Accepted with an id; the outcome is a value, an error, nothing yet, or not known."""

    async def work(client: lithox.Client, server: Running) -> None:
        callback = "https://example.org/x"
        made = await client.call_async("a", "echo", b"x", request_id="r-1", callback=callback)
        assert made == "r-1"
        assert server.node.accepted[0][1] == callback
        assert server.node.accepted[0][0].args == [b"x"]
        assert await client.atomic_async([("a", "echo", 1)]) == "a.made"
        with pytest.raises(lithox.NotPermitted):
            await client.call_async("a", "echo", callback="https://evil.invalid/")
        done = await client.request_outcome("r-1")
        assert done is not None
        assert (done.value, done.is_recorded, done.request_id) == ({"done": b"\0"}, True, "r-1")
        assert await client.request_outcome("r-running", entity="a", wait_ms=5) is None
        assert server.node.looked[-1] == ("r-running", "a", 5)
        failed = await client.request_outcome("r-failed")
        assert failed is not None
        assert isinstance(failed.error, lithox.GuestRaised)
        assert failed.error.fields == {"data": {"blob": b"\0"}}
        with pytest.raises(lithox.NotFound):
            await client.request_outcome("r-unknown")

    use(scheme, work)


def test_the_other_methods_are_there_whatever_the_road(scheme: str) -> None:
    """What has no command goes over HTTP, on the same port."""

    async def work(client: lithox.Client, _: Running) -> None:
        await client.state_put("a/b", "k", b"\xff")
        assert await client.state_get("a/b", "k") == b"\xff"
        assert (await client.node_info())["id"] == "node-1"

    use(scheme, work)


def test_thousands_of_callers_at_once(scheme: str) -> None:
    """Each gets its own answer."""

    async def work(client: lithox.Client, _: Running) -> None:
        answers = await asyncio.gather(*(client.call("a", "echo", n) for n in range(3_000)))
        assert answers == [[n] for n in range(3_000)]

    use(scheme, work)


def test_a_slow_run_holds_up_nobody_and_a_caller_may_leave(scheme: str) -> None:
    """Answers come as they are there; that one caller gives up changes nothing for others."""

    async def work(client: lithox.Client, server: Running) -> None:
        slow = asyncio.ensure_future(client.call("slow", "wait"))
        leaving = asyncio.ensure_future(client.call("leaving", "wait"))
        await server.node.arrival("leaving").wait()
        leaving.cancel()
        assert await client.call("a", "echo", 1) == [1]
        server.node.gates["leaving"].set_result(None)
        assert await client.call("a", "echo", 2) == [2]
        server.node.gates["slow"].set_result(None)
        assert await slow == "waited"

    use(scheme, work)


def test_an_answer_that_takes_too_long_is_unreachable(scheme: str) -> None:
    """The client's own patience has a bound; others' calls go on."""

    async def work(client: lithox.Client, server: Running) -> None:
        with pytest.raises(PeerUnreachable, match="it did not answer in time"):
            await client.call("a", "wait")
        server.node.gates["a"].set_result(None)
        assert await client.call("b", "echo", 1) == [1]

    use(scheme, work, answer_seconds_max=0.2)


def test_a_closed_client_lets_its_callers_go(scheme: str) -> None:
    """Nobody waits for ever for what cannot come any more."""

    async def whole() -> None:
        async with running(SETTINGS) as server:
            url = server.address.url.replace("http", scheme, 1)
            async with lithox.Client(url) as client:
                waiting = asyncio.ensure_future(client.call("a", "wait"))
                await server.node.arrival("a").wait()
            with pytest.raises(PeerUnreachable):
                await waiting
            with pytest.raises(lithox.BadArguments, match="the client is not open"):
                await client.call("a", "echo")
            server.node.gates["a"].set_result(None)

    asyncio.run(whole())


def test_a_node_that_comes_back_is_asked_again(scheme: str) -> None:
    """A lost node is a peer's fault; the same client speaks to the next one at its address."""

    async def whole() -> None:
        async with running(SETTINGS) as server:
            address = server.address
            url = address.url.replace("http", scheme, 1)
            client = lithox.Client(url)
            async with client:
                assert await client.call("a", "echo", 1) == [1]
                server.stop.set()
                with pytest.raises(PeerUnreachable) as caught:
                    await _ask_again_and_again(client)
                assert caught.value.retry_after_ms == 1000
                settings = GatewaySettings(port=address.port)
                async with running(settings):
                    assert await client.call("a", "echo", 2) == [2]

    asyncio.run(whole())


async def _ask_again_and_again(client: lithox.Client) -> None:
    while True:
        await client.call("a", "echo")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"%1\r\n+server\r\n+redis\r\n",
        b"-ERR unknown command 'HELLO'\r\n",
        b"*3\r\n",
    ],
)
def test_what_is_no_node_is_a_fault_of_the_peer(scheme: str, answer: bytes) -> None:
    """Another server's words are not taken for a node's."""

    async def whole() -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, lithox.Client(f"{scheme}://127.0.0.1:{port}") as client:
            with pytest.raises((PeerProtocolError, PeerUnreachable)):
                await client.call("a", "echo")

    asyncio.run(whole())

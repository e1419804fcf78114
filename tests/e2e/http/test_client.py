"""`lithox.Client` against a served node: the same values and errors as inside."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import lithox
from lithox.errors import PeerProtocolError, PeerUnreachable
from lithox.gateway.settings import GatewaySettings
from tests.e2e.http.test_connections import Running, running

pytestmark = pytest.mark.e2e
COUNTER = Path(__file__).parents[3] / "examples" / "counter"
SETTINGS = GatewaySettings(port=0)


def use(work):
    """Runs `work(client, server)` against a served fake node."""

    async def whole() -> None:
        async with (
            running(SETTINGS) as server,
            lithox.Client(server.address.url) as client,
        ):
            await work(client, server)

    asyncio.run(whole())


def test_values_cross_both_ways():
    """Every kind of value arrives as it left."""
    values = [None, True, -(1 << 63), (1 << 63) - 1, 0.5, "ü", b"\xff", [1, []], {"$m": {"a": b""}}]

    async def work(client: lithox.Client, server: Running) -> None:
        assert await client.call("a", "echo", *values) == values
        assert server.node.requests[0].args == values

    use(work)


def test_a_call_carries_id_limits_and_deadline():
    """What the caller says arrives in the request."""

    async def work(client: lithox.Client, server: Running) -> None:
        limits = lithox.Limits(fuel=5, memory_bytes=6, wall_ns=7_000_000)
        answer = await client.ask("a", "echo", request_id="r-1", limits=limits, deadline_ms=8)
        assert (answer.request_id, answer.usage.fuel, answer.error) == ("r-1", 7, None)
        request = server.node.requests[0]
        assert (request.limits, request.deadline_ns) == (limits, 8_000_000)

    use(work)


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
    ],
)
def test_errors_come_back_as_what_they_left_as(handler, kind, code, fields):
    """Class, code and fields are rebuilt from the answer."""

    async def work(client: lithox.Client, server: Running) -> None:
        with pytest.raises(kind) as caught:
            await client.call("a", handler)
        assert type(caught.value) is kind
        assert (caught.value.code, caught.value.fields) == (code, fields)
        if handler == "busy":
            assert caught.value.retry_after_ms == 1500

    use(work)


def test_a_bug_of_the_node_is_an_internal_error_here_too():
    """Our fault must not hide in a broad except."""

    async def work(client: lithox.Client, server: Running) -> None:
        with pytest.raises(lithox.InternalError):
            await client.call("a", "bug")

    use(work)


def test_administration_has_every_method():
    """State, entities, handlers, processes, audit, node, deploy: all in one go."""

    async def work(client: lithox.Client, server: Running) -> None:
        await client.state_put("a/b", "k/ü:%?&#", b"\xff")
        assert await client.state_get("a/b", "k/ü:%?&#") == b"\xff"
        assert await client.state_list("a/b") == ({"k/ü:%?&#": b"\xff"}, False)
        assert await client.state_list("a/b", prefix="x&") == ({}, False)
        assert await client.entities("a/") == (["a/b"], False)
        assert (await client.entity_show("a/b"))["keys"] == 1
        await client.state_delete("a/b", "k/ü:%?&#")
        with pytest.raises(lithox.NotFound):
            await client.state_get("a/b", "k/ü:%?&#")
        await client.entity_delete("a/b")
        await client.handlers_put("a", {"go": {"priority": 5}})
        assert await client.handlers_get("a") == {"go": {"priority": 5}}
        assert (await client.processes())[0]["pid"] == 7
        await client.kill(7)
        assert server.node.killed == [7]
        assert (await client.node_info())["id"] == "node-1"
        assert (await client.audit(1))[0]["act"] == "call"
        report = await client.deploy(COUNTER)
        assert report["templates"] == ["counter/*"]
        assert (
            server.node.deployed[0].files["counter.lua"] == (COUNTER / "counter.lua").read_bytes()
        )

    use(work)


def test_many_calls_at_once_share_connections():
    """More calls than connections wait their turn; none is lost."""

    async def work(client: lithox.Client, server: Running) -> None:
        answers = await asyncio.gather(*(client.call("a", "echo", n) for n in range(500)))
        assert answers == [[n] for n in range(500)]

    use(work)


def test_a_token_is_sent():
    """The caller the token names is the caller of the request."""

    async def work(_client: lithox.Client, server: Running) -> None:
        server.node.has_tokens = True
        server.node.__post_init__()
        async with lithox.Client(server.address.url, token="alice-token") as alice:
            await alice.call("a", "echo")
        assert server.node.requests[0].caller.identity == "alice"
        async with lithox.Client(server.address.url, token="wrong") as nobody:
            with pytest.raises(lithox.Unauthenticated):
                await nobody.call("a", "echo")

    use(work)


def test_nobody_there_is_unreachable():
    """A refused connection is a peer's fault with a hint to try again."""

    async def work() -> None:
        async with running(SETTINGS) as server:
            url = server.address.url
        async with lithox.Client(url) as client:
            with pytest.raises(PeerUnreachable) as caught:
                await client.node_info()
        assert caught.value.message.startswith(f"no answer from the node at {url}: ")
        assert caught.value.retry_after_ms == 1000

    asyncio.run(work())


def test_an_answer_that_takes_too_long_is_unreachable():
    """The client's own patience has a bound."""

    async def work() -> None:
        async with running(SETTINGS) as server:
            async with lithox.Client(server.address.url, answer_seconds_max=0.1) as client:
                with pytest.raises(PeerUnreachable, match="it did not answer in time"):
                    await client.call("a", "wait")
            server.node.gates["a"].set_result(None)

    asyncio.run(work())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>",
        b'HTTP/1.1 500 Odd\r\nContent-Length: 14\r\n\r\n{"status": 500}',
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n[]",
    ],
)
def test_what_is_no_node_is_a_protocol_error(answer):
    """A proxy's page is not taken for a node's word."""

    async def work() -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, lithox.Client(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(PeerProtocolError):
                await client.node_info()

    asyncio.run(work())


def test_programs_are_started_followed_and_fed():
    """The client's methods on programs, over real connections."""

    async def work(client: lithox.Client, server: Running) -> None:
        pid = await client.run_program(program="cat", args=[b"\xff"], limits=lithox.Limits(fuel=9))
        run = server.node.runs[pid]
        assert (run.order["args"], run.order["limits"]) == ([b"\xff"], lithox.Limits(fuel=9))
        page = await client.read_output(pid, wait_ms=1000)
        assert (page["chunks"], page["reading"], page["exit"]) == ([], True, None)
        await client.write_input(pid, b"\xfe\n")
        page = await client.read_output(pid, wait_ms=1000)
        assert page["chunks"] == [{"offset": 0, "stream": "out", "data": b"got \xfe\n"}]
        await client.write_input(pid, b"", is_end=True)
        page = await client.read_output(pid, after=page["next"], wait_ms=1000)
        assert page["exit"] == {"status": 0, "code": "", "message": "", "values": []}
        assert (await client.process_show(7))["pid"] == 7
        with pytest.raises(lithox.NotFound):
            await client.read_output(99)

    use(work)


def test_run_gives_the_end_with_all_output():
    """One call from the start of a program to its end."""

    async def work(client: lithox.Client, server: Running) -> None:
        result = await client.run("hello", "you")
        assert (result.output, result.errors) == (b"hello you\n", b"\x1b[2J\n")
        assert (result.status, result.values, result.check()) == (0, [1, b"\xfe"], result)
        failed = await client.run("fail", 3)
        assert (failed.status, failed.exit_status) == (3, 3)
        cut = await client.run("hello", "you", kept_bytes_max=4)
        assert (cut.output, cut.is_cut) == (b"hell", True)
        with pytest.raises(lithox.NotFound):
            await client.run("none")

    use(work)


def test_a_run_that_is_cancelled_ends_its_program():
    """Nobody would read what it writes."""

    async def work(client: lithox.Client, server: Running) -> None:
        running_one = asyncio.ensure_future(client.run("loop"))
        await server.node.arrival("end of input").wait()
        running_one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running_one
        (run,) = server.node.runs.values()
        assert run.exit is not None

    use(work)

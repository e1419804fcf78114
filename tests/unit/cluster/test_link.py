"""The link between two processes: one answer for each request, whatever the other side does."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lithox.cluster import connection as connection_module
from lithox.cluster import hearing as hearing_module
from lithox.cluster import peer as peer_module
from lithox.cluster.frames import FrameReader, make_frames
from lithox.cluster.hearing import Hearing
from lithox.cluster.peer import Peer
from lithox.dispatch.job import OnAnswer
from lithox.errors import InternalError, NotFound, Overloaded, StoreUnavailable
from lithox.model.ids import AccountName, EntityPath, HandlerName, Identity, RequestId
from lithox.model.request import Answer, Caller, Request

CALLER = Caller(identity=Identity("ann"), account=AccountName("ann"))


def request_of(number: int, args: list[Any] | None = None) -> Request:
    return Request(
        entity=EntityPath(f"a/{number}"),
        handler=HandlerName("h"),
        args=[number] if args is None else args,
        caller=CALLER,
        request_id=RequestId(f"r{number}"),
    )


def clock() -> int:
    return 0


class Owner:
    """The node at the other end: answers at once, or keeps what arrives until told to answer."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.keeps = keeps
        self.arrived: list[tuple[Request, OnAnswer]] = []
        self.came = asyncio.Event()

    def arrive(self, request: Request, on_answer: OnAnswer) -> None:
        self.arrived.append((request, on_answer))
        self.came.set()
        if not self.keeps:
            on_answer(Answer(request_id=request.request_id, value=request.args))

    async def have(self, count: int) -> None:
        """Returns once so many have arrived."""
        while len(self.arrived) < count:
            self.came.clear()
            await self.came.wait()


async def echo(payload: Any) -> Any:
    return payload


async def refuse(_payload: Any) -> Any:
    raise NotFound("nobody knows that")


async def never(_payload: Any) -> Any:
    await asyncio.Future()


QUESTIONS = {"echo": echo, "refuse": refuse, "never": never}


@asynccontextmanager
async def linked(owner: Owner, **of_peer: Any) -> AsyncIterator[tuple[Peer, Hearing, Path]]:
    """Gives a link that is up."""
    # A short name: a socket's path has at most 108 bytes.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1.sock"
        hearing = Hearing(path, arrive=owner.arrive, questions=QUESTIONS, monotonic_ns=clock)
        await hearing.start()
        peer = Peer(1, path, monotonic_ns=clock, **of_peer)
        peer.start()
        try:
            await peer.wait_up()
            yield peer, hearing, path
        finally:
            await peer.stop()
            hearing.stop()


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await body()

    asyncio.run(bounded())


def send(peer: Peer, request: Request) -> asyncio.Future[Answer]:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    peer.send(request, future.set_result)
    return future


def test_requests_of_one_turn_leave_in_one_frame(monkeypatch):
    """A thousand callers cost a few writes, and each gets his own answer."""
    made: list[int] = []

    def count(items):
        made.append(len(items))
        return make_frames(items)

    monkeypatch.setattr(connection_module, "make_frames", count)

    async def body():
        async with linked(Owner()) as (peer, _, _):
            waiting = [send(peer, request_of(number)) for number in range(1_000)]
            answers = await asyncio.gather(*waiting)
            assert [one.value for one in answers] == [[number] for number in range(1_000)]
            assert made[0] == 1_000
            assert peer.under_way == 0

    run(body)


def test_a_lost_link_answers_all_that_is_under_way_and_comes_back():
    """Nobody waits for ever; what cannot be known is said; the next request finds the new link."""

    async def body():
        owner = Owner(keeps=True)
        async with linked(owner) as (peer, hearing, _):
            waiting = [send(peer, request_of(number)) for number in range(3)]
            asked = asyncio.create_task(peer.ask("never"))
            await owner.came.wait()
            hearing.stop()
            for answer in await asyncio.gather(*waiting):
                assert isinstance(answer.error, StoreUnavailable)
                assert answer.error.retry_after_ms
            with pytest.raises(StoreUnavailable):
                await asked
            down = await send(peer, request_of(9))
            assert isinstance(down.error, StoreUnavailable)
            with pytest.raises(StoreUnavailable):
                await peer.ask("echo")
            # An answer to a request of the lost link goes nowhere.
            owner.arrived[0][1](Answer(value=1))
            await hearing.start()
            await peer.wait_up()
            assert await peer.ask("echo", [1, b"x"]) == [1, b"x"]

    run(body)


def test_questions_are_answered_and_refused():
    """What the other side raises arrives as the same error."""

    async def body():
        async with linked(Owner()) as (peer, _, _):
            assert await peer.ask("echo", {"a": [None]}) == {"a": [None]}
            with pytest.raises(NotFound, match="nobody knows"):
                await peer.ask("refuse")

    run(body)


def test_as_much_is_under_way_as_may(monkeypatch):
    """The next request is Overloaded, by number and by bytes; nothing grows for a stuck owner."""
    monkeypatch.setattr(peer_module, "IN_FLIGHT_MAX", 10)
    monkeypatch.setattr(peer_module, "IN_FLIGHT_BYTES_MAX", 10_000)

    async def body():
        owner = Owner(keeps=True)
        async with linked(owner) as (peer, _, _):
            waiting = [send(peer, request_of(number)) for number in range(11)]
            assert isinstance((await waiting[10]).error, Overloaded)
            await owner.have(10)
            for _, on_answer in owner.arrived:
                on_answer(Answer(value=1))
            await asyncio.gather(*waiting[:10])
            big = [send(peer, request_of(number, ["x" * 6_000])) for number in range(3)]
            assert isinstance((await big[2]).error, Overloaded)
            with pytest.raises(Overloaded):
                await peer.ask("echo")

    run(body)


def test_a_process_that_says_nothing_is_given_up(monkeypatch):
    """A stopped process keeps its socket open; its callers are answered all the same."""
    monkeypatch.setattr(peer_module, "PING_S", 0.01)

    async def body():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "1.sock"
            with socket.socket(socket.AF_UNIX) as dumb:
                dumb.bind(str(path))
                dumb.listen()
                peer = Peer(1, path, monotonic_ns=clock, silent_s_max=0.05)
                peer.start()
                await peer.wait_up()
                answer = await send(peer, request_of(1))
                assert isinstance(answer.error, StoreUnavailable)
                await peer.stop()

    run(body)


def test_a_process_that_answers_pings_is_not_given_up(monkeypatch):
    """A long run is no silence."""
    monkeypatch.setattr(peer_module, "PING_S", 0.005)

    async def body():
        owner = Owner(keeps=True)
        async with linked(owner, silent_s_max=1.0) as (peer, _, _):
            waiting = send(peer, request_of(1))
            await owner.came.wait()
            for _ in range(20):
                await peer.ask("echo")
            assert not waiting.done()
            owner.arrived[0][1](Answer(value=1))
            assert (await waiting).value == 1

    run(body)


def test_a_process_that_does_not_take_its_answers_is_cut_off(monkeypatch):
    """What waits for it is bounded, and it is not read from meanwhile."""
    monkeypatch.setattr(hearing_module, "ANSWERS_BYTES_MAX", 4 << 20)
    monkeypatch.setattr(hearing_module, "PAUSE_BYTES", 2 << 20)

    async def body():
        owner = Owner(keeps=True)
        async with linked(Owner()) as (_, _, path):
            pass
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "1.sock"
            hearing = Hearing(path, arrive=owner.arrive, questions={}, monotonic_ns=clock)
            await hearing.start()
            reader, writer = await asyncio.open_unix_connection(str(path))
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            from lithox.cluster.wire import encode_request

            items = [encode_request(number, request_of(number), 0) for number in range(12)]
            writer.write(b"".join(make_frames(items)))
            await owner.have(12)
            for _, on_answer in owner.arrived:
                on_answer(Answer(value=b"x" * (1 << 20)))
                await asyncio.sleep(0)
            assert not hearing._connections
            writer.close()
            hearing.stop()

    run(body)


def test_a_slow_reader_gets_all_its_answers(monkeypatch):
    """Being held back for a while loses nothing."""
    monkeypatch.setattr(hearing_module, "PAUSE_BYTES", 1 << 20)

    async def body():
        async with linked(Owner()) as (peer, _, _):
            data = b"x" * (600 << 10)
            waiting = [send(peer, request_of(number, [data])) for number in range(40)]
            answers = await asyncio.gather(*waiting)
            assert all(one.value == [data] for one in answers)

    run(body)


@pytest.mark.parametrize(
    "stream",
    [
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        *(
            b"".join(make_frames([msgspec.msgpack.encode(item)]))
            for item in (
                [0, 1],
                [0, "x"],
                [0, 1, *([None] * 13)],
                [1, 1, None, None, [0] * 6, None, False],
                [2, 1, "unknown", None],
                [2, 1, ["unknown"], None],
                [9, 9],
                [],
            )
        ),
    ],
)
def test_a_torn_stream_ends_its_connection_and_nothing_else(stream):
    """Other links go on; the node behind hears nothing of it."""

    async def body():
        owner = Owner()
        async with linked(owner) as (peer, _, path):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(stream)
            assert await reader.read() == b""
            writer.close()
            assert (await send(peer, request_of(1))).value == [1]
            assert len(owner.arrived) == 1

    run(body)


def test_an_owner_that_talks_rubbish_is_left():
    """An answer nobody asked for, or no answer at all, ends the link; who waits is told."""

    async def body():
        for item in ([1, 99, None, None, [0] * 6, None, False], [0, 1], [3, 1], [1, [], 3]):
            stream = b"".join(make_frames([msgspec.msgpack.encode(item)]))

            async def talk(reader, writer, stream=stream):
                await reader.read(10)
                writer.write(stream)
                await reader.read()
                writer.close()

            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "1.sock"
                async with await asyncio.start_unix_server(talk, str(path)):
                    peer = Peer(1, path, monotonic_ns=clock)
                    peer.start()
                    await peer.wait_up()
                    answer = await send(peer, request_of(1))
                    assert isinstance(answer.error, StoreUnavailable), item
                    await peer.stop()

    run(body)


def test_a_process_of_another_user_is_refused(monkeypatch):
    """At both ends: it neither hears nor says anything."""
    monkeypatch.setattr(connection_module, "is_own_user", lambda _: False)

    async def body():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "1.sock"
            owner = Owner()
            hearing = Hearing(path, arrive=owner.arrive, questions={}, monotonic_ns=clock)
            await hearing.start()
            reader, writer = await asyncio.open_unix_connection(str(path))
            assert await reader.read() == b""
            writer.close()
            hearing.stop()

    run(body)


def test_who_is_at_the_other_end_is_asked_of_the_machine():
    """The peer's user comes from the socket, not from what it says."""

    async def body():
        seen: list[bool] = []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "1.sock"

            async def hear(_reader, writer):
                seen.append(connection_module.is_own_user(writer.transport))
                writer.close()

            async with await asyncio.start_unix_server(hear, str(path)):
                reader, writer = await asyncio.open_unix_connection(str(path))
                await reader.read()
                writer.close()
        assert seen == [True]

    run(body)


def test_somebody_who_raises_when_told_harms_nobody_else():
    """Neither an answer nor a loss that is told badly ends the link or leaves others waiting."""

    async def body():
        def fail(*_told: Any) -> None:
            raise ValueError("a fault of who waits")

        owner = Owner()
        async with linked(owner, on_up=fail) as (peer, hearing, _):
            peer.send(request_of(1), fail)
            assert (await send(peer, request_of(2))).value == [2]
            assert peer.is_up
            owner.keeps = True
            lost = asyncio.Event()
            peer.watch_loss(fail)
            end = peer.watch_loss(lost.set)
            peer.send(request_of(3), fail)
            waiting = send(peer, request_of(4))
            asked = asyncio.create_task(peer.ask("never"))
            await owner.have(4)
            hearing.stop()
            assert isinstance((await waiting).error, StoreUnavailable)
            with pytest.raises(StoreUnavailable):
                await asked
            await lost.wait()
            end()
            owner.keeps = False
            await hearing.start()
            await peer.wait_up()
            assert (await send(peer, request_of(5))).value == [5]

    run(body)


def test_a_round_that_fails_is_followed_by_another(monkeypatch):
    """A fault of our own costs one link, not the link for good."""

    async def body():
        rounds: list[int] = []
        again = asyncio.Event()

        async def keep_once() -> bool:
            rounds.append(1)
            if len(rounds) == 1:
                raise ValueError("a fault of our own")
            again.set()
            return False

        peer = Peer(1, Path("nowhere"), monotonic_ns=clock)
        monkeypatch.setattr(peer, "_keep_once", keep_once)
        peer.start()
        await again.wait()
        await peer.stop()

    run(body)


def test_those_who_wait_leave_room_for_the_others(monkeypatch):
    """A bound of their own: what is answered at once is asked while all waits are taken."""
    monkeypatch.setattr(peer_module, "WAITS_MAX", 3)

    async def body():
        async with linked(Owner()) as (peer, _, _):
            waits = [asyncio.create_task(peer.ask("never", is_wait=True)) for _ in range(3)]
            assert await peer.ask("echo", 1) == 1
            with pytest.raises(Overloaded, match="wait for outcomes"):
                await peer.ask("echo", 2, is_wait=True)
            waits[0].cancel()
            await asyncio.wait(waits[:1])
            assert await peer.ask("echo", 3, is_wait=True) == 3
            for one in waits:
                one.cancel()

    run(body)


def test_who_refuses_us_is_asked_less_and_less(monkeypatch):
    """Each refusal is a line in the log: it is not written twenty times a second."""
    pauses: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real_sleep(0)

    monkeypatch.setattr(connection_module, "is_own_user", lambda _: False)

    async def body():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "1.sock"
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.bind(str(path))
                stranger.listen()
                monkeypatch.setattr(peer_module.asyncio, "sleep", sleep)
                peer = Peer(1, path, monotonic_ns=clock)
                peer.start()
                while len(pauses) < 9:
                    await real_sleep(0.001)
                await peer.stop()
                monkeypatch.undo()
        assert pauses[:9] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]

    run(body)


def test_arguments_that_cannot_cross_are_an_answer():
    """Every request gets one answer, even one that is our own bug."""

    async def body():
        async with linked(Owner()) as (peer, _, _):
            answer = await send(peer, request_of(1, [object()]))
            assert answer.error is not None
            strange = request_of(2)
            strange.origin = object()
            assert isinstance((await send(peer, strange)).error, InternalError)
            assert peer.under_way == 0

    run(body)


def test_an_answer_that_cannot_cross_is_told():
    """Its caller hears of a fault of ours and does not wait for ever."""

    async def body():
        owner = Owner(keeps=True)
        async with linked(owner) as (peer, _, _):
            waiting = send(peer, request_of(1))
            await owner.came.wait()
            owner.arrived[0][1](Answer(value=object()))
            assert isinstance((await waiting).error, InternalError)

    run(body)


def test_frames_that_are_read_are_those_that_were_made():
    """The pair used above is the one the links use."""
    assert FrameReader().feed(b"".join(make_frames([b"\x92\x01\x02"]))) == [[1, 2]]

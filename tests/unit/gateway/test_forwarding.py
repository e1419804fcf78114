"""A sibling that is asked over HTTP: nobody waits for one that is lost."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lithox.errors import StoreUnavailable
from lithox.gateway.forwarding import Forwarder

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "raw_path": b"/v1/state/a:k",
    "query_string": b"",
    "headers": [],
}
BEGUN = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun"


class Links:
    """What watches siblings: loses one when a test says so."""

    def __init__(self) -> None:
        self.watched: list[tuple[int, Callable[[], None]]] = []

    def watch(self, volume: int, on_loss: Callable[[], None]) -> Callable[[], None]:
        entry = (volume, on_loss)
        self.watched.append(entry)
        return lambda: self.watched.remove(entry)

    def lose(self, volume: int) -> None:
        for watched, on_loss in list(self.watched):
            if watched == volume:
                on_loss()


class Stopped:
    """A process that takes a request, says what it is given to say, and then nothing any more."""

    def __init__(self, says: bytes) -> None:
        self.says = says
        self.asked = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(self.says)
        self.asked.set()
        await reader.read()
        writer.close()


@asynccontextmanager
async def stopped(says: bytes = b""):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1.http"
        process, links = Stopped(says), Links()
        async with await asyncio.start_unix_server(process, str(path)):
            forwarder = Forwarder(lambda _: path, links.watch)
            try:
                yield forwarder, process, links
            finally:
                await forwarder.close()


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await body()

    asyncio.run(bounded())


async def nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b""}


@pytest.mark.parametrize("says", [b"", BEGUN])
def test_who_waits_for_a_whole_answer_is_told_of_the_loss(says):
    """Before the answer and within it; a loss of another process ends nothing."""

    async def body():
        async with stopped(says) as (forwarder, process, links):
            asking = asyncio.create_task(forwarder.fetch(1, SCOPE, b""))
            await process.asked.wait()
            links.lose(2)
            assert not asking.done()
            links.lose(1)
            with pytest.raises(StoreUnavailable):
                await asking
            assert links.watched == []

    run(body)


def test_a_request_that_is_passed_on_is_answered_when_the_process_is_lost():
    """Its client hears that nobody is there, and when to come again."""

    async def body():
        async with stopped() as (forwarder, process, links):
            asking = asyncio.create_task(forwarder.forward(1, SCOPE, nothing, nothing))
            await process.asked.wait()
            links.lose(1)
            with pytest.raises(StoreUnavailable):
                await asking

    run(body)


def test_a_stream_that_has_begun_is_broken_off_when_the_process_is_lost():
    """It ends without its end, so that nobody takes it for whole."""

    async def body():
        sent: list[dict[str, Any]] = []
        came = asyncio.Event()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)
            if message.get("body"):
                came.set()

        async with stopped(BEGUN) as (forwarder, _, links):
            passing = asyncio.create_task(forwarder.forward(1, SCOPE, nothing, send))
            await came.wait()
            links.lose(1)
            await passing
            assert [one.get("more_body") for one in sent] == [None, True]
            assert links.watched == []

    run(body)


def test_a_caller_that_leaves_is_waited_for_no_more():
    """Neither a watch nor a question is left of him."""

    async def body():
        async with stopped() as (forwarder, process, links):
            asking = asyncio.create_task(forwarder.fetch(1, SCOPE, b""))
            await process.asked.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert links.watched == []

    run(body)


def test_there_is_a_bound_for_the_way_to_a_connection():
    """All connections may be taken by streams of a process that lives: that is told, too."""

    async def body():
        async with stopped() as (forwarder, _, _):
            session: aiohttp.ClientSession = forwarder._session_of(1)
            assert session.timeout.connect
            assert session.timeout.total is None

    run(body)

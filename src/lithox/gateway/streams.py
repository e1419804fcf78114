"""Bodies that are never whole in memory: answers made while they leave, requests read as they come.

An answer that fails half way is broken off, so that no client takes it for whole; one whose client
has gone is ended at its next chunk. The status is decided before the first chunk leaves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from lithox.gateway.answers import Header, Reply
from lithox.gateway.guards import too_large

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_log: Final = logging.getLogger("lithox.gateway")


class ClientGone(Exception):
    """The client left before its body was whole; there is nobody to answer."""


class StreamReply(NamedTuple):
    """One HTTP answer whose body is made while it leaves.

    `chunks` has an `aclose` if leaving it early has to be told.
    """

    status: int
    chunks: AsyncIterator[bytes]
    headers: list[Header]


def reply_stream(chunks: AsyncIterator[bytes], media_type: str) -> StreamReply:
    """Returns 200 with a body of `media_type`."""
    headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
    return StreamReply(200, chunks, headers)


async def begin_stream(reply: StreamReply) -> StreamReply:
    """Returns `reply` with its first chunk made, so that what is wrong at once can still be said.

    Raises:
        LithoxError: why there is nothing to send.
    """
    first = await anext(reply.chunks, b"")
    return reply._replace(chunks=_with_first(first, reply.chunks))


async def end_stream(reply: StreamReply) -> Reply:
    """Returns `reply` without its body, which is not made."""
    await close_chunks(reply.chunks)
    return Reply(reply.status, b"", reply.headers)


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    try:
        yield first
        async for chunk in rest:
            yield chunk
    finally:
        await close_chunks(rest)


async def close_chunks(chunks: AsyncIterator[bytes]) -> None:
    """Tells a source of chunks that no more are wanted."""
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()


async def send_stream(
    reply: StreamReply, headers: list[Header], receive: Receive, send: Send
) -> bool:
    """Sends `reply`; returns False when it was broken off, by us or by the client.

    Its body has no announced length, so the server closes what is broken off unmistakably.
    """
    gone = asyncio.ensure_future(_wait_gone(receive))
    try:
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": reply.headers + headers,
            }
        )
        async for chunk in reply.chunks:
            if gone.done():
                return False
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except asyncio.CancelledError:
        # Only a stop whose grace is over cancels.
        _log.warning("an answer was broken off by the node's stop")
        return False
    except Exception:  # noqa: BLE001 - too late for an error answer: the log gets it
        _log.exception("an answer was broken off half way")
        return False
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone
        await close_chunks(reply.chunks)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return True


async def _wait_gone(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_chunks(receive: Receive, bytes_max: int) -> AsyncGenerator[bytes]:
    """Gives the parts of a body as they come.

    Raises:
        TooLarge: it grew above `bytes_max` (a body of unannounced length).
        ClientGone: the connection ended first.
    """
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        part: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(part)
        if size > bytes_max:
            raise too_large(bytes_max)
        if part:
            yield part

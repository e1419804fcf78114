"""HTTP between the processes of one server: a request that belongs to a sibling is passed on whole.

Method, path, headers and body leave as they came, so the sibling checks the sender, the caller and
the bounds exactly as if the connection were its own; its answer comes back the same way. Both are
streamed. The way is a Unix socket in a folder of this user alone.

Invariant: nobody waits for a sibling whose link has been given up. An answer may take as long as it
likes, a stream most of all; that its process is there at all is watched by the link, which is lost
when it dies and given up when it says nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from lithox.errors import BadArguments, StoreUnavailable, TooLarge
from lithox.gateway.answers import Header, Reply
from lithox.gateway.streams import ClientGone, Receive, Send

RETRY_AFTER_MS: Final = 500
CONNECTIONS_MAX: Final = 512
"""To one sibling; a request beyond that waits for one that ends."""
CONNECT_S_MAX: Final = 5.0
"""Until there is a connection, the wait for a free one included."""
WHOLE_BYTES_MAX: Final = 32 << 20
"""Of an answer that is made one with others; a page has at most 1 MiB."""
PART_BYTES: Final = 64 << 10
_OF_THE_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"date", b"upgrade", b"te", b"trailer"}
)
"""Headers that speak of one connection, and the date that the outer server writes itself."""
_BEYOND_ASCII: Final = re.compile(rb"[^!-~]")
"""Bytes that a path may have as they are and an HTTP client would write in its own way."""
_SAY_A_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})
_OWN_BY_DEFAULT: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
Scope = dict[str, Any]
WatchLoss = Callable[[int, Callable[[], None]], Callable[[], None]]
"""(volume, what is called whenever its process is lost or given up) -> what ends that."""


class Forwarder:
    """Passes requests on to siblings. Used on the loop's thread; never blocks.

    Args:
        path_of: volume -> the Unix socket on which its process answers over HTTP.
        watch_loss: tells of a sibling that is not there any more.
    """

    def __init__(self, path_of: Callable[[int], Path], watch_loss: WatchLoss) -> None:
        self._path_of = path_of
        self._watch_loss = watch_loss
        self._sessions: dict[int, aiohttp.ClientSession] = {}

    async def forward(self, volume: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Has the process of `volume` answer a request.

        Raises:
            StoreUnavailable: it could not be asked, or ended before it answered anything.
            ClientGone: the client left first.
        """
        begun = False
        try:
            async with self.ask(volume, scope, _read(receive)) as answer:
                begun = True
                await send(
                    {
                        "type": "http.response.start",
                        "status": answer.status,
                        "headers": _headers_of(answer),
                    }
                )
                async for part in answer.content.iter_chunked(PART_BYTES):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        except (aiohttp.ClientError, OSError, TimeoutError):
            if begun:
                # Too late for an answer: it is broken off, so that nobody takes it for whole.
                return
            raise self.unavailable(volume) from None
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fetch(self, volume: int, scope: Scope, body: bytes | AsyncIterator[bytes]) -> Reply:
        """Returns the whole answer of the process of `volume` to a request with that body.

        Raises:
            StoreUnavailable: it could not be asked, or ended before it had answered.
            TooLarge: its answer has more than `WHOLE_BYTES_MAX`.
        """
        try:
            async with self.ask(volume, scope, body or None) as answer:
                return await self.read_whole(answer)
        except (aiohttp.ClientError, OSError, TimeoutError):
            raise self.unavailable(volume) from None

    async def read_whole(self, answer: aiohttp.ClientResponse) -> Reply:
        """Returns an answer whose body is wanted whole; raises TooLarge."""
        parts, size = list[bytes](), 0
        async for part in answer.content.iter_chunked(PART_BYTES):
            size += len(part)
            if size > WHOLE_BYTES_MAX:
                raise TooLarge(f"an answer of more than {WHOLE_BYTES_MAX} bytes")
            parts.append(part)
        return Reply(answer.status, b"".join(parts), _headers_of(answer))

    def unavailable(self, volume: int) -> StoreUnavailable:
        """Returns the error for a process that cannot be asked."""
        return StoreUnavailable(
            f"the process that owns volume {volume} is not there; it is started again: try again",
            retry_after_ms=RETRY_AFTER_MS,
        )

    async def close(self) -> None:
        """Ends every connection."""
        for session in self._sessions.values():
            await session.close()

    @asynccontextmanager
    async def ask(
        self, volume: int, scope: Scope, body: bytes | AsyncIterator[bytes] | None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Asks the process of `volume`; gives the beginning of its answer.

        Raises aiohttp.ClientError, OSError or TimeoutError when it is entered and nobody answers;
        what reads the answer raises the first when the process is lost meanwhile.
        """
        lost = asyncio.Event()
        answer: aiohttp.ClientResponse | None = None

        def end() -> None:
            lost.set()
            connection = None if answer is None else answer.connection
            if connection is not None and connection.transport is not None:
                connection.transport.abort()

        forget = self._watch_loss(volume, end)
        try:
            answer = await self._begin(volume, scope, body, lost)
            async with answer:
                yield answer
        finally:
            forget()

    async def _begin(
        self,
        volume: int,
        scope: Scope,
        body: bytes | AsyncIterator[bytes] | None,
        lost: asyncio.Event,
    ) -> aiohttp.ClientResponse:
        """Returns an answer that has begun; raises ClientConnectionError once `lost` is set."""
        asking = asyncio.ensure_future(self._request(volume, scope, body))
        losing = asyncio.ensure_future(lost.wait())
        try:
            await asyncio.wait({asking, losing}, return_when=asyncio.FIRST_COMPLETED)
            if not lost.is_set():
                return asking.result()
            if asking.done():
                # It began in the same moment, and nobody would tell of the loss again.
                asking.result().close()
            raise aiohttp.ClientConnectionError("the process was lost before it answered")
        finally:
            losing.cancel()
            if not asking.done():
                asking.cancel()
                await asyncio.wait({asking})

    async def _request(
        self, volume: int, scope: Scope, body: bytes | AsyncIterator[bytes] | None
    ) -> aiohttp.ClientResponse:
        given: list[Header] = scope["headers"]
        headers = [_text_of(header) for header in given if header[0] not in _OF_THE_HOP]
        has_body = any(name in _SAY_A_BODY for name, _ in given)
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        target = _BEYOND_ASCII.sub(lambda found: b"%%%02X" % found[0][0], scope["raw_path"] + query)
        return await self._session_of(volume).request(
            scope["method"],
            URL(f"http://server{target.decode()}", encoded=True),
            headers=headers,
            data=body if has_body else None,
            allow_redirects=False,
            skip_auto_headers=_OWN_BY_DEFAULT,
        )

    def _session_of(self, volume: int) -> aiohttp.ClientSession:
        session = self._sessions.get(volume)
        if session is None:
            session = self._sessions[volume] = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(
                    path=str(self._path_of(volume)), limit=CONNECTIONS_MAX
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=CONNECT_S_MAX, sock_connect=CONNECT_S_MAX
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return session


async def _read(receive: Receive) -> AsyncIterator[bytes]:
    """Gives a body as it comes; raises ClientGone."""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        more = message.get("more_body", False)
        part: bytes = message.get("body", b"")
        if part:
            yield part


def _text_of(header: Header) -> tuple[str, str]:
    """Returns a header as text; what would not arrive as it came is refused."""
    name, value = header
    if not value.isascii() or not name.isascii():
        raise BadArguments(f"headers are ASCII; found other bytes in {name[:40]!r}")
    return name.decode(), value.decode()


def _headers_of(answer: aiohttp.ClientResponse) -> list[Header]:
    return [
        (name.lower(), value)
        for name, value in answer.raw_headers
        if name.lower() not in _OF_THE_HOP
    ]


async def answer_here(
    app: Callable[[Scope, Receive, Send], Any], scope: Scope, body: bytes
) -> Reply:
    """Returns the whole answer of an application in this process to a request with that body."""
    status, headers, parts = 0, list[Header](), list[bytes]()
    told = False

    async def receive() -> dict[str, Any]:
        nonlocal told
        if told:
            await asyncio.Future()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], message["headers"]
        else:
            parts.append(message.get("body", b""))

    with suppress(ClientGone):
        await app(scope, receive, send)
    return Reply(status, b"".join(parts), headers)

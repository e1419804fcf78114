"""One HTTP exchange with a node: bytes out, JSON or an error in. No meaning of its own.

Why aiohttp: measured beside httpx against the same server, 64 requests at a time, one process:
httpx 0.28 takes 2.9 ms of processor time a request (its pool looks through all connections each
time), aiohttp 3.14 takes 0.10 ms (docs/decisions/0004-http-server.md).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import quote

import aiohttp
from yarl import URL

from lithox.client.link import Link
from lithox.errors import (
    TABLE,
    BadArguments,
    InternalError,
    LithoxError,
    PeerProtocolError,
    PeerUnreachable,
    rebuild,
)
from lithox.model.ids import check_entity_path, check_state_key
from lithox.model.values import from_json, parse_json

LINK_SCHEME: Final = "lithox://"
CONNECTIONS_MAX: Final = 64
CONNECT_SECONDS_MAX: Final = 10.0
ANSWER_SECONDS_DEFAULT: Final = 120.0
"""Longer than any run may last under the default policy of a node."""
STREAM_TIMEOUT: Final = aiohttp.ClientTimeout(
    total=None, sock_connect=CONNECT_SECONDS_MAX, sock_read=600.0
)
"""Of bodies of any length: only silence ends them. An import is silent while it is committed."""
_RETRY_AFTER_MS: Final = 1000
_JSON_HEADERS: Final = {"Content-Type": "application/json"}


class Wire:
    """A pool of kept connections to one node.

    Args:
        url: `http://HOST:PORT`.
        token: bearer token, or None.
        answer_seconds_max: how long an answer may take.
    """

    def __init__(self, url: str, *, token: str | None, answer_seconds_max: float) -> None:
        self.url = url.rstrip("/")
        parsed = URL(self.url)
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise BadArguments(
                f"a node is named by lithox://HOST:PORT or http://HOST:PORT; found {url[:200]!r}"
            )
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(
            total=answer_seconds_max, sock_connect=CONNECT_SECONDS_MAX
        )
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Makes the pool; connects when first asked."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            timeout=self._timeout,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Closes every connection. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def receive(self, path: str) -> AsyncGenerator[bytes]:
        """Gives the body of a long answer as it comes; however long that takes in all.

        Raises:
            LithoxError: what the node says in place of it.
            PeerUnreachable: no connection, or it ended before the body did.
        """
        with self._translated():
            async with self._request("GET", path, timeout=STREAM_TIMEOUT) as answer:
                if answer.status >= 300:
                    raise self.error_of(answer.status, parse_json(await answer.read()))
                async for chunk in answer.content.iter_any():
                    yield chunk

    async def send(self, path: str, chunks: AsyncIterable[bytes], media_type: str) -> Any:
        """Sends a long body as it is made; returns the parsed JSON of the answer.

        Raises:
            LithoxError: what the node says in place of it, or `chunks` raises.
            PeerUnreachable: no connection, or it ended before the answer came.
        """
        headers = {"Content-Type": media_type}
        with self._translated():
            async with self._request(
                "POST", path, data=chunks, headers=headers, timeout=STREAM_TIMEOUT
            ) as answer:
                raw = await answer.read()
                if answer.status >= 300:
                    raise self.error_of(answer.status, parse_json(raw))
                return parse_json(raw)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, headers: dict[str, str], data: Any = None
    ) -> AsyncGenerator[Any]:
        """Gives aiohttp's answer to one request, its body not read yet; however long that takes.

        Raises:
            LithoxError: what the node says in place of it.
            PeerUnreachable: no connection, or it ended before the answer did.
        """
        with self._translated():
            async with self._request(
                method, path, data=data, headers=headers, timeout=STREAM_TIMEOUT
            ) as answer:
                if answer.status >= 300:
                    raw = await answer.read()
                    if method == "HEAD":
                        raise _error_without_body(answer.status)
                    raise self.error_of(answer.status, parse_json(raw))
                yield answer

    async def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        request_id: str | None = None,
        is_async: bool = False,
    ) -> tuple[int, Any]:
        """Returns (HTTP status, parsed JSON body or None).

        Nothing is sent twice: who wants that gives a request id and asks again.

        Args:
            path: percent-encoded path and query.
            is_async: asks to be answered as soon as the request is accepted.

        Raises:
            PeerUnreachable: no connection, or no answer in time.
            PeerProtocolError: the answer is not a lithox node's.
        """
        headers = dict(_JSON_HEADERS) if body is not None else {}
        if request_id is not None:
            headers["Idempotency-Key"] = request_id
        if is_async:
            headers["Prefer"] = "respond-async"
        with self._translated():
            return await self._exchange(method, path, body, headers)

    @contextmanager
    def _translated(self) -> Generator[None]:
        """Turns what aiohttp raises inside into errors of ours."""
        try:
            yield
        except TimeoutError:
            raise self._unreachable("it did not answer in time") from None
        except aiohttp.ClientConnectorError as error:
            raise self._unreachable(error.strerror or str(error)) from None
        except (aiohttp.ClientResponseError, aiohttp.ClientPayloadError) as error:
            raise PeerProtocolError(f"{self.url} does not speak HTTP/1.1: {error}") from None
        except aiohttp.ClientError as error:
            raise self._unreachable(str(error) or type(error).__name__) from None

    async def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Any]:
        async with self._request(method, path, data=body, headers=headers) as answer:
            raw = await answer.read()
            if not raw:
                return answer.status, None
            try:
                return answer.status, parse_json(raw)
            except LithoxError:
                raise self._not_a_node(answer.status) from None

    def _request(self, method: str, path: str, **options: Any) -> Any:
        """Returns aiohttp's context of one request; its types are looser than ours."""
        if self._session is None:
            raise BadArguments("the client is not open: use it with 'async with'")
        target = URL(self.url + path, encoded=True)
        return self._session.request(method, target, allow_redirects=False, **options)

    def _unreachable(self, reason: str) -> PeerUnreachable:
        return PeerUnreachable(
            f"no answer from the node at {self.url}: {reason}", retry_after_ms=_RETRY_AFTER_MS
        )

    def _not_a_node(self, status: int) -> PeerProtocolError:
        return PeerProtocolError(f"{self.url} answered {status} with what no lithox node says")

    def error_of(self, status: int, data: Any) -> LithoxError | InternalError:
        """Returns the error that the body of a refusal stands for."""
        if not isinstance(data, dict):
            return self._not_a_node(status)
        body = cast("dict[str, Any]", data)
        code, fields = body.get("status"), body.get("error")
        if not isinstance(code, str) or not isinstance(fields, dict):
            return self._not_a_node(status)
        return rebuild(code, from_json(fields))

    async def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Returns the parsed JSON of a successful answer; raises the error of any other."""
        status, data = await self.exchange(method, path, body)
        if status >= 300:
            raise self.error_of(status, data)
        return data


def open_link(url: str, *, token: str | None, answer_seconds_max: float) -> tuple[Link | None, str]:
    """Returns (the link of a `lithox://` URL or None, the URL of the same node over HTTP).

    Raises:
        BadArguments: a `lithox://` URL that names more than a host and a port, or no port.
    """
    if not url.startswith(LINK_SCHEME):
        return None, url
    host = port = place = whole = None
    with suppress(ValueError):
        parsed = URL(url.replace(LINK_SCHEME, "http://", 1))
        host, port, place, whole = parsed.host, parsed.explicit_port, parsed.origin(), str(parsed)
    if host is None or port is None or whole not in {str(place), f"{place}/"}:
        raise BadArguments(f"a node is named by lithox://HOST:PORT; found {url[:200]!r}")
    link = Link(host, port, token=token, answer_seconds_max=answer_seconds_max)
    return link, str(place)


def item_path(entity: str, key: str) -> str:
    """Returns the path of one state key; raises BadArguments for a name that is none."""
    return f"/v1/state/{check_entity_path(entity)}:{quote(check_state_key(key), safe='')}"


def _error_without_body(status: int) -> LithoxError | InternalError:
    """Returns the error of an answer to HEAD, which has no body: the first code of that status."""
    code = next((code for code, row in TABLE.items() if row.http_status == status), "peer.protocol")
    return rebuild(code, {"message": f"the node answered {status}; ask with GET for its words"})

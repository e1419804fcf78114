"""Sending one call-back over HTTP: a POST, an answer's status, nothing else is looked at."""

from __future__ import annotations

from typing import Final

import aiohttp

CONNECTIONS_MAX: Final = 64
Headers = dict[str, str]


class CallbackSender:
    """One pool of connections; opened with the first call-back.

    Redirects are not followed, since they would lead past the list of allowed origins; proxies of
    the environment and cookies are ignored; the body of an answer is not read.
    """

    def __init__(self, *, answer_s_max: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=answer_s_max)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, url: str, headers: Headers, body: bytes) -> str | None:
        """Returns None when the receiver has taken it (a status of 200 to 299), else why not."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                if 200 <= answer.status < 300:
                    return None
                return f"answered with status {answer.status}"
        except TimeoutError:
            return "did not answer in time"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"cannot be reached: {type(error).__name__}"

    async def close(self) -> None:
        """Closes every connection. Idempotent."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

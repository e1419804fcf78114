"""The part of `lithox.Client` about values as bytes: big ones, and those that are text or bytes.

What is read is compared with the digest the node announced, so a value that came whole is the one
that was there. Nothing is sent twice: who writes again compares digests, or says what is expected.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, Final

from lithox.client.wire import Wire, item_path
from lithox.errors import PeerProtocolError, PeerUnreachable
from lithox.model.big_values import BigValue

MEDIA_TYPE: Final = "application/octet-stream"
PART_BYTES: Final = 64 << 10
_ACCEPT: Final = {"Accept": MEDIA_TYPE}

Source = bytes | Iterable[bytes] | AsyncIterable[bytes]
"""Bytes whole, or in parts of any size."""


class ValueMethods:
    """Methods of an open client."""

    _wire: Wire

    async def value_info(self, entity: str, key: str) -> BigValue:
        """Returns size and digest of the value under `key`, which is big, text or bytes.

        Raises:
            NotFound, NotPermitted, BadArguments: the value is neither text nor bytes; only the
                code is known.
        """
        path = item_path(entity, key)
        async with self._wire.stream("HEAD", path, headers=_ACCEPT) as answer:
            return self._told(answer)

    async def read_value(self, entity: str, key: str) -> AsyncIterator[bytes]:
        """Gives the bytes of the value under `key`, piece by piece; one piece is in memory.

        Raises:
            NotFound, NotPermitted.
            BadArguments: the value is neither text nor bytes.
            PeerUnreachable: it ended early; what came is not the whole value.
        """
        path = item_path(entity, key)
        async with self._wire.stream("GET", path, headers=_ACCEPT) as answer:
            told, seen, size = self._told(answer), hashlib.sha256(), 0
            async for piece in answer.content.iter_any():
                seen.update(piece)
                size += len(piece)
                yield piece
        if size != told.size:
            raise PeerUnreachable(
                f"the value ended after {size} of {told.size} bytes; read it again",
                retry_after_ms=100,
            )
        if seen.hexdigest() != told.digest:
            raise PeerProtocolError("what came is not the value the node announced")

    async def write_value(
        self, entity: str, key: str, source: Source, *, expected: str | None = None
    ) -> BigValue:
        """Writes a big value and returns its size and digest, once it is durable.

        Args:
            source: bytes, or an iterable or asynchronous iterable of them.
            expected: what the key must hold now: a digest, "*" for anything, "" for nothing.

        Raises:
            PreconditionFailed: it holds something else; nothing was written.
            LithoxError: why else it cannot be written.
        """
        headers = {"Content-Type": MEDIA_TYPE}
        if expected == "":
            headers["If-None-Match"] = "*"
        elif expected is not None:
            headers["If-Match"] = expected if expected == "*" else f'"{expected}"'
        if isinstance(source, bytes):
            headers["Content-Length"] = str(len(source))
        sent = _Counted(source)
        path = item_path(entity, key)
        async with self._wire.stream("PUT", path, data=sent.parts(), headers=headers) as answer:
            digest = _digest_of(answer)
        if digest != sent.digest:
            raise PeerProtocolError(f"{self._wire.url} wrote another value than it was sent")
        return BigValue(size=sent.size, digest=digest)

    def _told(self, answer: Any) -> BigValue:
        size = answer.headers.get("Content-Length", "")
        if not size.isdigit():
            raise PeerProtocolError(f"{self._wire.url} announces a value without its size")
        return BigValue(size=int(size), digest=_digest_of(answer))


class _Counted:
    """A source on its way out: what of it was sent."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._seen = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return self._seen.hexdigest()

    async def parts(self) -> AsyncIterator[bytes]:
        source = self._source
        if isinstance(source, AsyncIterable):
            async for part in source:
                yield self._note(part)
        elif isinstance(source, bytes):
            for start in range(0, len(source), PART_BYTES):
                yield self._note(source[start : start + PART_BYTES])
        else:
            for part in source:
                yield self._note(part)

    def _note(self, part: bytes) -> bytes:
        self._seen.update(part)
        self.size += len(part)
        return part


def _digest_of(answer: Any) -> str:
    return str(answer.headers.get("ETag", "")).strip('"')

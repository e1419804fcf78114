"""The part of a fake node that reads and writes values as bytes: a dict of them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable

from lithox.errors import NotFound, PreconditionFailed, TooLarge
from lithox.model.big_values import BigValue
from lithox.model.request import Caller
from lithox.node.big_values import OpenValue

PIECE_BYTES = 7
VALUE_BYTES_MAX = 1_000


class FakeValues:
    """Values by (entity, key); `closed` counts readings that were ended, whole or not."""

    values: dict[tuple[str, str], bytes]
    closed: int = 0
    big_value_bytes_max = VALUE_BYTES_MAX

    def open_value(self, entity: str, key: str, *, caller: Caller | None = None) -> OpenValue:
        del caller
        data = self.values.get((entity, key))
        if data is None:
            raise NotFound(f"{entity} has no key {key!r}")
        return OpenValue(told=_told(data), pieces=self._pieces(data))

    async def _pieces(self, data: bytes) -> AsyncIterator[bytes]:
        try:
            for start in range(0, len(data), PIECE_BYTES):
                yield data[start : start + PIECE_BYTES]
        finally:
            self.closed += 1

    async def write_value(
        self,
        entity: str,
        key: str,
        source: bytes | Iterable[bytes] | AsyncIterable[bytes],
        *,
        expected: str | None = None,
        caller: Caller | None = None,
    ) -> BigValue:
        del caller
        assert isinstance(source, AsyncIterable)
        data = b"".join([part async for part in source])
        if len(data) > VALUE_BYTES_MAX:
            raise TooLarge("too long", allowed=VALUE_BYTES_MAX)
        old = self.values.get((entity, key))
        held = {_told(old).digest, "*"} if old is not None else {""}
        if expected is not None and expected not in held:
            raise PreconditionFailed("it holds something else")
        self.values[entity, key] = data
        return _told(data)


def _told(data: bytes) -> BigValue:
    return BigValue(size=len(data), digest=hashlib.sha256(data).hexdigest())

"""The part of `lithox.Node` about values as bytes: as the operator, unless a caller is given.

`BigAdmin` says what each promises, and does it; this gives the methods their public form, the same
names and orders as in `lithox.Client`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from lithox.model.big_values import BigValue
from lithox.model.request import Caller
from lithox.node.big_values import BigAdmin, OpenValue, Source
from lithox.security.identities import LOCAL_OPERATOR


class ValueMethods:
    """Methods of a node that has opened its store."""

    _big_values: BigAdmin

    @property
    def big_value_bytes_max(self) -> int:
        """Size of one big value on this node."""
        return self._big_values.value_bytes_max

    def open_value(self, entity: str, key: str, *, caller: Caller | None = None) -> OpenValue:
        """Returns size, digest and bytes of the value under `key`; see `BigAdmin.open`."""
        return self._big_values.open(entity, key, caller or LOCAL_OPERATOR)

    async def value_info(self, entity: str, key: str, *, caller: Caller | None = None) -> BigValue:
        """Returns size and digest of the value under `key`, which is big, text or bytes.

        Raises:
            NotFound, NotPermitted.
            BadArguments: the value is neither text nor bytes.
        """
        return self.open_value(entity, key, caller=caller).told

    def read_value(
        self, entity: str, key: str, *, caller: Caller | None = None
    ) -> AsyncIterator[bytes]:
        """Returns the bytes of the value under `key`, piece by piece; one piece is in memory.

        Raises:
            NotFound, NotPermitted.
            BadArguments: the value is neither text nor bytes.
            Conflict: while it is read: it was changed, and what came is not the whole of it.
        """
        return self.open_value(entity, key, caller=caller).pieces

    async def write_value(
        self,
        entity: str,
        key: str,
        source: Source,
        *,
        expected: str | None = None,
        caller: Caller | None = None,
    ) -> BigValue:
        """Writes a big value and returns its size and digest, once it is durable.

        Args:
            source: bytes, or an iterable or asynchronous iterable of them.
            expected: what the key must hold now: a digest, "*" for anything, "" for nothing.

        Raises:
            PreconditionFailed: it holds something else; nothing was written.
            LithoxError: why else it cannot be written.
        """
        return await self._big_values.write(
            entity, key, source, caller or LOCAL_OPERATOR, expected=expected
        )

"""The part of a command's node that is about moving data; see `cli.backend`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lithox.model.request import Caller
    from lithox.node.node import Node


class MovingBackend(Protocol):
    """The methods of `lithox.Client` about moving data."""

    def backup(self) -> AsyncIterator[bytes]: ...

    def entity_export(self, pattern: str) -> AsyncIterator[bytes]: ...

    async def entity_import(
        self, chunks: AsyncIterable[bytes], *, mode: str = ...
    ) -> dict[str, Any]: ...


class EmbeddedMoving:
    """The same over a node in this process, as its operator."""

    _node: Node
    _caller: Caller

    def backup(self) -> AsyncIterator[bytes]:
        return self._node.backup(caller=self._caller)

    def entity_export(self, pattern: str) -> AsyncIterator[bytes]:
        return self._node.entity_export(pattern, caller=self._caller)

    async def entity_import(
        self, chunks: AsyncIterable[bytes], *, mode: str = "refuse"
    ) -> dict[str, Any]:
        return await self._node.entity_import(chunks, mode=mode, caller=self._caller)

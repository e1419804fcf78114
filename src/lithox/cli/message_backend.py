"""The part of a command's node that is about messages and timers; see `cli.backend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lithox.model.request import Caller
    from lithox.node.node import Node

Row = dict[str, Any]


class MessageBackend(Protocol):
    """The methods of `lithox.Client` about messages and timers."""

    async def messages_list(
        self, *, after: str = "", limit: int = 100
    ) -> tuple[list[Row], bool]: ...

    async def messages_dead(
        self, *, after: str = "", limit: int = 100
    ) -> tuple[list[Row], bool]: ...

    async def messages_retry(self, ids: list[str] | None = None) -> int: ...

    async def messages_purge(self, ids: list[str] | None = None) -> int: ...

    async def timers_list(
        self, entity: str, *, after: str = "", limit: int = 100
    ) -> tuple[list[Row], bool]: ...

    async def timers_cancel(self, entity: str, timer_id: str) -> None: ...


class EmbeddedMessages:
    """The same over a node in this process, as its operator."""

    _node: Node
    _caller: Caller

    async def messages_list(self, *, after: str = "", limit: int = 100) -> tuple[list[Row], bool]:
        return await self._node.messages_list(after=after, limit=limit, caller=self._caller)

    async def messages_dead(self, *, after: str = "", limit: int = 100) -> tuple[list[Row], bool]:
        return await self._node.messages_dead(after=after, limit=limit, caller=self._caller)

    async def messages_retry(self, ids: list[str] | None = None) -> int:
        return await self._node.messages_retry(ids, caller=self._caller)

    async def messages_purge(self, ids: list[str] | None = None) -> int:
        return await self._node.messages_purge(ids, caller=self._caller)

    async def timers_list(
        self, entity: str, *, after: str = "", limit: int = 100
    ) -> tuple[list[Row], bool]:
        return await self._node.timers_list(entity, after=after, limit=limit, caller=self._caller)

    async def timers_cancel(self, entity: str, timer_id: str) -> None:
        await self._node.timers_cancel(entity, timer_id, caller=self._caller)

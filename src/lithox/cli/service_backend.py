"""The part of a command's node that is about services; see `cli.backend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lithox.model.request import Caller
    from lithox.node.node import Node

Row = dict[str, Any]


class ServiceBackend(Protocol):
    """The methods of `lithox.Client` about services."""

    async def service_list(self) -> list[Row]: ...

    async def service_show(
        self, name: str, *, seen: int | None = None, wait_ms: int = 0
    ) -> Row: ...

    async def service_put(self, name: str, definition: Row) -> Row: ...

    async def service_start(self, name: str) -> None: ...

    async def service_stop(self, name: str) -> None: ...

    async def service_restart(self, name: str) -> None: ...

    async def service_remove(self, name: str) -> None: ...

    async def service_logs(
        self,
        name: str,
        *,
        lines: int | None = None,
        after: int | None = None,
        wait_ms: int = 0,
    ) -> Row: ...


class EmbeddedServices:
    """The same over a node in this process, as its operator."""

    _node: Node
    _caller: Caller

    async def service_list(self) -> list[Row]:
        return await self._node.service_list(caller=self._caller)

    async def service_show(self, name: str, *, seen: int | None = None, wait_ms: int = 0) -> Row:
        return await self._node.service_show(name, seen=seen, wait_ms=wait_ms, caller=self._caller)

    async def service_put(self, name: str, definition: Row) -> Row:
        return await self._node.service_put(name, definition, caller=self._caller)

    async def service_start(self, name: str) -> None:
        await self._node.service_start(name, caller=self._caller)

    async def service_stop(self, name: str) -> None:
        await self._node.service_stop(name, caller=self._caller)

    async def service_restart(self, name: str) -> None:
        await self._node.service_restart(name, caller=self._caller)

    async def service_remove(self, name: str) -> None:
        await self._node.service_remove(name, caller=self._caller)

    async def service_logs(
        self,
        name: str,
        *,
        lines: int | None = None,
        after: int | None = None,
        wait_ms: int = 0,
    ) -> Row:
        return await self._node.service_logs(
            name, lines=lines, after=after, wait_ms=wait_ms, caller=self._caller
        )

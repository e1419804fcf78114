"""The part of `lithox.Node` about services: as the operator, unless a caller is given.

`Services` says what each promises, and does it; this gives the methods their public form, the
same names and orders as in `lithox.Client`.
"""

from __future__ import annotations

from typing import Any

from lithox.model.request import Caller
from lithox.node.services import Row, Services
from lithox.security.identities import LOCAL_OPERATOR


class ServiceMethods:
    """Methods of a node that has opened its program side."""

    _services: Services

    async def service_list(self, *, caller: Caller | None = None) -> list[Row]:
        """Returns one row a service, by name: its state, process, reason and last exit."""
        return await self._services.list(caller or LOCAL_OPERATOR)

    async def service_show(
        self,
        name: str,
        *,
        seen: int | None = None,
        wait_ms: int = 0,
        caller: Caller | None = None,
    ) -> Row:
        """Returns a service's row and definition; with `seen`, once its `changes` is another."""
        return await self._services.show(caller or LOCAL_OPERATOR, name, seen, wait_ms)

    async def service_put(
        self, name: str, definition: dict[str, Any], *, caller: Caller | None = None
    ) -> Row:
        """Defines a service as `[[service]]` of a manifest would; returns its row."""
        return await self._services.put(caller or LOCAL_OPERATOR, name, definition)

    async def service_start(self, name: str, *, caller: Caller | None = None) -> None:
        """Starts a service and what it requires; returns when it is ready."""
        await self._services.start(caller or LOCAL_OPERATOR, name)

    async def service_stop(self, name: str, *, caller: Caller | None = None) -> None:
        """Stops a service, its dependents first; returns when it has ended."""
        await self._services.stop(caller or LOCAL_OPERATOR, name)

    async def service_restart(self, name: str, *, caller: Caller | None = None) -> None:
        """Stops a service and starts it again; returns when it is ready."""
        await self._services.restart(caller or LOCAL_OPERATOR, name)

    async def service_remove(self, name: str, *, caller: Caller | None = None) -> None:
        """Stops a service and forgets it; its log and storage stay."""
        await self._services.remove(caller or LOCAL_OPERATOR, name)

    async def service_logs(
        self,
        name: str,
        *,
        lines: int | None = None,
        after: int | None = None,
        wait_ms: int = 0,
        caller: Caller | None = None,
    ) -> dict[str, Any]:
        """Returns {"text": bytes, "next", "missed"}: the last lines, or what follows `after`."""
        return await self._services.read_logs(
            caller or LOCAL_OPERATOR, name, lines=lines, after=after, wait_ms=wait_ms
        )

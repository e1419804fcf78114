"""The part of a command's node that is about the stores of code; see `cli.backend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lithox.model.request import Caller
    from lithox.node.node import Node

Rows = list[dict[str, Any]]


class StoreBackend(Protocol):
    """The methods of `lithox.Client` about the stores."""

    async def store_get(
        self, kind: str, name: str, version: int | None = None
    ) -> tuple[bytes, dict[str, Any]]: ...

    async def store_list(
        self, kind: str, prefix: str = "", *, after: str = "", limit: int = 100
    ) -> tuple[Rows, bool]: ...

    async def store_history(
        self, kind: str, name: str, *, before: int | None = None, limit: int = 100
    ) -> Rows: ...

    async def store_set(  # noqa: PLR0913 - one change, described whole
        self,
        kind: str,
        name: str,
        text: bytes | str,
        *,
        note: str | None = None,
        runtime: str | None = None,
        check: str | None = None,
    ) -> int: ...

    async def store_rollback(
        self, kind: str, name: str, version: int, *, note: str | None = None
    ) -> int: ...

    async def store_remove(self, kind: str, name: str, *, forgets_history: bool = False) -> int: ...


class EmbeddedStores:
    """The same over a node in this process, as its operator."""

    _node: Node
    _caller: Caller

    async def store_get(
        self, kind: str, name: str, version: int | None = None
    ) -> tuple[bytes, dict[str, Any]]:
        return self._node.store_get(kind, name, version, caller=self._caller)

    async def store_list(
        self, kind: str, prefix: str = "", *, after: str = "", limit: int = 100
    ) -> tuple[Rows, bool]:
        return self._node.store_list(kind, prefix, after=after, limit=limit, caller=self._caller)

    async def store_history(
        self, kind: str, name: str, *, before: int | None = None, limit: int = 100
    ) -> Rows:
        return self._node.store_history(kind, name, before=before, limit=limit, caller=self._caller)

    async def store_set(  # noqa: PLR0913 - one change, described whole
        self,
        kind: str,
        name: str,
        text: bytes | str,
        *,
        note: str | None = None,
        runtime: str | None = None,
        check: str | None = None,
    ) -> int:
        return await self._node.store_set(
            kind, name, text, note=note, runtime=runtime, check=check, caller=self._caller
        )

    async def store_rollback(
        self, kind: str, name: str, version: int, *, note: str | None = None
    ) -> int:
        return await self._node.store_rollback(kind, name, version, note=note, caller=self._caller)

    async def store_remove(self, kind: str, name: str, *, forgets_history: bool = False) -> int:
        return await self._node.store_remove(
            kind, name, forgets_history=forgets_history, caller=self._caller
        )

"""The part of a command's node that is about requests; see `cli.backend`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lithox.model.limits import Limits
from lithox.model.request import Answer

if TYPE_CHECKING:
    from lithox.model.request import Caller
    from lithox.node.node import Node


class RequestBackend(Protocol):
    """The methods of `lithox.Client` about groups and accepted requests."""

    async def ask_atomic(
        self,
        calls: Iterable[Sequence[Any]],
        *,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
    ) -> Answer: ...

    async def call_async(  # noqa: PLR0913 - the public call, all but three by keyword
        self,
        entity: str,
        handler: str,
        *args: Any,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
        callback: str | None = None,
    ) -> str: ...

    async def atomic_async(
        self,
        calls: Iterable[Sequence[Any]],
        *,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
        callback: str | None = None,
    ) -> str: ...

    async def request_outcome(
        self, request_id: str, *, entity: str | None = None, wait_ms: int = 0
    ) -> Answer | None: ...

    async def callbacks_dead(self, *, after: str = "", limit: int = 100) -> dict[str, Any]: ...

    async def callback_retry(self, identity: str, request_id: str) -> None: ...

    async def callback_purge(self, identity: str, request_id: str) -> None: ...


class EmbeddedRequests:
    """The same over a node in this process, as its operator."""

    _node: Node
    _caller: Caller

    async def ask_atomic(
        self,
        calls: Iterable[Sequence[Any]],
        *,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
    ) -> Answer:
        from lithox.node.request_checks import read_calls

        request = self._node.make_group(
            read_calls(calls),
            request_id=request_id,
            limits=limits,
            deadline_ms=deadline_ms,
            caller=self._caller,
        )
        return await self._node.submit(request)

    async def call_async(self, entity: str, handler: str, *args: Any, **options: Any) -> str:
        return await self._node.call_async(entity, handler, *args, caller=self._caller, **options)

    async def atomic_async(self, calls: Iterable[Sequence[Any]], **options: Any) -> str:
        return await self._node.atomic_async(calls, caller=self._caller, **options)

    async def request_outcome(
        self, request_id: str, *, entity: str | None = None, wait_ms: int = 0
    ) -> Answer | None:
        return await self._node.request_outcome(
            request_id, entity=entity, wait_ms=wait_ms, caller=self._caller
        )

    async def callbacks_dead(self, *, after: str = "", limit: int = 100) -> dict[str, Any]:
        return self._node.callbacks_dead(after=after, limit=limit, caller=self._caller)

    async def callback_retry(self, identity: str, request_id: str) -> None:
        await self._node.callback_retry(identity, request_id, caller=self._caller)

    async def callback_purge(self, identity: str, request_id: str) -> None:
        await self._node.callback_purge(identity, request_id, caller=self._caller)

"""One face for a node elsewhere (`lithox.Client`) and one opened here (`lithox.Node`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol

from lithox.cli.message_backend import EmbeddedMessages, MessageBackend
from lithox.cli.moving_backend import EmbeddedMoving, MovingBackend
from lithox.cli.options import Target
from lithox.cli.request_backend import EmbeddedRequests, RequestBackend
from lithox.cli.service_backend import EmbeddedServices, ServiceBackend
from lithox.cli.store_backend import EmbeddedStores, StoreBackend
from lithox.cli.waiting_node import wait_until_listening
from lithox.errors import NotFound
from lithox.model.big_values import BigValue
from lithox.model.limits import Limits
from lithox.model.request import Answer

if TYPE_CHECKING:
    from lithox.node.node import Node


class Backend(
    MessageBackend, MovingBackend, RequestBackend, ServiceBackend, StoreBackend, Protocol
):
    """The methods of `lithox.Client` that commands use."""

    async def ask(
        self,
        entity: str,
        handler: str,
        *args: Any,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
    ) -> Answer: ...

    async def deploy(self, path: str | PathLike[str], *, check: bool = False) -> dict[str, Any]: ...

    async def entities(
        self, prefix: str = "", *, after: str = "", limit: int = 100
    ) -> tuple[list[str], bool]: ...

    async def entity_show(self, entity: str) -> dict[str, Any]: ...

    async def entity_delete(self, entity: str) -> None: ...

    async def state_get(self, entity: str, key: str) -> Any: ...

    async def state_put(self, entity: str, key: str, value: Any) -> None: ...

    async def state_delete(self, entity: str, key: str) -> None: ...

    async def state_list(  # noqa: PLR0913 - one listing, described whole
        self,
        entity: str,
        prefix: str = "",
        *,
        start: str = "",
        end: str | None = None,
        after: str = "",
        limit: int = 100,
    ) -> tuple[dict[str, Any], bool]: ...

    def read_value(self, entity: str, key: str) -> AsyncIterator[bytes]: ...

    async def write_value(
        self, entity: str, key: str, source: Iterable[bytes], *, expected: str | None = None
    ) -> BigValue: ...

    async def run_program(  # noqa: PLR0913 - one order, described whole
        self,
        *,
        program: str | None = None,
        code: str | bytes | None = None,
        name: str | None = None,
        runtime: str | None = None,
        args: Sequence[Any] = (),
        limits: Limits | None = None,
        priority: int | None = None,
        mode: str | None = None,
    ) -> int: ...

    async def read_output(
        self, pid: int, *, after: int = 0, wait_ms: int = 0
    ) -> dict[str, Any]: ...

    async def write_input(self, pid: int, data: bytes, *, is_end: bool = False) -> None: ...

    async def processes(self) -> list[dict[str, Any]]: ...

    async def kill(self, pid: int) -> None: ...

    async def node_info(self) -> dict[str, Any]: ...

    async def audit(self, limit: int = 100) -> list[dict[str, Any]]: ...


class EmbeddedBackend(
    EmbeddedMessages, EmbeddedMoving, EmbeddedRequests, EmbeddedServices, EmbeddedStores
):
    """The same over a node in this process, as its operator."""

    def __init__(self, node: Node) -> None:
        # Late, because a command that speaks HTTP needs no part of a node.
        from lithox.security.identities import LOCAL_OPERATOR

        self._node = node
        self._caller = LOCAL_OPERATOR

    async def ask(
        self,
        entity: str,
        handler: str,
        *args: Any,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
    ) -> Answer:
        from lithox.model.ids import check_entity_path, check_handler_name, check_request_id
        from lithox.model.request import Request

        return await self._node.submit(
            Request(
                entity=check_entity_path(entity),
                handler=check_handler_name(handler),
                args=list(args),
                caller=self._caller,
                limits=limits,
                request_id=None if request_id is None else check_request_id(request_id),
                deadline_ns=None if deadline_ms is None else self._node.deadline_in(deadline_ms),
            )
        )

    async def deploy(self, path: str | PathLike[str], *, check: bool = False) -> dict[str, Any]:
        return (await self._node.deploy(path, self._caller, check=check)).to_json()

    async def entities(
        self, prefix: str = "", *, after: str = "", limit: int = 100
    ) -> tuple[list[str], bool]:
        found: list[str] = []
        more = True
        while more and len(found) < limit:
            page = self._node.list_entities(prefix, after, limit - len(found), self._caller)
            found += page["entities"]
            more, after = page["more"], page["after"]
        return found, more

    async def entity_show(self, entity: str) -> dict[str, Any]:
        return await self._node.admin_show(entity, self._caller)

    async def entity_delete(self, entity: str) -> None:
        await self._node.admin_delete(entity, self._caller)

    async def state_get(self, entity: str, key: str) -> Any:
        return self._node.admin_get_state(entity, key, self._caller)

    async def state_put(self, entity: str, key: str, value: Any) -> None:
        await self._node.admin_put_state(entity, key, value, self._caller)

    async def state_delete(self, entity: str, key: str) -> None:
        await self._node.admin_delete_state(entity, key, self._caller)

    async def state_list(  # noqa: PLR0913 - one listing, described whole
        self,
        entity: str,
        prefix: str = "",
        *,
        start: str = "",
        end: str | None = None,
        after: str = "",
        limit: int = 100,
    ) -> tuple[dict[str, Any], bool]:
        page = self._node.admin_list_state(
            entity, prefix, after, limit, self._caller, start=start, end=end
        )
        return page["items"], page["more"]

    def read_value(self, entity: str, key: str) -> AsyncIterator[bytes]:
        return self._node.read_value(entity, key)

    async def write_value(
        self, entity: str, key: str, source: Iterable[bytes], *, expected: str | None = None
    ) -> BigValue:
        return await self._node.write_value(entity, key, source, expected=expected)

    async def run_program(self, **order: Any) -> int:
        return await self._node.run_program(**order, caller=self._caller)

    async def read_output(self, pid: int, *, after: int = 0, wait_ms: int = 0) -> dict[str, Any]:
        return await self._node.read_output(pid, after=after, wait_ms=wait_ms, caller=self._caller)

    async def write_input(self, pid: int, data: bytes, *, is_end: bool = False) -> None:
        await self._node.write_input(pid, data, is_end=is_end, caller=self._caller)

    async def processes(self) -> list[dict[str, Any]]:
        return self._node.processes(self._caller)

    async def kill(self, pid: int) -> None:
        self._node.kill(pid, self._caller)

    async def node_info(self) -> dict[str, Any]:
        return self._node.info()

    async def audit(self, limit: int = 100) -> list[dict[str, Any]]:
        return self._node.read_audit(limit, self._caller)


@asynccontextmanager
async def open_backend(target: Target, *, may_create: bool = False) -> AsyncGenerator[Backend]:
    """Opens the node `target` names; a data directory is made only by a command that fills it.

    A node on this machine that is just starting is waited for (`waiting_node`).

    Raises:
        NotFound: no node was named and there is no data directory.
        StoreInUse: a running node holds the data directory.
        BadArguments: the node's URL is none.
    """
    if target.url is not None:
        from lithox.client import Client

        await wait_until_listening(target.url)
        async with Client(target.url, target.token) as client:
            yield client
        return
    if not may_create and not target.data.is_dir():
        raise NotFound(
            f"no data directory {target.data}; name a running node with --node, or a data "
            "directory with --data"
        )
    from lithox.node.node import Node

    # Services run where a node is served; a command only looks in for a moment.
    async with Node(target.data, keeps_services=False) as node:
        yield EmbeddedBackend(node)

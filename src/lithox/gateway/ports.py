"""What the gateway asks of a node; `lithox.node.Node` has all of it, tests give a fake.

Invariants: everything runs on the node's own asyncio loop; `submit` never raises for an expected
error; every other method raises a `LithoxError` where it says no.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, Protocol

from lithox.model.big_values import BigValue
from lithox.model.limits import Limits
from lithox.model.request import Answer, Call, Caller, Request
from lithox.modules.bundle import Bundle
from lithox.node.big_values import OpenValue, Source


class Deployed(Protocol):
    """What a deploy published."""

    def to_json(self) -> dict[str, Any]:
        """Returns {"modules": {source: digest}, "templates": [...], "handlers": {...}}."""
        ...


class GatewayNode(Protocol):
    """The node as seen from outside. See `lithox.node.Node` for what each method promises."""

    def deadline_in(self, duration_ms: int) -> int:
        """Returns `Request.deadline_ns` that many milliseconds from now."""
        ...

    def submit(self, request: Request) -> asyncio.Future[Answer]: ...

    def submit_to(self, request: Request, on_answer: Callable[[Answer], None]) -> None: ...

    def make_group(
        self,
        calls: tuple[Call, ...],
        *,
        request_id: str | None,
        limits: Limits | None,
        deadline_ms: int | None,
        caller: Caller | None,
    ) -> Request: ...

    async def accept(self, request: Request, *, callback: str | None = None) -> str: ...

    async def request_outcome(
        self,
        request_id: str,
        *,
        entity: str | None = None,
        wait_ms: int = 0,
        caller: Caller | None = None,
    ) -> Answer | None: ...

    def callbacks_dead(
        self, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> dict[str, Any]: ...

    async def callback_retry(
        self, identity: str, request_id: str, *, caller: Caller | None = None
    ) -> None: ...

    async def callback_purge(
        self, identity: str, request_id: str, *, caller: Caller | None = None
    ) -> None: ...

    def identify(self, token: str | None, *, is_loopback: bool) -> Caller: ...

    def check_deployer(self, caller: Caller) -> None: ...

    async def deploy(
        self, bundle: Bundle, caller: Caller | None = None, *, check: bool = False
    ) -> Deployed: ...

    async def admin_show(self, entity: str, caller: Caller) -> dict[str, Any]: ...

    async def admin_delete(self, entity: str, caller: Caller) -> None: ...

    def admin_get_state(self, entity: str, key: str, caller: Caller) -> Any: ...

    async def admin_put_state(self, entity: str, key: str, value: Any, caller: Caller) -> None: ...

    async def admin_delete_state(self, entity: str, key: str, caller: Caller) -> None: ...

    def admin_list_state(
        self, entity: str, prefix: str, after: str, limit: int, caller: Caller, **within: Any
    ) -> dict[str, Any]: ...

    @property
    def big_value_bytes_max(self) -> int: ...

    def open_value(self, entity: str, key: str, *, caller: Caller | None = None) -> OpenValue: ...

    async def write_value(
        self,
        entity: str,
        key: str,
        source: Source,
        *,
        expected: str | None = None,
        caller: Caller | None = None,
    ) -> BigValue: ...

    def admin_get_handlers(self, entity: str, caller: Caller) -> dict[str, Any]: ...

    async def admin_put_handlers(
        self, entity: str, handlers: dict[str, Any], caller: Caller
    ) -> None: ...

    def list_entities(
        self, prefix: str, after: str, limit: int, caller: Caller
    ) -> dict[str, Any]: ...

    def store_get(
        self, kind: str, name: str, version: int | None = None, *, caller: Caller | None = None
    ) -> tuple[bytes, dict[str, Any]]: ...

    def store_list(
        self,
        kind: str,
        prefix: str = "",
        *,
        after: str = "",
        limit: int = 100,
        caller: Caller | None = None,
    ) -> tuple[list[dict[str, Any]], bool]: ...

    def store_history(
        self,
        kind: str,
        name: str,
        *,
        before: int | None = None,
        limit: int = 1_000,
        caller: Caller | None = None,
    ) -> list[dict[str, Any]]: ...

    async def store_set(  # noqa: PLR0913 - one change, described whole
        self,
        kind: str,
        name: str,
        text: bytes | str,
        *,
        note: str | None = None,
        runtime: str | None = None,
        check: str | None = None,
        caller: Caller | None = None,
    ) -> int: ...

    async def store_rollback(
        self,
        kind: str,
        name: str,
        version: int,
        *,
        note: str | None = None,
        caller: Caller | None = None,
    ) -> int: ...

    async def store_remove(
        self, kind: str, name: str, *, forgets_history: bool = False, caller: Caller | None = None
    ) -> int: ...

    async def service_list(self, *, caller: Caller | None = None) -> list[dict[str, Any]]: ...

    async def service_show(
        self,
        name: str,
        *,
        seen: int | None = None,
        wait_ms: int = 0,
        caller: Caller | None = None,
    ) -> dict[str, Any]: ...

    async def service_put(
        self, name: str, definition: dict[str, Any], *, caller: Caller | None = None
    ) -> dict[str, Any]: ...

    async def service_start(self, name: str, *, caller: Caller | None = None) -> None: ...

    async def service_stop(self, name: str, *, caller: Caller | None = None) -> None: ...

    async def service_restart(self, name: str, *, caller: Caller | None = None) -> None: ...

    async def service_remove(self, name: str, *, caller: Caller | None = None) -> None: ...

    async def service_logs(
        self,
        name: str,
        *,
        lines: int | None = None,
        after: int | None = None,
        wait_ms: int = 0,
        caller: Caller | None = None,
    ) -> dict[str, Any]: ...

    def backup(self, *, caller: Caller | None = None) -> AsyncIterator[bytes]: ...

    def entity_export(
        self, pattern: str, *, caller: Caller | None = None
    ) -> AsyncIterator[bytes]: ...

    async def entity_import(
        self, chunks: AsyncIterable[bytes], *, mode: str = ..., caller: Caller | None = None
    ) -> dict[str, Any]: ...

    async def messages_list(
        self, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> tuple[list[dict[str, Any]], bool]: ...

    async def messages_dead(
        self, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> tuple[list[dict[str, Any]], bool]: ...

    async def messages_retry(
        self, ids: list[str] | None = None, *, caller: Caller | None = None
    ) -> int: ...

    async def messages_purge(
        self, ids: list[str] | None = None, *, caller: Caller | None = None
    ) -> int: ...

    async def timers_list(
        self, entity: str, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> tuple[list[dict[str, Any]], bool]: ...

    async def timers_cancel(
        self, entity: str, timer_id: str, *, caller: Caller | None = None
    ) -> None: ...

    def processes(self, caller: Caller) -> list[dict[str, Any]]: ...

    def release_waiting(self) -> None: ...

    def process_show(self, pid: int, caller: Caller) -> dict[str, Any]: ...

    async def run_program(  # noqa: PLR0913 - one order, described whole
        self,
        *,
        program: str | None = None,
        code: str | bytes | None = None,
        name: str | None = None,
        runtime: str | None = None,
        args: list[Any] | tuple[Any, ...] = (),
        limits: Limits | None = None,
        priority: int | None = None,
        mode: str | None = None,
        caller: Caller | None = None,
    ) -> int: ...

    async def read_output(
        self, pid: int, *, after: int = 0, wait_ms: int = 0, caller: Caller | None = None
    ) -> dict[str, Any]: ...

    async def write_input(
        self, pid: int, data: bytes, *, is_end: bool = False, caller: Caller | None = None
    ) -> None: ...

    def kill(self, pid: int, caller: Caller) -> None: ...

    def info(self) -> dict[str, Any]: ...

    def statistics(self) -> dict[str, float]: ...

    def is_ready(self) -> bool: ...

    def read_audit(self, limit: int, caller: Caller) -> list[dict[str, Any]]: ...

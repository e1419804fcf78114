"""Services for administrators outside: HTTP, the command line, the Python API.

init keeps the services; this checks what comes from outside, asks init, and leaves an audit record
of every act. A definition is a table as `[[service]]` of a manifest takes it, and is shown in the
same form, so that what was shown can be put again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from lithox.errors import LithoxError, NotAvailable, NotFound, NotPermitted
from lithox.model.request import Caller
from lithox.modules.code import check_code_name
from lithox.modules.services import parse_service
from lithox.node.code_stores import RecordAct
from lithox.node.init_process import InitProcess
from lithox.node.registry import SERVICE_PREFIX, Registry
from lithox.node.service_logs import ServiceLog, ServiceLogs, check_lines

WAIT_MS_MAX: Final = 60_000
ACT_TIMEOUT_MS: Final = 600_000
"""How long an act may take: a chain of services stops or starts one after the other."""
SHUTDOWN_GRACE_MS: Final = 5_000
"""Beyond the deadline that init was given, for those it then kills."""

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Services:
    """The services of one node as its administrators use them."""

    init: InitProcess
    registry: Registry
    logs: ServiceLogs
    record_act: RecordAct
    _released: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    """Set once the node stops."""

    def has_any(self) -> bool:
        """Returns whether a service is defined, so that init is needed. Blocks: no."""
        return bool(self.registry.list(SERVICE_PREFIX, limit=1)[0])

    async def list(self, caller: Caller) -> list[Row]:
        """Returns one row a service, by name.

        Raises:
            NotPermitted: not an administrator.
            NotAvailable: init does not run.
        """
        async with self._reading(caller, "service.list"):
            rows: list[Row] = (await self.init.call("service.list"))[0]
            return [shown_row(row) for row in rows]

    async def show(
        self, caller: Caller, name: str, seen: int | None = None, wait_ms: int = 0
    ) -> Row:
        """Returns a service's row with its definition.

        Args:
            seen: its `changes` as last shown; then the answer waits for the next change.
            wait_ms: at most so long; 0 to 60,000.

        Raises:
            NotFound: no such service.
        """
        async with self._reading(caller, f"service.show:{name}"):
            check_code_name(name, "service")
            values = None
            if seen is not None and wait_ms > 0:
                values = await self._until_released(
                    self._ask_change(name, seen, min(wait_ms, WAIT_MS_MAX))
                )
            if values is None:
                values = await self._ask("service.show", name, None, 0)
            return shown_row(values[0])

    async def put(self, caller: Caller, name: str, definition: Row) -> Row:
        """Defines a service, or anew; returns its row once that is durable.

        What runs of it is restarted if the definition differs; a new one starts if it is to.

        Raises:
            ConfigError: what is wrong with the definition, by key.
            BadArguments: it requires what is not defined, or closes a ring.
        """
        async with self._acting(caller, "service.put", name):
            check_code_name(name, "service")
            spec = parse_service({**definition, "name": name}, f"service {name}")
            values = await self._ask("service.define", name, spec.to_plain())
            return shown_row(values[0])

    async def start(self, caller: Caller, name: str) -> None:
        """Starts a service and what it requires; returns when it is ready, raises why it is not."""
        async with self._acting(caller, "service.start", name):
            await self._ask("service.start", check_code_name(name, "service"))

    async def stop(self, caller: Caller, name: str) -> None:
        """Stops a service, those that require it first; returns when it has ended."""
        async with self._acting(caller, "service.stop", name):
            await self._ask("service.stop", check_code_name(name, "service"))

    async def restart(self, caller: Caller, name: str) -> None:
        """Stops a service and starts it again; returns when it is ready."""
        async with self._acting(caller, "service.restart", name):
            await self._ask("service.restart", check_code_name(name, "service"))

    async def remove(self, caller: Caller, name: str) -> None:
        """Stops a service and forgets its definition; its log files and storage stay.

        Raises:
            BadArguments: others require it.
        """
        async with self._acting(caller, "service.remove", name):
            await self._ask("service.remove", check_code_name(name, "service"))
            self.logs.forget(name)

    async def read_logs(
        self,
        caller: Caller,
        name: str,
        *,
        lines: int | None = None,
        after: int | None = None,
        wait_ms: int = 0,
    ) -> Row:
        """Returns {"text", "next", "missed"}: the last `lines`, or what follows offset `after`.

        Args:
            lines: 0 to 10,000; 100 if neither is said.
            after: `next` of an answer before; then it waits up to `wait_ms` for more.

        Raises:
            NotFound: no such service and no log of it.
        """
        async with self._reading(caller, f"service.logs:{name}"):
            check_code_name(name, "service")
            log = self.logs.open(name)
            if not log.end_offset and self.registry.find(SERVICE_PREFIX + name) is None:
                self.logs.forget(name)
                raise NotFound(f"no service {name!r}")
            if after is None:
                text, at = log.read_tail(100 if lines is None else check_lines(lines))
                return {"text": text, "next": at, "missed": 0}
            if after >= log.end_offset and wait_ms > 0:
                await self._until_released(_wait_written(log, min(wait_ms, WAIT_MS_MAX)))
            text, at, missed = log.read_after(after)
            return {"text": text, "next": at, "missed": missed}

    def release_waiting(self) -> None:
        """Answers everybody who waits for news with what there is; whoever comes later to wait is
        refused, since a caller that polls in a loop would be answered without end.

        Called when the node stops. Blocks: no.
        """
        self._released.set()

    async def shutdown(self, deadline_ms: int) -> None:
        """Ends all services, in order; what has not ended by the deadline is killed."""
        if self.init.pid is None or not self.init.is_ready:
            return
        await self.init.call("shutdown", deadline_ms, timeout_ms=deadline_ms + SHUTDOWN_GRACE_MS)

    async def _ask_change(self, name: str, seen: int, wait_ms: int) -> list[Any]:
        return await self.init.call(
            "service.show", name, seen, wait_ms, timeout_ms=wait_ms + ACT_TIMEOUT_MS
        )

    async def _until_released(self, waiting: Coroutine[Any, Any, T]) -> T | None:
        """Returns what `waiting` comes to; None, and it is cancelled, when the node stops first.

        Raises:
            NotAvailable: the node stops already.
        """
        if self._released.is_set():
            waiting.close()
            raise NotAvailable("the node stops; nobody may wait for its services' news")
        task = asyncio.ensure_future(waiting)
        released = asyncio.ensure_future(self._released.wait())
        try:
            await asyncio.wait({task, released}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            released.cancel()

    async def _ask(self, act: str, *args: Any) -> list[Any]:
        return await self.init.call(act, *args, timeout_ms=ACT_TIMEOUT_MS)

    @asynccontextmanager
    async def _acting(self, caller: Caller, act: str, name: str) -> AsyncGenerator[None]:
        """Lets administrators pass, and records what came of the act."""
        try:
            self._check_admin(caller)
            yield
        except LithoxError as error:
            self._record(caller, f"{act}:{name[:128]}", error)
            raise
        self._record(caller, f"{act}:{name}", None)

    @asynccontextmanager
    async def _reading(self, caller: Caller, act: str) -> AsyncGenerator[None]:
        """Lets administrators pass, and records a refusal only."""
        try:
            self._check_admin(caller)
        except NotPermitted as error:
            self._record(caller, act[:160], error)
            raise
        yield

    @staticmethod
    def _check_admin(caller: Caller) -> None:
        if not caller.is_admin:
            raise NotPermitted(f"{caller.identity} may not use services: it takes an administrator")

    def _record(self, caller: Caller, act: str, error: LithoxError | None) -> None:
        self.record_act(
            identity=caller.identity,
            act=act,
            entity="",
            outcome="ok" if error is None else error.code,
            detail="" if error is None else str(error),
        )


async def _wait_written(log: ServiceLog, wait_ms: int) -> None:
    """Waits until something is written to a log, or `wait_ms`."""
    written = asyncio.Event()
    cancel = log.watch(written.set)
    try:
        await asyncio.wait_for(written.wait(), wait_ms / 1000)
    except TimeoutError:
        return
    finally:
        cancel()


_DURATIONS: Final = ("backoff_min", "backoff_max", "burst_window", "stop_deadline")


def shown_row(row: Row) -> Row:
    """Returns init's row as it is shown: every field there, the definition as a manifest has it."""
    shown: Row = {
        "name": row["name"],
        "state": row["state"],
        "reason": row.get("reason"),
        "pid": row.get("pid"),
        "program": row.get("program"),
        "restarts": row["restarts"],
        "changes": row["changes"],
        "since_ms": row["since_ms"],
        "wanted": row["wanted"],
        "builtin": row["builtin"],
        "last_exit": row.get("last_exit"),
        "next_start_in_ms": row.get("next_start_in_ms"),
    }
    if "definition" in row:
        shown["definition"] = _definition_table(row["definition"])
    return shown


def _definition_table(plain: Row) -> Row:
    """Returns a definition with its quantities as `[[service]]` takes them."""
    table = {key: value for key, value in plain.items() if value is not None and key != "name"}
    for key in _DURATIONS:
        if f"{key}_ms" in table:
            table[key] = f"{table.pop(f'{key}_ms')}ms"
    log = table.get("log")
    if isinstance(log, dict):
        said: Row = log  # pyright: ignore[reportUnknownVariableType]
        table["log"] = {"max_size": said.get("bytes_max"), "files": said.get("files")}
    return table

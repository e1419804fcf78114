"""The native calls that need this node: stores, registry, device, entities, processes, terminals.

Each is a row of the table in `dispatch.programs.natives`; docs/reference/native.md is made from
them. A change is answered when it is durable. Who acts is the grant's caller, never the guest's
word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.job import Clock
from lithox.dispatch.programs.natives import (
    Given,
    Grant,
    NativeCall,
    Natives,
    Perform,
    Values,
)
from lithox.dispatch.programs.orders import whole_number
from lithox.dispatch.programs.process import Terminal
from lithox.dispatch.programs.programs import Programs
from lithox.errors import BadArguments, NotFound, NotOwner
from lithox.model.ids import check_entity_path, check_handler_name, check_request_id
from lithox.model.request import Answer, Request
from lithox.node.code_calls import durably, register_code
from lithox.node.code_stores import CodeStores
from lithox.node.device import Device
from lithox.node.native_table import NODE_ROWS, entry_of
from lithox.node.registry import Registry

ENTITY_TIMEOUT_MS: Final = 30_000
TIMEOUT_MS_MAX: Final = 3_600_000
LEVELS: Final = ("debug", "info", "warning", "error")
LOG_TEXT_CHARACTERS_MAX: Final = 8_192
Future = asyncio.Future


@dataclass(slots=True, kw_only=True)
class NodeCalls:
    """What native calls reach.

    Attributes:
        info: what this node is.
        open_terminal: (kind, name) -> where a process given it writes.
        serve: (pid, context number) of the process that takes the node's own calls.
    """

    programs: Programs
    dispatcher: Dispatcher
    code: CodeStores
    registry: Registry
    device: Device
    clock: Clock
    info: Callable[[], dict[str, Any]]
    open_terminal: Callable[[str, str], Terminal]
    serve: Callable[[int, int], None]

    def register(self, natives: Natives) -> None:
        """Adds every row of the table."""
        performers: dict[str, Perform] = {
            "log.write": self._log,
            "time.now": self._now,
            "node.info": self._info,
            "process.list": self._processes,
            "process.info": self._process,
            "process.kill": self._kill,
            "entity.request": self._entity,
            "registry.get": self._registry_get,
            "registry.put": self._registry_put,
            "registry.delete": self._registry_delete,
            "registry.list": self._registry_list,
            "device.size": self._device_size,
            "device.read": self._device_read,
            "device.write": self._device_write,
            "output.open": self._open_output,
            "init.serve": self._serve,
            "context.take": self._take,
        }
        for row in NODE_ROWS:
            natives.add(entry_of(row, performers[row[0]]))
        register_code(natives, self.code)

    def _log(self, call: NativeCall) -> Values:
        level = call.text(0, "level")
        if level not in LEVELS:
            raise BadArguments(f"log.write: a level is one of {', '.join(LEVELS)}")
        self.programs.log(call.frame, level, call.text(1, "text")[:LOG_TEXT_CHARACTERS_MAX])
        return []

    def _now(self, call: NativeCall) -> Values:
        del call
        return [self.clock.wall_ns() // 1_000_000]

    def _info(self, call: NativeCall) -> Values:
        del call
        return [self.info()]

    def _processes(self, call: NativeCall) -> Values:
        del call
        return [self.programs.describe_all()]

    def _process(self, call: NativeCall) -> Values:
        found = self.programs.find(call.number(0, "pid"))
        if found is None:
            raise NotFound(f"no program runs as process {call.args[0]}")
        return [self.programs.describe(found)]

    def _kill(self, call: NativeCall) -> Values:
        pid = call.number(0, "pid")
        if self.programs.find(pid) is None or not self.programs.kill(pid, "request.cancelled"):
            raise NotFound(f"no program runs as process {pid}")
        return []

    def _entity(self, call: NativeCall) -> Future[Values]:
        args, said = call.option(2, []), call.option(3, {})
        if args == {}:
            args = []
        if not isinstance(args, list) or not isinstance(said, dict):
            raise BadArguments("entity.request: args is a list, options a table")
        options = cast("dict[str, Any]", said)
        timeout = whole_number(options.get("timeout_ms", ENTITY_TIMEOUT_MS), "timeout_ms")
        request_id = options.get("id")
        request = Request(
            entity=check_entity_path(call.text(0, "entity")),
            handler=check_handler_name(call.text(1, "handler")),
            args=cast("list[Any]", args),
            caller=call.grant.caller,
            request_id=None if request_id is None else check_request_id(str(request_id)),
            deadline_ns=self.clock.monotonic_ns()
            + min(max(timeout, 0), TIMEOUT_MS_MAX) * 1_000_000,
        )
        done: Future[Values] = asyncio.get_running_loop().create_future()

        def on_answer(answer: Answer) -> None:
            if done.done():
                return
            if answer.error is None:
                done.set_result([answer.value])
            else:
                done.set_exception(answer.error)

        self.dispatcher.submit(request, on_answer)
        return done

    def _record(self, call: NativeCall, act: str) -> None:
        """Leaves an audit record: what stands in the registry decides what init starts."""
        self.dispatcher.record_act(
            identity=call.grant.caller.identity, act=act, entity="", outcome="asked"
        )

    def _registry_get(self, call: NativeCall) -> Values:
        return [self.registry.find(call.text(0, "key"))]

    def _registry_put(self, call: NativeCall) -> Future[Values]:
        key, value = call.text(0, "key"), call.option(1)
        self._record(call, f"registry.put:{key}")
        return durably(lambda on_done: self.registry.put(key, value, on_done=on_done))

    def _registry_delete(self, call: NativeCall) -> Future[Values]:
        key = call.text(0, "key")
        self._record(call, f"registry.delete:{key}")
        return durably(lambda on_done: self.registry.delete(key, on_done=on_done))

    def _registry_list(self, call: NativeCall) -> Values:
        rows, more = self.registry.list(
            str(call.option(0, "")), str(call.option(1, "")), call.number(2, "limit", 100)
        )
        return [rows, more]

    def _device_size(self, call: NativeCall) -> Values:
        del call
        return [self.device.size()]

    def _device_read(self, call: NativeCall) -> Values:
        return [self.device.read(call.number(0, "offset"), call.number(1, "count"))]

    def _device_write(self, call: NativeCall) -> Future[Values]:
        data = call.option(1, b"")
        if isinstance(data, str):
            data = data.encode()
        if not isinstance(data, bytes):
            raise BadArguments("device.write: bytes are a string")
        offset = call.number(0, "offset")
        return durably(lambda on_done: self.device.write(offset, data, on_done=on_done))

    def _open_output(self, call: NativeCall) -> Values:
        terminal = self.open_terminal(call.text(0, "kind"), call.text(1, "name"))
        return [Given(Grant(names=("write",), caller=call.grant.caller, terminal=terminal))]

    def _serve(self, call: NativeCall) -> Values:
        self.serve(call.frame.pid, call.number(0, "ctx"))
        return []

    def _take(self, call: NativeCall) -> Values:
        pid, number = call.number(0, "pid"), call.number(1, "ctx")
        found = self.programs.get_descendant(call.frame, pid)
        interactions = self.programs.kernel.interactions
        if not interactions.owns(found.pid, number):
            raise NotOwner(f"context.take: process {pid} owns no context {number}")
        return [interactions.grant(found.pid, number, call.frame.pid)]

"""The native calls that need this node: stores, registry, device, entities, processes, terminals.

Each is a row of the table in `dispatch.programs.natives`; docs/reference/native.md is made from
them. A change is answered when it is durable. Who acts is the grant's caller, never the guest's
word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.job import Clock
from lithox.dispatch.programs.natives import (
    Given,
    Grant,
    NativeCall,
    NativeEntry,
    Natives,
    Perform,
    Values,
)
from lithox.dispatch.programs.process import Terminal
from lithox.dispatch.programs.programs import Programs
from lithox.errors import BadArguments, NotFound, NotOwner
from lithox.model.ids import check_entity_path, check_handler_name, check_request_id
from lithox.model.request import Answer, Request
from lithox.node.code_stores import CodeStores
from lithox.node.device import Device
from lithox.node.registry import Registry
from lithox.store.contract import OnDone

KINDS: Final = ("program", "library", "runtime")
ENTITY_TIMEOUT_MS: Final = 30_000
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
        wake: asks for a turn of the lanes.
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
        """Adds every row to the table."""
        for name, arguments, values, waits, perform, doc in self._rows():
            natives.add(
                NativeEntry(
                    name=name,
                    arguments=arguments,
                    values=values,
                    waits=waits,
                    doc=doc,
                    perform=perform,
                )
            )

    def _rows(self) -> Sequence[tuple[str, str, str, bool, Perform, str]]:
        rows: list[tuple[str, str, str, bool, Perform, str]] = [
            ("log.write", "level, text", "", False, self._log, "Writes a line of the node's log."),
            ("time.now", "", "ms", False, self._now, "Milliseconds since 1970."),
            ("node.info", "", "info", False, self._info, "What this node is."),
            ("process.list", "", "rows", False, self._processes, "All programs that run."),
            ("process.info", "pid", "row", False, self._process, "One program."),
            ("process.kill", "pid", "", False, self._kill, "Ends a process and its children."),
            (
                "entity.request",
                "entity, handler, args[, options]",
                "value",
                True,
                self._entity,
                "Runs a handler as a request; answered when durable. Options: id, timeout_ms.",
            ),
            (
                "registry.get",
                "key",
                "value",
                False,
                self._registry_get,
                "A value of the node's registry, nil when there is none.",
            ),
            (
                "registry.put",
                "key, value",
                "",
                True,
                self._registry_put,
                "Sets one; whoever listens to the queue `registry` of context 0 hears the key.",
            ),
            ("registry.delete", "key", "", True, self._registry_delete, "Removes one."),
            (
                "registry.list",
                "[prefix[, after[, limit]]]",
                "rows, more",
                False,
                self._registry_list,
                "Keys and values in order.",
            ),
            ("device.size", "", "bytes", False, self._device_size, "Size of the block device."),
            (
                "device.read",
                "offset, count",
                "bytes",
                False,
                self._device_read,
                "Bytes of the block device the system stands on.",
            ),
            (
                "device.write",
                "offset, bytes",
                "",
                True,
                self._device_write,
                "Writes them, in one commit.",
            ),
            (
                "output.open",
                "kind, name",
                "context",
                False,
                self._open_output,
                "A terminal for a process's `output`; kind: `log` (a service's file) or `session`.",
            ),
            (
                "init.serve",
                "ctx",
                "",
                False,
                self._serve,
                "Says that the node's own calls go to this context of the calling process.",
            ),
            (
                "context.take",
                "pid, ctx",
                "context",
                False,
                self._take,
                "Takes a share of a context that a descendant of this process owns, by its number.",
            ),
        ]
        for kind in KINDS:
            rows.extend(self._code_rows(kind))
        return rows

    # -- stores -----------------------------------------------------------------------------

    def _code_rows(self, kind: str) -> list[tuple[str, str, str, bool, Perform, str]]:
        code = self.code

        def get(call: NativeCall) -> Values:
            version = call.option(1)
            text, info = code.get(
                kind, call.text(0, "name"), None if version is None else call.number(1, "version")
            )
            return [_as_text(text), info]

        def set_(call: NativeCall) -> Future[Values]:
            text = call.option(1)
            if not isinstance(text, (str, bytes)):
                raise BadArguments(f"{call.name}: text is text")
            options: Any = call.option(3, {})
            return _durable(
                lambda on_done: code.set(
                    kind,
                    call.text(0, "name"),
                    text,
                    by=call.grant.caller.identity,
                    note=call.option(2),
                    runtime=_runtime_of(options),
                    on_done=on_done,
                ),
            )

        def rollback(call: NativeCall) -> Future[Values]:
            return _durable(
                lambda on_done: code.rollback(
                    kind,
                    call.text(0, "name"),
                    call.number(1, "version"),
                    by=call.grant.caller.identity,
                    on_done=on_done,
                ),
            )

        def remove(call: NativeCall) -> Future[Values]:
            return _durable(
                lambda on_done: code.remove(
                    kind, call.text(0, "name"), by=call.grant.caller.identity, on_done=on_done
                ),
            )

        def list_(call: NativeCall) -> Values:
            rows, more = code.list(
                kind,
                str(call.option(0, "")),
                str(call.option(1, "")),
                call.number(2, "limit", 100),
            )
            return [rows, more]

        def history(call: NativeCall) -> Values:
            return [code.history(kind, call.text(0, "name"))]

        return [
            (
                f"{kind}.get",
                "name[, version]",
                "text, info",
                False,
                get,
                f"The text of a {kind}, its newest version if none is named.",
            ),
            (
                f"{kind}.set",
                "name, text[, note[, options]]",
                "version",
                True,
                set_,
                f"Publishes a {kind} under a name; what runs keeps its text.",
            ),
            (
                f"{kind}.list",
                "[prefix[, after[, limit]]]",
                "rows, more",
                False,
                list_,
                "Names in order, with their newest version.",
            ),
            (f"{kind}.history", "name", "rows", False, history, "Its versions, newest first."),
            (
                f"{kind}.rollback",
                "name, version",
                "version",
                True,
                rollback,
                "Makes an old version the newest again.",
            ),
            (f"{kind}.remove", "name", "version", True, remove, "Takes a name out of the store."),
        ]

    # -- the rest ---------------------------------------------------------------------------

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
        timeout = options.get("timeout_ms", ENTITY_TIMEOUT_MS)
        request_id = options.get("id")
        request = Request(
            entity=check_entity_path(call.text(0, "entity")),
            handler=check_handler_name(call.text(1, "handler")),
            args=cast("list[Any]", args),
            caller=call.grant.caller,
            request_id=None if request_id is None else check_request_id(str(request_id)),
            deadline_ns=self.clock.monotonic_ns() + int(timeout) * 1_000_000,
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

    def _registry_get(self, call: NativeCall) -> Values:
        return [self.registry.find(call.text(0, "key"))]

    def _registry_put(self, call: NativeCall) -> Future[Values]:
        key, value = call.text(0, "key"), call.option(1)
        return _durable(lambda on_done: self.registry.put(key, value, on_done=on_done))

    def _registry_delete(self, call: NativeCall) -> Future[Values]:
        key = call.text(0, "key")
        return _durable(lambda on_done: self.registry.delete(key, on_done=on_done))

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
        return _durable(lambda on_done: self.device.write(offset, data, on_done=on_done))

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


def _durable(start: Callable[[OnDone], Any]) -> Future[Values]:
    """Starts a commit; promises what `start` returned (if anything) once it is durable."""
    done: Future[Values] = asyncio.get_running_loop().create_future()
    values: Values = []

    def on_done(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(values)
        else:
            done.set_exception(error)

    result = start(on_done)
    if result is not None:
        values.append(result)
    return done


def _runtime_of(options: Any) -> Any:
    """Returns the runtime that the options of a `set` name."""
    return cast("dict[str, Any]", options).get("runtime") if isinstance(options, dict) else None


def _as_text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data

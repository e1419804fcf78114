"""The native calls of the code stores: `program.get`, `library.set` and their like.

A change is answered when it is durable; who is on record for it is the grant's caller.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable
from typing import Any, cast

from lithox.dispatch.programs.natives import NativeCall, Natives, Values
from lithox.errors import BadArguments
from lithox.modules.boot import find_boot
from lithox.node.code_stores import BOOT_VERSION, CodeStores
from lithox.node.native_table import CODE_ROWS, entry_of
from lithox.store.contract import OnDone


class _KindCalls:
    """The calls of one store."""

    def __init__(self, code: CodeStores, kind: str) -> None:
        self._code = code
        self._kind = kind

    def get(self, call: NativeCall) -> Values:
        version = call.option(1)
        number = None if version is None else call.number(1, "version")
        if call.grant.is_boot_only and find_boot(self._kind, call.text(0, "name")) is not None:
            number = BOOT_VERSION
        text, info = self._code.get(self._kind, call.text(0, "name"), number)
        return [_as_text(text), info]

    def set(self, call: NativeCall) -> Future[Values]:
        text = call.option(1)
        if not isinstance(text, (str, bytes)):
            raise BadArguments(f"{call.name}: text is text")
        return durably(
            lambda on_done: self._code.set(
                self._kind,
                call.text(0, "name"),
                text,
                by=call.grant.caller.identity,
                note=call.option(2),
                runtime=_runtime_of(call.option(3, {})),
                on_done=on_done,
            )
        )

    def list(self, call: NativeCall) -> Values:
        prefix, after = str(call.option(0, "")), str(call.option(1, ""))
        return list(self._code.list(self._kind, prefix, after, call.number(2, "limit", 100)))

    def history(self, call: NativeCall) -> Values:
        return [self._code.history(self._kind, call.text(0, "name"))]

    def rollback(self, call: NativeCall) -> Future[Values]:
        return durably(
            lambda on_done: self._code.rollback(
                self._kind,
                call.text(0, "name"),
                call.number(1, "version"),
                by=call.grant.caller.identity,
                on_done=on_done,
            )
        )

    def remove(self, call: NativeCall) -> Future[Values]:
        return durably(
            lambda on_done: self._code.remove(
                self._kind, call.text(0, "name"), by=call.grant.caller.identity, on_done=on_done
            )
        )


def register_code(natives: Natives, code: CodeStores) -> None:
    """Adds the calls of all three stores to the table."""
    for kind, rows in CODE_ROWS.items():
        calls = _KindCalls(code, kind)
        for row in rows:
            natives.add(entry_of(row, getattr(calls, row[0].partition(".")[2])))


def durably(start: Callable[[OnDone], Any]) -> Future[Values]:
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

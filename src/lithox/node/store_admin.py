"""The stores of code for administrators outside: HTTP, the command line, the Python API.

Programs reach the stores through contexts, which say who may; from outside it takes an
administrator. A change is answered when it is durable. A text can be checked with a runtime before
it is set, because only the one who sets it knows what it is meant for.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from lithox.errors import NotAvailable, NotPermitted, TransactionError
from lithox.model.limits import MIB, Limits
from lithox.model.request import Caller
from lithox.modules.code import (
    RUNTIME,
    check_code_name,
    check_code_text,
    check_kind,
    digest_of_text,
)
from lithox.node.code_stores import CodeStores, Info, RecordAct, Rows
from lithox.runtimes.registry import RuntimeSpec, find_runtime, make_runtime
from lithox.sandbox.contract import Engine, Source
from lithox.store.contract import OnDone

CHECK_LIMITS: Final = Limits(fuel=500_000_000, memory_bytes=64 * MIB, calls=1_000)
"""What making the image of a checked text may use; as much as when a program is run."""


class StoreAdmin:
    """The stores of one node as its administrators use them."""

    def __init__(
        self, code: CodeStores, engines: Mapping[str, Engine], record_act: RecordAct
    ) -> None:
        self._code = code
        self._engines = engines
        self._record_act = record_act

    def get(
        self, caller: Caller, kind: str, name: str, version: int | None = None
    ) -> tuple[bytes, Info]:
        """Returns (text, info); see `CodeStores.get`. Raises NotPermitted too."""
        self._check_admin(caller, f"{kind}.get:{name}")
        return self._code.get(kind, name, version)

    def list(
        self, caller: Caller, kind: str, prefix: str, after: str, limit: int
    ) -> tuple[Rows, bool]:
        """Returns (rows, whether others follow); see `CodeStores.list`."""
        self._check_admin(caller, f"{kind}.list")
        return self._code.list(kind, prefix, after, limit)

    def history(self, caller: Caller, kind: str, name: str, before: int | None, limit: int) -> Rows:
        """Returns the kept versions, newest first; see `CodeStores.history`."""
        self._check_admin(caller, f"{kind}.history:{name}")
        return self._code.history(kind, name, before, limit)

    async def set(  # noqa: PLR0913 - one change, described whole
        self,
        caller: Caller,
        kind: str,
        name: str,
        text: bytes | str,
        *,
        note: str | None = None,
        runtime: str | None = None,
        check: str | None = None,
    ) -> int:
        """Sets a text and returns its version once it is durable; see `CodeStores.set`.

        Args:
            check: a runtime under which the text must load first; a runtime's text is loaded as
                what it is.

        Raises:
            CompileFailed: it was to be checked and does not load; nothing is set.

        Blocks: while a text that is checked loads.
        """
        self._check_admin(caller, f"{kind}.set:{name}")
        if check is not None:
            self.check(kind, name, text, check)
        return await _when_durable(
            lambda on_done: self._code.set(
                kind,
                name,
                text,
                by=caller.identity,
                note=note,
                runtime=runtime,
                on_done=on_done,
            )
        )

    async def rollback(
        self, caller: Caller, kind: str, name: str, version: int, *, note: str | None = None
    ) -> int:
        """Returns the new version once it is durable; see `CodeStores.rollback`."""
        self._check_admin(caller, f"{kind}.rollback:{name}")
        return await _when_durable(
            lambda on_done: self._code.rollback(
                kind, name, version, by=caller.identity, note=note, on_done=on_done
            )
        )

    async def remove(
        self, caller: Caller, kind: str, name: str, *, forgets_history: bool = False
    ) -> int:
        """Returns the version that says so once it is durable; see `CodeStores.remove`."""
        self._check_admin(caller, f"{kind}.remove:{name}")
        return await _when_durable(
            lambda on_done: self._code.remove(
                kind,
                name,
                by=caller.identity,
                forgets_history=forgets_history,
                on_done=on_done,
            )
        )

    def check(self, kind: str, name: str, text: bytes | str, runtime: str) -> None:
        """Compiles `text` as a program or library of `runtime`, or as a runtime of its own.

        Raises:
            CompileFailed: with file and line, it does not load.
            NotFound: no such runtime.
            NotAvailable: this node has no engine for it.

        Blocks: while it loads, within `CHECK_LIMITS`.
        """
        check_kind(kind)
        check_code_name(name, kind)
        data = check_code_text(text)
        if kind == RUNTIME:
            spec, data = make_runtime(name, data), b""
        else:
            spec = self._find_runtime(check_code_name(runtime, "runtime"))
        engine = self._engines.get(spec.engine)
        if engine is None:
            raise NotAvailable(f"this node has no {spec.engine!r} to check {name!r} with")
        # A key of its own: what was checked is not what will run, and need not be found again.
        key = hashlib.sha256(f"check\0{spec.name}\0{name}\0".encode() + data).hexdigest()
        for chunk, code in spec.preludes:
            key = hashlib.sha256(f"{key}\0{chunk}\0{digest_of_text(code)}".encode()).hexdigest()
        engine.load(
            Source(language=spec.engine, name=name, text=data, digest=key, preludes=spec.preludes),
            CHECK_LIMITS,
        )

    def _find_runtime(self, name: str) -> RuntimeSpec:
        return find_runtime(name) or make_runtime(name, self._code.get(RUNTIME, name)[0])

    def _check_admin(self, caller: Caller, act: str) -> None:
        if caller.is_admin:
            return
        error = NotPermitted(
            f"{caller.identity} may not use the stores from outside: it takes an administrator"
        )
        self._record_act(
            identity=caller.identity, act=act, entity="", outcome=error.code, detail=str(error)
        )
        raise error


async def _when_durable(start: Callable[[OnDone], int]) -> int:
    """Starts a change; returns its version once it is durable, or raises why it was withdrawn."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_done(error: TransactionError | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    version = start(on_done)
    await done
    return version

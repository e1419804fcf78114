"""The part of `lithox.Node` about the stores of code: as the operator, unless a caller is given.

`StoreAdmin` says what each promises, and does it; this gives the methods their public form, the
same names and orders as in `lithox.Client`.
"""

from __future__ import annotations

from lithox.model.request import Caller
from lithox.node.code_stores import Info, Rows
from lithox.node.store_admin import StoreAdmin
from lithox.security.identities import LOCAL_OPERATOR


class StoreMethods:
    """Methods of a node that has opened its stores."""

    _stores: StoreAdmin

    def store_get(
        self, kind: str, name: str, version: int | None = None, *, caller: Caller | None = None
    ) -> tuple[bytes, Info]:
        """Returns (text, info) of a program, library or runtime; the newest version for None."""
        return self._stores.get(caller or LOCAL_OPERATOR, kind, name, version)

    def store_list(
        self,
        kind: str,
        prefix: str = "",
        *,
        after: str = "",
        limit: int = 100,
        caller: Caller | None = None,
    ) -> tuple[Rows, bool]:
        """Returns ([{"name", **info}] by name, whether others follow the last)."""
        return self._stores.list(caller or LOCAL_OPERATOR, kind, prefix, after, limit)

    def store_history(
        self,
        kind: str,
        name: str,
        *,
        before: int | None = None,
        limit: int = 1_000,
        caller: Caller | None = None,
    ) -> Rows:
        """Returns the info of every kept version, newest first."""
        return self._stores.history(caller or LOCAL_OPERATOR, kind, name, before, limit)

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
    ) -> int:
        """Makes `text` the newest version; returns its number once it is durable."""
        return await self._stores.set(
            caller or LOCAL_OPERATOR, kind, name, text, note=note, runtime=runtime, check=check
        )

    async def store_rollback(
        self,
        kind: str,
        name: str,
        version: int,
        *,
        note: str | None = None,
        caller: Caller | None = None,
    ) -> int:
        """Makes the text of an old version the newest; returns its number once it is durable."""
        return await self._stores.rollback(caller or LOCAL_OPERATOR, kind, name, version, note=note)

    async def store_remove(
        self, kind: str, name: str, *, forgets_history: bool = False, caller: Caller | None = None
    ) -> int:
        """Removes a name; returns the version that says so once it is durable."""
        return await self._stores.remove(
            caller or LOCAL_OPERATOR, kind, name, forgets_history=forgets_history
        )

"""The stores of code of a node somewhere else: the part of `lithox.Client` that speaks of them."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from lithox.client.wire import Wire
from lithox.errors import BadArguments
from lithox.model.values import from_json, to_json

_encoder: Final = msgspec.json.Encoder()


class StoreMethods:
    """The methods of a client about the stores. Not made by itself: `lithox.Client` is one."""

    _wire: Wire

    async def store_get(
        self, kind: str, name: str, version: int | None = None
    ) -> tuple[bytes, dict[str, Any]]:
        """Returns (text, info) of a program, library or runtime.

        Args:
            kind: "program", "library" or "runtime".
            version: which; the newest for None, the package's copy for 0.

        Raises:
            NotFound: no such name, it was removed, or that version is not kept.
        """
        query = "" if version is None else f"?version={int(version)}"
        found = await self._wire.ask("GET", _path(kind, name) + query)
        text = from_json(found["text"])
        return text.encode() if isinstance(text, str) else text, found["info"]

    async def store_list(
        self, kind: str, prefix: str = "", *, after: str = "", limit: int = 100
    ) -> tuple[list[dict[str, Any]], bool]:
        """Returns ([{"name", "version", ...}] by name, whether others follow the last)."""
        wanted = urlencode({"prefix": prefix, "after": after, "limit": int(limit)}, quote_via=quote)
        page = await self._wire.ask("GET", f"/v1/code/{quote(str(kind), safe='')}?{wanted}")
        return page["items"], page["more"]

    async def store_history(
        self, kind: str, name: str, *, before: int | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Returns the kept versions, newest first; with `before` only those below it."""
        wanted: dict[str, int] = {"limit": int(limit)}
        if before is not None:
            wanted["before"] = int(before)
        found = await self._wire.ask("GET", f"{_path(kind, name)}/history?{urlencode(wanted)}")
        return found["versions"]

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
        """Makes `text` the newest version; returns its number once it is durable.

        Args:
            runtime: which one a program asks for; None: as the version before; "": none.
            check: a runtime under which the text must load first.

        Raises:
            CompileFailed: it was to be checked and does not load; nothing is set.
        """
        if not isinstance(text, (bytes, str)):
            raise BadArguments(f"a text is text or bytes; found {type(text).__name__}")
        said = {"note": note, "runtime": runtime, "check": check}
        body = {key: value for key, value in said.items() if value is not None}
        body["text"] = _plain_text(text.encode() if isinstance(text, str) else text)
        done = await self._wire.ask("PUT", _path(kind, name), _encoder.encode(body))
        return done["version"]

    async def store_rollback(
        self, kind: str, name: str, version: int, *, note: str | None = None
    ) -> int:
        """Makes the text of an old version the newest; returns its number once it is durable."""
        body = _encoder.encode({"version": int(version), "note": note})
        return (await self._wire.ask("POST", f"{_path(kind, name)}/rollback", body))["version"]

    async def store_remove(self, kind: str, name: str, *, forgets_history: bool = False) -> int:
        """Removes a name; returns the version that says so once it is durable."""
        query = "?history=true" if forgets_history else ""
        return (await self._wire.ask("DELETE", _path(kind, name) + query))["version"]


def _path(kind: str, name: str) -> str:
    if not name or name in (".", ".."):
        raise BadArguments(f"not a name: {name!r}")  # It would be another path.
    return f"/v1/code/{quote(str(kind), safe='')}/{quote(str(name), safe='')}"


def _plain_text(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return to_json(data)

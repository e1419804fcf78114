"""The services of a node somewhere else: the part of `lithox.Client` that speaks of them."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from lithox.client.wire import Wire
from lithox.errors import BadArguments
from lithox.model.values import check_value, from_json, to_json

_encoder: Final = msgspec.json.Encoder()
WAIT_MS_MAX: Final = 30_000
"""As long as the node lets one answer wait; a longer wait is several."""


class ServiceMethods:
    """The methods of a client about services. Not made by itself: `lithox.Client` is one."""

    _wire: Wire

    async def service_list(self) -> list[dict[str, Any]]:
        """Returns one row a service, by name: its state, process, reason and last exit."""
        return [from_json(row) for row in (await self._wire.ask("GET", "/v1/services"))["services"]]

    async def service_show(
        self, name: str, *, seen: int | None = None, wait_ms: int = 0
    ) -> dict[str, Any]:
        """Returns a service's row and definition; raises NotFound.

        Args:
            seen: `changes` of a row before: the answer then waits for another change.
            wait_ms: how long at most; above 30,000 counts as that.
        """
        query = ""
        if seen is not None:
            wanted = {"seen": int(seen), "wait_ms": min(int(wait_ms), WAIT_MS_MAX)}
            query = f"?{urlencode(wanted)}"
        return from_json(await self._wire.ask("GET", _path(name) + query))

    async def service_put(self, name: str, definition: dict[str, Any]) -> dict[str, Any]:
        """Defines a service as `[[service]]` of a manifest would; returns its row.

        Raises:
            ConfigError: what is wrong with the definition.
            BadArguments: it requires what is not defined, or closes a ring.
        """
        check_value(definition)
        said = {**definition}
        if isinstance(said.get("args"), list):
            said["args"] = to_json(said["args"])
        return from_json(await self._wire.ask("PUT", _path(name), _encoder.encode(said)))

    async def service_start(self, name: str) -> None:
        """Starts a service and what it requires; returns when it is ready, raises why not."""
        await self._wire.ask("POST", f"{_path(name)}:start")

    async def service_stop(self, name: str) -> None:
        """Stops a service, those that require it first; returns when it has ended."""
        await self._wire.ask("POST", f"{_path(name)}:stop")

    async def service_restart(self, name: str) -> None:
        """Stops a service and starts it again; returns when it is ready."""
        await self._wire.ask("POST", f"{_path(name)}:restart")

    async def service_remove(self, name: str) -> None:
        """Stops a service and forgets it; its log and storage stay."""
        await self._wire.ask("DELETE", _path(name))

    async def service_logs(
        self,
        name: str,
        *,
        lines: int | None = None,
        after: int | None = None,
        wait_ms: int = 0,
    ) -> dict[str, Any]:
        """Returns {"text": bytes, "next", "missed"}.

        Args:
            lines: the last so many; 100 if neither is said.
            after: `next` of an answer before: what follows it.
            wait_ms: with `after`, how long to wait for more; above 30,000 counts as that.
        """
        wanted = {"lines": lines, "after": after, "wait_ms": min(int(wait_ms), WAIT_MS_MAX)}
        query = urlencode({key: int(value) for key, value in wanted.items() if value is not None})
        page = await self._wire.ask("GET", f"{_path(name)}/logs?{query}")
        text = from_json(page["text"])
        return {**page, "text": text.encode() if isinstance(text, str) else text}


def _path(name: str) -> str:
    if not isinstance(name, str) or not name or name in (".", ".."):
        raise BadArguments(f"not a name: {name!r:.80}")  # It would be another path.
    return f"/v1/services/{quote(name, safe='')}"

"""Messages and timers of a node somewhere else: the part of `lithox.Client` that speaks of them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from lithox.client.wire import Wire
from lithox.errors import BadArguments, NotFound
from lithox.model.ids import check_entity_path
from lithox.model.values import from_json

_encoder: Final = msgspec.json.Encoder()
_DEAD: Final = "/v1/messages/dead"
Row = dict[str, Any]


class MessageMethods:
    """The methods of a client about messages. Not made by itself: `lithox.Client` is one."""

    _wire: Wire

    async def messages_list(self, *, after: str = "", limit: int = 100) -> tuple[list[Row], bool]:
        """Returns (messages that wait to be delivered, by id; whether others follow)."""
        page = await self._wire.ask("GET", f"/v1/messages?{_page(after, limit)}")
        return page["messages"], page["more"]

    async def messages_dead(self, *, after: str = "", limit: int = 100) -> tuple[list[Row], bool]:
        """Returns (messages that failed as often as they may, by id; whether others follow)."""
        page = await self._wire.ask("GET", f"{_DEAD}?{_page(after, limit)}")
        return [from_json(row) for row in page["dead"]], page["more"]

    async def messages_retry(self, ids: list[str] | None = None) -> int:
        """Puts dead letters (None: all) back to be delivered; returns how many, once durable."""
        body = {"all": True} if ids is None else {"ids": list(ids)}
        return int((await self._wire.ask("POST", _DEAD, _encoder.encode(body)))["count"])

    async def messages_purge(self, ids: list[str] | None = None) -> int:
        """Forgets dead letters (None: all) for good; returns how many, once durable."""
        if ids is None:
            return int((await self._wire.ask("DELETE", _DEAD))["count"])
        count = 0
        for one in ids:
            with suppress(NotFound):  # Gone already: the same as in a node in this process.
                await self._wire.ask("DELETE", f"{_DEAD}/{quote(one, safe='')}")
                count += 1
        return count

    async def timers_list(
        self, entity: str, *, after: str = "", limit: int = 100
    ) -> tuple[list[Row], bool]:
        """Returns (timers of an entity, by id; whether others follow)."""
        path = f"/v1/timers/{check_entity_path(entity)}?{_page(after, limit)}"
        page = await self._wire.ask("GET", path)
        return [from_json(row) for row in page["timers"]], page["more"]

    async def timers_cancel(self, entity: str, timer_id: str) -> None:
        """Cancels a timer of an entity; raises NotFound when there is none."""
        if not isinstance(timer_id, str) or not timer_id:
            raise BadArguments(f"not the id of a timer: {timer_id!r:.80}")
        path = f"/v1/timers/{check_entity_path(entity)}:{quote(timer_id, safe='')}"
        await self._wire.ask("DELETE", path)


def _page(after: str, limit: int) -> str:
    return urlencode({"after": after, "limit": int(limit)})

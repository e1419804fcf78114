"""The part of the fake node about messages and timers: two letters, two timers."""

from __future__ import annotations

from typing import Any

from lithox.errors import NotFound, NotPermitted
from lithox.model.request import Caller

LETTER: dict[str, Any] = {
    "id": "m.1",
    "sender": "a/b",
    "receiver": "c/d",
    "handler": "note",
    "timer": None,
    "account": "alice",
    "hops": 1,
    "sent_ms": 5,
}
TIMER: dict[str, Any] = {
    "id": "t.1",
    "handler": "tick",
    "args": [b"\x00", 2],
    "due": 1_767_225_600_000,
    "every": 1000,
    "cron": None,
    "zone": None,
    "missed": "once",
    "account": "alice",
}


class FakeMessages:
    """Remembers what was asked; only administrators may see messages.

    Attributes:
        message_acts: (what, arguments) of each act.
    """

    message_acts: list[tuple[str, Any]]

    def _admin(self, caller: Caller | None) -> None:
        if caller is not None and not caller.is_admin:
            raise NotPermitted("it takes an administrator")

    async def messages_list(
        self, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        self._admin(caller)
        self.message_acts.append(("list", (after, limit)))
        return [{**LETTER, "bytes": 70, "tries": 2}], True

    async def messages_dead(
        self, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        self._admin(caller)
        self.message_acts.append(("dead", (after, limit)))
        end = {"tries": 8, "code": "guest.raised", "message": "no", "died_ms": 9}
        return [
            {**LETTER, "args": [b"\xff"], **end},
            {"id": "m.2", "unreadable": "?", **end},
        ], False

    async def messages_retry(
        self, ids: list[str] | None = None, *, caller: Caller | None = None
    ) -> int:
        self._admin(caller)
        self.message_acts.append(("retry", ids))
        return 2 if ids is None else len(ids)

    async def messages_purge(
        self, ids: list[str] | None = None, *, caller: Caller | None = None
    ) -> int:
        self._admin(caller)
        self.message_acts.append(("purge", ids))
        return 2 if ids is None else len([one for one in ids if one != "none"])

    async def timers_list(
        self, entity: str, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        del caller
        self.message_acts.append(("timers", (entity, after, limit)))
        return [TIMER], False

    async def timers_cancel(
        self, entity: str, timer_id: str, *, caller: Caller | None = None
    ) -> None:
        del caller
        if timer_id != "t.1":
            raise NotFound(f"{entity} has no timer {timer_id!r}")
        self.message_acts.append(("cancel", (entity, timer_id)))

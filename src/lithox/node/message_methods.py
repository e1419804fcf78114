"""The part of `lithox.Node` about messages and timers: as the operator, unless a caller is given.

`MessageAdmin` says what each promises, and does it; this gives the methods their public form, the
same names and orders as in `lithox.Client`.
"""

from __future__ import annotations

from lithox.model.request import Caller
from lithox.node.message_admin import MessageAdmin, Row
from lithox.security.identities import LOCAL_OPERATOR


class MessageMethods:
    """Methods of a node that has opened its store."""

    _messages: MessageAdmin

    async def messages_list(
        self, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> tuple[list[Row], bool]:
        """Returns (messages that wait to be delivered, by id; whether others follow)."""
        return self._messages.list_waiting(caller or LOCAL_OPERATOR, after, limit)

    async def messages_dead(
        self, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> tuple[list[Row], bool]:
        """Returns (messages that failed as often as they may, by id; whether others follow)."""
        return self._messages.list_dead(caller or LOCAL_OPERATOR, after, limit)

    async def messages_retry(
        self, ids: list[str] | None = None, *, caller: Caller | None = None
    ) -> int:
        """Puts dead letters (None: all) back to be delivered; returns how many, once durable."""
        return await self._messages.retry_dead(caller or LOCAL_OPERATOR, ids)

    async def messages_purge(
        self, ids: list[str] | None = None, *, caller: Caller | None = None
    ) -> int:
        """Forgets dead letters (None: all) for good; returns how many, once durable."""
        return await self._messages.purge_dead(caller or LOCAL_OPERATOR, ids)

    async def timers_list(
        self, entity: str, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> tuple[list[Row], bool]:
        """Returns (timers of an entity, by id; whether others follow)."""
        return self._messages.list_timers(entity, caller or LOCAL_OPERATOR, after, limit)

    async def timers_cancel(
        self, entity: str, timer_id: str, *, caller: Caller | None = None
    ) -> None:
        """Cancels a timer of an entity; raises NotFound when there is none."""
        await self._messages.cancel_timer(entity, timer_id, caller or LOCAL_OPERATOR)

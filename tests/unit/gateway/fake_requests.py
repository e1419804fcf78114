"""The part of a fake node about groups and accepted requests: everything ends at once, or runs."""

from __future__ import annotations

from typing import Any

from lithox.errors import GuestRaised, NotFound, NotPermitted
from lithox.model.ids import EntityPath, HandlerName, RequestId, check_request_id
from lithox.model.limits import Limits
from lithox.model.request import Answer, Call, Caller, Request

DEAD = {
    "identity": "alice",
    "request": "r-1",
    "url": "https://example.org/hook",
    "tries": 8,
    "error": "answered with status 500",
    "at_ms": 1_700_000_000_000,
}


class FakeRequests:
    """`accepted` has what was accepted; `r-running` runs for ever, `r-failed` has failed."""

    accepted: list[tuple[Request, str | None]]
    looked: list[tuple[str, str | None, int]]
    dead: list[dict[str, Any]]

    def make_group(
        self,
        calls: tuple[Call, ...],
        *,
        request_id: str | None,
        limits: Limits | None,
        deadline_ms: int | None,
        caller: Caller | None,
    ) -> Request:
        assert caller is not None
        return Request(
            entity=EntityPath("~lithox/atomic"),
            handler=HandlerName("echo"),
            args=[[call.entity, call.handler, call.args] for call in calls],
            calls=calls,
            caller=caller,
            limits=limits,
            request_id=None if request_id is None else check_request_id(request_id),
            deadline_ns=None if deadline_ms is None else deadline_ms * 1_000_000,
        )

    async def accept(self, request: Request, *, callback: str | None = None) -> str:
        if callback is not None and "example.org" not in callback:
            raise NotPermitted("call-backs to that origin are not allowed")
        self.accepted.append((request, callback))
        return request.request_id or "a.made"

    async def request_outcome(
        self,
        request_id: str,
        *,
        entity: str | None = None,
        wait_ms: int = 0,
        caller: Caller | None = None,
    ) -> Answer | None:
        del caller
        self.looked.append((request_id, entity, wait_ms))
        if request_id == "r-running":
            return None
        if request_id == "r-unknown":
            raise NotFound("nothing runs or is kept under this id")
        if request_id == "r-failed":
            error = GuestRaised("sold out", code="app.sold_out", data={"blob": b"\0"})
            return Answer(request_id=RequestId(request_id), error=error)
        return Answer(request_id=RequestId(request_id), value={"done": b"\0"}, is_recorded=True)

    def callbacks_dead(
        self, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> dict[str, Any]:
        del caller
        found = [one for one in self.dead if f"{one['identity']}/{one['request']}" > after]
        return {"callbacks": found[:limit], "more": len(found) > limit}

    async def callback_retry(
        self, identity: str, request_id: str, *, caller: Caller | None = None
    ) -> None:
        await self.callback_purge(identity, request_id, caller=caller)

    async def callback_purge(
        self, identity: str, request_id: str, *, caller: Caller | None = None
    ) -> None:
        del caller
        for one in self.dead:
            if (one["identity"], one["request"]) == (identity, request_id):
                self.dead.remove(one)
                return
        raise NotFound("no such dead call-back")

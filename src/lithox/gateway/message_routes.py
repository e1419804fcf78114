"""The routes of messages and timers; who may do what is the node's to say.

Acts are answered when they are durable.
"""

from __future__ import annotations

from typing import Final

from lithox.errors import BadArguments, NotFound
from lithox.gateway import message_bodies as bodies
from lithox.gateway.answers import Reply, reply_done, reply_json
from lithox.gateway.paths import unquote_strict
from lithox.gateway.routes import Asked, Route
from lithox.model.values import to_json

PAGE: Final = ("after", "limit")


async def list_messages(asked: Asked) -> Reply:
    _, after, limit = asked.page
    rows, more = await asked.node.messages_list(after=after, limit=limit, caller=asked.caller)
    return reply_json({"messages": rows, "more": more})


async def list_dead(asked: Asked) -> Reply:
    _, after, limit = asked.page
    rows, more = await asked.node.messages_dead(after=after, limit=limit, caller=asked.caller)
    return reply_json({"dead": [to_json(row) for row in rows], "more": more})


async def retry_dead(asked: Asked) -> Reply:
    body: bodies.RetryBody = asked.body
    if (body.ids is None) != body.all:
        raise BadArguments("say which dead letters: ids, or all of them")
    count = await asked.node.messages_retry(body.ids, caller=asked.caller)
    return reply_json({"count": count})


async def purge_dead(asked: Asked) -> Reply:
    return reply_json({"count": await asked.node.messages_purge(caller=asked.caller)})


async def purge_one(asked: Asked) -> Reply:
    message_id = unquote_strict(asked.names["id"], "message")
    count = await asked.node.messages_purge([message_id], caller=asked.caller)
    if not count:
        raise NotFound(f"no dead letter {message_id[:80]!r}")
    return reply_json({"count": count})


async def list_timers(asked: Asked) -> Reply:
    _, after, limit = asked.page
    rows, more = await asked.node.timers_list(
        asked.entity, after=after, limit=limit, caller=asked.caller
    )
    return reply_json({"timers": [to_json(row) for row in rows], "more": more})


async def cancel_timer(asked: Asked) -> Reply:
    timer_id = unquote_strict(asked.names["timer"], "timer")
    await asked.node.timers_cancel(asked.entity, timer_id, caller=asked.caller)
    return reply_done()


_DEAD: Final = "/v1/messages/dead"
_TIMERS: Final = "/v1/timers/{entity}"
MESSAGE_ROUTES: Final[tuple[Route, ...]] = (
    Route(name="list_messages", method="GET", path="/v1/messages", summary="List what waits",
          respond=list_messages, answer=bodies.MessagesAnswer, query=PAGE),
    Route(name="list_dead", method="GET", path=_DEAD, summary="List dead letters",
          respond=list_dead, answer=bodies.DeadLettersAnswer, query=PAGE),
    Route(name="retry_dead", method="POST", path=_DEAD, summary="Deliver dead letters again",
          respond=retry_dead, body=bodies.RetryBody, answer=bodies.CountAnswer),
    Route(name="purge_dead", method="DELETE", path=_DEAD, summary="Forget all dead letters",
          respond=purge_dead, answer=bodies.CountAnswer),
    Route(name="purge_one", method="DELETE", path=f"{_DEAD}/{{id}}", summary="Forget a dead letter",
          respond=purge_one, answer=bodies.CountAnswer),
    Route(name="list_timers", method="GET", path=_TIMERS, summary="List an entity's timers",
          respond=list_timers, answer=bodies.TimersAnswer, query=PAGE),
    Route(name="cancel_timer", method="DELETE", path=f"{_TIMERS}:{{timer}}",
          summary="Cancel a timer", respond=cancel_timer, status=204),
)  # fmt: skip

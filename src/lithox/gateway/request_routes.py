"""The routes of groups of calls, of what became of a request, and of dead call-backs."""

from __future__ import annotations

from typing import Final

from lithox.errors import LithoxError
from lithox.gateway import request_bodies as bodies
from lithox.gateway.accepting import REQUEST_PATH, accept, check_waits, wants_async
from lithox.gateway.answers import Reply, reply_answer, reply_done, reply_json
from lithox.gateway.bodies import CallAnswer
from lithox.gateway.paths import read_amount, read_entity, unquote_strict
from lithox.gateway.process_routes import WAIT_MS_MAX
from lithox.gateway.routes import Asked, Route
from lithox.model.ids import check_entity_path, check_handler_name, check_request_id
from lithox.model.outcome import STATUS_RUNNING, outcome_to_json
from lithox.model.request import Call
from lithox.model.values import from_json


def _read_call(index: int, body: bodies.GroupCallBody) -> Call:
    try:
        return Call(
            entity=check_entity_path(body.entity),
            handler=check_handler_name(body.handler),
            args=[from_json(one, depth=1) for one in body.args],
        )
    except LithoxError as error:
        error.fields["call"] = index
        raise


async def atomic(asked: Asked) -> Reply:
    body: bodies.AtomicBody = asked.body
    raw_id = asked.facts.get(b"idempotency-key")
    request = asked.node.make_group(
        tuple(_read_call(index, one) for index, one in enumerate(body.calls)),
        request_id=None if raw_id is None else raw_id.decode("latin-1"),
        limits=None if body.limits is None else body.limits.to_limits(),
        deadline_ms=body.deadline_ms,
        caller=asked.caller,
    )
    if wants_async(asked.facts):
        return await accept(asked.node, request, body.callback)
    check_waits(body.callback)
    return reply_answer(await asked.node.submit(request))


async def show_request(asked: Asked) -> Reply:
    """The outcome with 200 whatever it is, since the lookup has succeeded; 202 while it runs."""
    request_id = check_request_id(unquote_strict(asked.names["id"], "request id"))
    entity, wait = asked.query.get("entity"), asked.query.get("wait_ms")
    answer = await asked.node.request_outcome(
        request_id,
        entity=None if entity is None else read_entity(entity.encode()),
        wait_ms=0 if wait is None else read_amount(wait, "wait_ms", (0, WAIT_MS_MAX)),
        caller=asked.caller,
    )
    if answer is None:
        return reply_json({"request": request_id, "status": STATUS_RUNNING}, status=202)
    return reply_json(outcome_to_json(answer))


async def list_dead(asked: Asked) -> Reply:
    _, after, limit = asked.page
    return reply_json(asked.node.callbacks_dead(after=after, limit=limit, caller=asked.caller))


async def retry_dead(asked: Asked) -> Reply:
    body: bodies.CallbackBody = asked.body
    await asked.node.callback_retry(body.identity, body.request, caller=asked.caller)
    return reply_done()


async def purge_dead(asked: Asked) -> Reply:
    body: bodies.CallbackBody = asked.body
    await asked.node.callback_purge(body.identity, body.request, caller=asked.caller)
    return reply_done()


_DEAD: Final = "/v1/callbacks/dead"
REQUEST_ROUTES: Final[tuple[Route, ...]] = (
    Route(name="atomic", method="POST", path="/v1/atomic",
          summary="Several calls in one transaction", respond=atomic,
          body=bodies.AtomicBody, answer=CallAnswer, later=bodies.AcceptedAnswer),
    Route(name="show_request", method="GET", path=REQUEST_PATH + "{id}",
          summary="The outcome of one's own request", respond=show_request,
          answer=bodies.OutcomeAnswer, later=bodies.AcceptedAnswer,
          query=("entity", "wait_ms")),
    Route(name="list_dead_callbacks", method="GET", path=_DEAD,
          summary="List call-backs that have failed", respond=list_dead,
          answer=bodies.DeadCallbacksAnswer, query=("after", "limit")),
    Route(name="retry_dead_callback", method="POST", path=f"{_DEAD}:retry",
          summary="Send a dead call-back again", respond=retry_dead,
          body=bodies.CallbackBody, status=204),
    Route(name="purge_dead_callback", method="POST", path=f"{_DEAD}:purge",
          summary="Forget a dead call-back", respond=purge_dead,
          body=bodies.CallbackBody, status=204),
)  # fmt: skip

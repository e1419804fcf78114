"""`Prefer: respond-async`: the request is taken, the answer is 202 once that is durable."""

from __future__ import annotations

from typing import Any, Final

from lithox.errors import BadArguments
from lithox.gateway.answers import Reply, reply_json
from lithox.gateway.guards import Facts
from lithox.gateway.ports import GatewayNode
from lithox.model.request import Request

RESPOND_ASYNC: Final = "respond-async"
REQUEST_PATH: Final = "/v1/requests/"


def wants_async(facts: Facts) -> bool:
    """Returns whether the sender prefers to be answered later (RFC 7240)."""
    prefer = facts.get(b"prefer")
    if prefer is None:
        return False
    said = (one.partition(";")[0].strip() for one in prefer.decode("latin-1").lower().split(","))
    return RESPOND_ASYNC in said


async def accept(node: GatewayNode, request: Request, callback: str | None) -> Reply:
    """Returns 202 with the request's id and where its outcome is found."""
    request_id = await node.accept(request, callback=callback)
    reply = reply_json({"request": request_id, "status": "accepted"}, status=202)
    headers = [
        (b"location", (REQUEST_PATH + request_id).encode()),
        (b"preference-applied", RESPOND_ASYNC.encode()),
    ]
    return Reply(reply.status, reply.body, reply.headers + headers)


def check_waits(callback: Any) -> None:
    """Raises BadArguments for a call-back of a request whose caller waits for the answer."""
    if callback is not None:
        raise BadArguments(
            "a callback is for a request that is answered later: send Prefer: respond-async, too"
        )

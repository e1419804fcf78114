"""The routing table: every path of HTTP version 1, what it takes and what it does.

The table is the only list of routes: matching, the OpenAPI document and its test read it. A path
template is literal text and `{names}`; `{entity}` may hold slashes but no colon, the part after a
colon may hold anything but is percent-decoded strictly.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct
from msgspec.json import Decoder

from lithox.gateway import bodies
from lithox.gateway.accepting import accept, check_waits, wants_async
from lithox.gateway.answers import Reply, reply_answer, reply_done, reply_json
from lithox.gateway.guards import Facts
from lithox.gateway.paths import read_amount, read_call_target, read_entity, unquote_strict
from lithox.gateway.ports import GatewayNode
from lithox.gateway.request_bodies import AcceptedAnswer
from lithox.gateway.streams import StreamReply
from lithox.gateway.values import BYTES, get_value, put_value, wants_bytes
from lithox.model.ids import check_request_id, check_state_key
from lithox.model.request import Caller, Request
from lithox.model.values import from_json, to_json

PAGE_LIMIT_DEFAULT: Final = 100
PAGE_LIMIT_MAX: Final = 500
"""Below the node's own bound of 1,000: an answer is made whole on the node's thread."""
PID_MAX: Final = (1 << 63) - 1
PAGE_QUERY: Final = ("prefix", "after", "limit")
STATE_QUERY: Final = ("prefix", "from", "to", "after", "limit")


async def _no_chunks() -> AsyncGenerator[bytes]:
    """The body of a request that has none."""
    return
    yield b""


@dataclass(slots=True, kw_only=True)
class Asked:
    """One admitted request on its way to its route; unfrozen for speed."""

    node: GatewayNode
    caller: Caller
    names: dict[str, bytes]
    """Raw text of the path's `{names}`, still percent-encoded."""
    query: dict[str, str]
    facts: Facts
    body: Any = None
    chunks: AsyncIterator[bytes] = field(default_factory=_no_chunks)
    """The body of a route that takes a stream."""

    @property
    def entity(self) -> str:
        return read_entity(self.names["entity"])

    @property
    def key(self) -> str:
        return check_state_key(unquote_strict(self.names["key"], "state key"))

    @property
    def page(self) -> tuple[str, str, int]:
        """(prefix, after, limit) of a listing."""
        text = self.query.get("limit")
        bounds = (1, PAGE_LIMIT_MAX)
        limit = PAGE_LIMIT_DEFAULT if text is None else read_amount(text, "limit", bounds)
        return self.query.get("prefix", ""), self.query.get("after", ""), limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table.

    Attributes:
        name: operation id, unique.
        path: template, `/v1/state/{entity}:{key}`.
        body, answer: shapes, or None where there is none.
        query: names of query parameters.
        is_public: needs no token.
        is_large: its body has the deploy's bound.
        takes: media type of a body that is read as it comes; in place of `body`, or beside it:
            then the body's own media type decides.
        gives: media type of an answer that is made while it leaves; in place of `answer`, or
            beside it: then the Accept header decides.
        status: of the successful answer.
        later: shape of the answer 202 when there is none yet, or None: never so.
        check: asked before any of the body is read; raises what refuses the caller.
        at_once_max: requests of this route that are read or answered at once; 0: no such bound.
    """

    name: str
    method: str
    path: str
    summary: str
    respond: Callable[[Asked], Awaitable[Reply | StreamReply]]
    body: type[Struct] | None = None
    answer: type[Struct] | None = None
    query: tuple[str, ...] = ()
    is_public: bool = False
    is_large: bool = False
    status: int = 200
    later: type[Struct] | None = None
    takes: str | None = None
    gives: str | None = None
    check: Callable[[Asked], None] | None = None
    at_once_max: int = 0


async def call(asked: Asked) -> Reply:
    """Runs a handler; the hot path."""
    entity, handler = read_call_target(asked.names["target"])
    body: bodies.CallBody = asked.body
    raw_id = asked.facts.get(b"idempotency-key")
    deadline_ms, limits = body.deadline_ms, body.limits
    request = Request(
        entity=entity,
        handler=handler,
        args=[from_json(one, depth=1) for one in body.args],
        caller=asked.caller,
        limits=None if limits is None else limits.to_limits(),
        deadline_ns=None if deadline_ms is None else asked.node.deadline_in(deadline_ms),
        request_id=None if raw_id is None else check_request_id(raw_id.decode("latin-1")),
    )
    if wants_async(asked.facts):
        return await accept(asked.node, request, body.callback)
    if body.callback is not None:
        check_waits(body.callback)
    return reply_answer(await asked.node.submit(request))


async def list_entities(asked: Asked) -> Reply:
    prefix, after, limit = asked.page
    return reply_json(asked.node.list_entities(prefix, after, limit, asked.caller))


async def show_entity(asked: Asked) -> Reply:
    return reply_json(to_json(await asked.node.admin_show(asked.entity, asked.caller)))


async def delete_entity(asked: Asked) -> Reply:
    await asked.node.admin_delete(asked.entity, asked.caller)
    return reply_done()


async def get_state(asked: Asked) -> Reply | StreamReply:
    if wants_bytes(asked.facts):
        return await get_value(asked)
    value = asked.node.admin_get_state(asked.entity, asked.key, asked.caller)
    return reply_json({"value": to_json(value)})


async def put_state(asked: Asked) -> Reply:
    if asked.body is None:
        return await put_value(asked)
    value = from_json(asked.body.value)
    await asked.node.admin_put_state(asked.entity, asked.key, value, asked.caller)
    return reply_done()


async def delete_state(asked: Asked) -> Reply:
    await asked.node.admin_delete_state(asked.entity, asked.key, asked.caller)
    return reply_done()


async def list_state(asked: Asked) -> Reply:
    prefix, after, limit = asked.page
    start, end = asked.query.get("from", ""), asked.query.get("to")
    page = asked.node.admin_list_state(
        asked.entity, prefix, after, limit, asked.caller, start=start, end=end
    )
    items = {key: to_json(value) for key, value in page["items"].items()}
    return reply_json({"items": items, "more": page["more"]})


async def get_handlers(asked: Asked) -> Reply:
    found = asked.node.admin_get_handlers(asked.entity, asked.caller)
    return reply_json({"handlers": to_json(found)})


async def put_handlers(asked: Asked) -> Reply:
    handlers = from_json(asked.body.handlers)
    await asked.node.admin_put_handlers(asked.entity, handlers, asked.caller)
    return reply_done()


async def list_processes(asked: Asked) -> Reply:
    return reply_json({"processes": asked.node.processes(asked.caller)})


async def kill_process(asked: Asked) -> Reply:
    text = unquote_strict(asked.names["pid"], "pid")
    asked.node.kill(read_amount(text, "pid", (0, PID_MAX)), asked.caller)
    return reply_done()


async def show_node(asked: Asked) -> Reply:
    return reply_json(asked.node.info())


async def read_audit(asked: Asked) -> Reply:
    _, _, limit = asked.page
    return reply_json({"records": asked.node.read_audit(limit, asked.caller)})


async def show_health(_asked: Asked) -> Reply:
    return reply_json({"status": "ok"})


async def show_readiness(asked: Asked) -> Reply:
    if asked.node.is_ready():
        return reply_json({"status": "ok"})
    return reply_json({"status": "store.unavailable"}, status=503)


_ENTITY: Final = "/v1/entities/{entity}"
_STATE: Final = "/v1/state/{entity}"
_ITEM: Final = "/v1/state/{entity}:{key}"
_HANDLERS: Final = "/v1/handlers/{entity}"
CALL_PATH: Final = "/v1/entities/{target}"
"""`{target}` is `{entity}:{handler}`; the OpenAPI document spells it out."""
CALL_PREFIX: Final = b"/v1/entities/"

CALL: Final = Route(
    name="call",
    method="POST",
    path=CALL_PATH,
    summary="Run a handler of an entity",
    respond=call,
    body=bodies.CallBody,
    answer=bodies.CallAnswer,
    later=AcceptedAnswer,
)
ROUTES: Final[tuple[Route, ...]] = (
    CALL,
    Route(name="list_entities", method="GET", path="/v1/entities", summary="List entities",
          respond=list_entities, answer=bodies.EntitiesAnswer, query=PAGE_QUERY),
    Route(name="show_entity", method="GET", path=_ENTITY, summary="Describe an entity",
          respond=show_entity, answer=bodies.EntityAnswer),
    Route(name="delete_entity", method="DELETE", path=_ENTITY, summary="Delete an entity",
          respond=delete_entity, status=204),
    Route(name="list_state", method="GET", path=_STATE, summary="List state items",
          respond=list_state, answer=bodies.ItemsAnswer, query=STATE_QUERY),
    Route(name="get_state", method="GET", path=_ITEM, summary="Read one state key",
          respond=get_state, answer=bodies.StateBody, gives=BYTES),
    Route(name="put_state", method="PUT", path=_ITEM, summary="Write one state key",
          respond=put_state, body=bodies.StateBody, takes=BYTES, status=204),
    Route(name="delete_state", method="DELETE", path=_ITEM, summary="Delete one state key",
          respond=delete_state, status=204),
    Route(name="get_handlers", method="GET", path=_HANDLERS, summary="Read the handler table",
          respond=get_handlers, answer=bodies.HandlersBody),
    Route(name="put_handlers", method="PUT", path=_HANDLERS, summary="Write the handler table",
          respond=put_handlers, body=bodies.HandlersBody, status=204),
    Route(name="list_processes", method="GET", path="/v1/processes", summary="List processes",
          respond=list_processes, answer=bodies.ProcessesAnswer),
    Route(name="kill_process", method="DELETE", path="/v1/processes/{pid}",
          summary="End a process", respond=kill_process, status=204),
    Route(name="show_node", method="GET", path="/v1/node", summary="Describe the node",
          respond=show_node),
    Route(name="read_audit", method="GET", path="/v1/audit", summary="Read the audit records",
          respond=read_audit, answer=bodies.AuditAnswer, query=("limit",)),
    Route(name="health", method="GET", path="/healthz", summary="The process lives",
          respond=show_health, answer=bodies.HealthAnswer, is_public=True),
    Route(name="readiness", method="GET", path="/readyz", summary="The store can be written",
          respond=show_readiness, answer=bodies.HealthAnswer, is_public=True),
)  # fmt: skip
"""One row a route. Kept in columns: a table reads better than eighteen blocks."""


class Router:
    """Finds the route of a method and a raw path. Blocks: no."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self.routes = routes
        self._decoder_by_name = {
            route.name: Decoder(route.body) for route in routes if route.body is not None
        }
        self._patterns: list[tuple[re.Pattern[bytes], dict[str, Route]]] = []
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_path.setdefault(route.path, {})[route.method] = route
        for path, methods in by_path.items():
            self._patterns.append((_pattern_of(path), methods))

    def decoder(self, route: Route) -> Decoder[Any]:
        """Returns the decoder of a route that takes a body."""
        return self._decoder_by_name[route.name]

    def find(self, method: str, path: bytes) -> tuple[Route, dict[str, bytes]] | frozenset[str]:
        """Returns (route, raw names), or the methods this path does take (empty: no such path)."""
        if method == "POST" and path.startswith(CALL_PREFIX):
            return CALL, {"target": path[len(CALL_PREFIX) :]}
        wanted = "GET" if method == "HEAD" else method
        allowed: set[str] = set()
        for pattern, methods in self._patterns:
            found = pattern.match(path)
            if found is None:
                continue
            route = methods.get(wanted)
            if route is not None:
                return route, found.groupdict()
            allowed |= methods.keys()
        return frozenset(allowed)


_NAME_PATTERNS: Final = {
    "entity": r"[^:]+",
    "target": r".+:[^:/]*",
    "key": r".*",
    "pid": r"[^/]+",
    "id": r"[^/]+",
    "kind": r"[^/]+",
    "pattern": r"[^:]+",
    "name": r"[^/]+",
    "timer": r"[^/]+",
}


def _pattern_of(path: str) -> re.Pattern[bytes]:
    """Returns the regular expression of a path template over raw bytes."""
    parts = re.split(r"\{([a-z]+)\}", path)
    text = "".join(
        f"(?P<{part}>{_NAME_PATTERNS[part]})" if odd % 2 else re.escape(part)
        for odd, part in enumerate(parts)
    )
    return re.compile(text.encode() + rb"\Z", re.DOTALL)

"""HTTP IN AND OUT: an ASGI application over one node.

The order of a request: headers that decide (guards), route, caller, announced size, body, route's
work, answer. Each step may refuse, and refuses before the next one costs anything. Everything runs
on the node's own event loop. A client's leaving does not end a run: nothing here watches for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from lithox.errors import BadArguments, NotFound, Overloaded, StoreUnavailable
from lithox.gateway.answers import Header, Reply, reply_error, reply_json
from lithox.gateway.bodies import read_body
from lithox.gateway.code_routes import CODE_ROUTES
from lithox.gateway.deploy_routes import DEPLOY_ROUTES
from lithox.gateway.guards import (
    Facts,
    Guards,
    check_body,
    has_body,
    media_type_of,
    read_facts,
    read_token,
    too_large,
)
from lithox.gateway.message_routes import MESSAGE_ROUTES
from lithox.gateway.metrics import CONTENT_TYPE, Metrics
from lithox.gateway.moving_routes import MOVING_ROUTES
from lithox.gateway.openapi import describe
from lithox.gateway.paths import read_query
from lithox.gateway.ports import GatewayNode
from lithox.gateway.process_routes import PROCESS_ROUTES
from lithox.gateway.request_routes import REQUEST_ROUTES
from lithox.gateway.routes import ROUTES, Asked, Route, Router
from lithox.gateway.service_routes import SERVICE_ROUTES
from lithox.gateway.settings import GatewaySettings
from lithox.gateway.streams import (
    ClientGone,
    Receive,
    Send,
    StreamReply,
    begin_stream,
    end_stream,
    read_chunks,
    send_stream,
)
from lithox.model.ids import AccountName, Identity
from lithox.model.request import Caller
from lithox.node.clock import RealClock

Scope = dict[str, Any]

_UNKNOWN: Final = "unknown"
_RETRY_AFTER_MS: Final = 1_000
_STOPPED: Final = (
    "the node stopped before it could answer; whether the run committed is not known here: "
    "ask again with the same request id"
)


class Gateway:
    """The ASGI application. Blocks: no; runs on the node's loop.

    Args:
        node: what the requests are for.
        settings: bounds and names.
        now_ns: a monotonic clock, for the time answers take.
    """

    def __init__(
        self,
        node: GatewayNode,
        settings: GatewaySettings,
        *,
        now_ns: Callable[[], int] = RealClock.monotonic_ns,
    ) -> None:
        self._now_ns = now_ns
        self._node = node
        self._settings = settings
        self._guards = Guards(settings)
        self.metrics = Metrics(node.statistics)
        self._openapi: Reply | None = None
        self._at_once: Counter[str] = Counter()
        """By name of a route with a bound: requests that are read or answered."""
        self._router = Router(
            (
                *ROUTES,
                *DEPLOY_ROUTES,
                *MESSAGE_ROUTES,
                *REQUEST_ROUTES,
                *PROCESS_ROUTES,
                *CODE_ROUTES,
                *SERVICE_ROUTES,
                *MOVING_ROUTES,
                *self._own_routes(),
            )
        )

    def _own_routes(self) -> tuple[Route, ...]:
        """The routes that speak of the gateway itself."""
        return (
            Route(
                name="metrics",
                method="GET",
                path="/metrics",
                summary="OpenMetrics text",
                respond=self._show_metrics,
            ),
            Route(
                name="openapi",
                method="GET",
                path="/v1/openapi.json",
                summary="This document",
                respond=self._show_openapi,
                is_public=True,
            ),
        )

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route that is really there."""
        return self._router.routes

    def find_route(self, method: str, path: bytes) -> tuple[Route, dict[str, bytes]] | None:
        """Returns the route of a request and the raw names in its path; None: there is none."""
        found = self._router.find(method, path)
        return None if isinstance(found, frozenset) else found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            raise BadArguments(f"only HTTP is spoken here; found {scope['type']!r}")
        started_ns = self._now_ns()
        name, headers = _UNKNOWN, list[Header]()
        try:
            facts = read_facts(scope["headers"])
            self._guards.check_sender(facts)
            found = self._router.find(scope["method"], scope["raw_path"])
            if isinstance(found, frozenset):
                if found:
                    headers.append((b"allow", ", ".join(sorted(found)).encode()))
                raise _no_route(scope, found)
            name = found[0].name
            reply = await self._respond(found, facts, scope, receive)
            if isinstance(reply, StreamReply):
                is_head = scope["method"] == "HEAD"
                reply = await (end_stream(reply) if is_head else begin_stream(reply))
        except ClientGone:
            return
        except asyncio.CancelledError:
            # Only a stop whose grace is over cancels; the run itself is the node's to end.
            reply = reply_error(StoreUnavailable(_STOPPED, retry_after_ms=1000))
        except Exception as error:  # noqa: BLE001 - the border: every fault gets an answer
            reply = reply_error(error)
        if isinstance(reply, StreamReply):
            await send_stream(reply, headers, receive, send)
            self.metrics.note(name, reply.status, self._now_ns() - started_ns)
            return
        status, body, reply_headers = reply
        await send(
            {"type": "http.response.start", "status": status, "headers": reply_headers + headers}
        )
        await send({"type": "http.response.body", "body": body})
        self.metrics.note(name, status, self._now_ns() - started_ns)

    async def _respond(
        self, found: tuple[Route, dict[str, bytes]], facts: Facts, scope: Scope, receive: Receive
    ) -> Reply | StreamReply:
        """Reads what the route takes and lets it work."""
        route, names = found
        asked = Asked(
            node=self._node,
            caller=self._identify(route, facts),
            names=names,
            query=read_query(scope["query_string"], route.query) if scope["query_string"] else {},
            facts=facts,
        )
        if route.check is not None:
            route.check(asked)
        with self._in_bound(route):
            await self._read_body(asked, route, receive)
            return await route.respond(asked)

    @contextmanager
    def _in_bound(self, route: Route) -> Generator[None]:
        """Counts a request of a route that may hold few; raises Overloaded for one too many."""
        if not route.at_once_max:
            yield
            return
        if self._at_once[route.name] >= route.at_once_max:
            raise Overloaded(
                f"{route.at_once_max} requests of {route.path} are being answered; try again",
                retry_after_ms=_RETRY_AFTER_MS,
            )
        self._at_once[route.name] += 1
        try:
            yield
        finally:
            self._at_once[route.name] -= 1

    async def _read_body(self, asked: Asked, route: Route, receive: Receive) -> None:
        """Reads what the route takes, or lets it read a stream itself."""
        facts = asked.facts
        is_stream = route.takes is not None and (
            route.body is None or media_type_of(facts) == route.takes
        )
        if route.body is not None and not is_stream:
            settings = self._settings
            bound = settings.deploy_bytes_max if route.is_large else settings.body_bytes_max
            check_body(facts, bound)
            raw = await read_whole(receive, bound)
            asked.body = read_body(self._router.decoder(route), raw or b"{}")
        elif is_stream:
            assert route.takes is not None
            bound = self._settings.stream_bytes_max
            check_body(facts, bound, media_type=route.takes)
            asked.chunks = read_chunks(receive, bound)
        elif route.method in {"GET", "DELETE"} and has_body(facts):
            raise BadArguments(f"{route.method} {route.path} takes no body")

    def _identify(self, route: Route, facts: Facts) -> Caller:
        if route.is_public:
            return _NOBODY
        return self._node.identify(read_token(facts), is_loopback=self._settings.is_loopback)

    async def _show_metrics(self, _asked: Asked) -> Reply:
        body = self.metrics.encode()
        return Reply(
            200,
            body,
            [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", b"%d" % len(body))],
        )

    async def _show_openapi(self, _asked: Asked) -> Reply:
        if self._openapi is None:
            self._openapi = reply_json(describe(self.routes))
        return self._openapi


_NOBODY: Final = Caller(identity=Identity("nobody"), account=AccountName("nobody"))
"""The caller of public routes, which ask for no right."""


async def read_whole(receive: Receive, bytes_max: int) -> bytes:
    """Returns the body; the protocol bounds the time it may take.

    Raises:
        TooLarge: it grew above `bytes_max` (a body of unannounced length).
        ClientGone: the connection ended first.
    """
    message = await receive()
    whole: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False):
        if len(whole) > bytes_max:
            raise too_large(bytes_max)
        return whole
    parts, size = [whole], len(whole)
    while message.get("more_body", False):
        if size > bytes_max:
            raise too_large(bytes_max)
        message = await receive()
        part: bytes = message.get("body", b"")
        parts.append(part)
        size += len(part)
    if message["type"] != "http.request":
        raise ClientGone
    if size > bytes_max:
        raise too_large(bytes_max)
    return b"".join(parts)


def _no_route(scope: Scope, methods: frozenset[str]) -> NotFound:
    path = scope["raw_path"][:80].decode("ascii", "backslashreplace")
    if methods:
        return NotFound(f"{path} takes {', '.join(sorted(methods))}; found {scope['method']}")
    return NotFound(f"no such path: {path}; /v1/openapi.json lists what is there")

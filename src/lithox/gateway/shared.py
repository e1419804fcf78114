"""HTTP IN AND OUT of a server of several processes: each connection is one to the whole server.

Stands before a process's `Gateway`. A request goes where the table says (`shared_table.py`): to the
gateway of this process, whole to a sibling, or to all of them, whose answers become one. Nothing is
checked here: whoever answers checks all of it, the sender and the caller too. A refusal by one
process is the answer of all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from lithox.errors import LithoxError, NotAvailable, PeerProtocolError
from lithox.gateway import merging
from lithox.gateway.answers import Reply, reply_error, reply_json
from lithox.gateway.app import Gateway, read_whole
from lithox.gateway.forwarding import Forwarder, Scope, answer_here
from lithox.gateway.metrics import CONTENT_TYPE
from lithox.gateway.paths import read_amount, read_entity, read_query, unquote_strict
from lithox.gateway.routes import CALL_PREFIX, PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PID_MAX, Route
from lithox.gateway.settings import STREAM_BYTES_MAX
from lithox.gateway.shared_moving import export_all, import_all
from lithox.gateway.shared_table import PLACES, Place
from lithox.gateway.streams import (
    ClientGone,
    Receive,
    Send,
    StreamReply,
    begin_stream,
    read_chunks,
    send_stream,
)

BODY_BYTES_MAX: Final = 1 << 20
_OK: Final = 200
_ONLY_IF_SPREAD: Final = (Place.LIST, Place.FIRST, Place.JOINED, Place.WHOLE)
_ERROR_STATUS: Final = 400
_NOT_FOUND: Final = 404
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Whole(Protocol):
    """What is asked of a server's layout; `cluster.sharing.Sharing` by way of the node."""

    @property
    def volume(self) -> int: ...

    @property
    def volumes(self) -> int: ...

    @property
    def is_spread(self) -> bool: ...

    def volume_of(self, entity: str) -> int: ...

    def owner_of_pid(self, pid: int) -> int: ...


class SharedGateway:
    """The ASGI application of one process of several. Blocks: no; runs on the node's loop.

    Args:
        gateway: of this process.
        whole: who owns what.
        forwarder: reaches the others, and for archives this one, too.
        stream_bytes_max: largest import.
    """

    def __init__(
        self,
        gateway: Gateway,
        whole: Whole,
        forwarder: Forwarder,
        *,
        stream_bytes_max: int = STREAM_BYTES_MAX,
    ) -> None:
        self._gateway = gateway
        self._stream_bytes_max = stream_bytes_max
        self._whole = whole
        self._forwarder = forwarder

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answers one request. A call is the gateway's at once: no frame of ours waits for it."""
        if scope["type"] != "http" or (
            scope["method"] == "POST" and scope["raw_path"].startswith(CALL_PREFIX)
        ):
            return self._gateway(scope, receive, send)
        return self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._gateway.find_route(scope["method"], scope["raw_path"])
        try:
            reply = await self._answer(found, scope, receive, send)
            if isinstance(reply, StreamReply):
                reply = await begin_stream(reply)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the border: every fault gets an answer
            reply = reply_error(error)
        if isinstance(reply, StreamReply):
            await send_stream(reply, [], receive, send)
        elif reply is not None:
            await _send_reply(reply, send, has_body=scope["method"] != "HEAD")

    async def _answer(
        self,
        found: tuple[Route, dict[str, bytes]] | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> Reply | StreamReply | None:
        """Has the right process answer; returns a reply that is still to be sent, if any."""
        place = Place.HERE if found is None else PLACES[found[0].name]
        if found is None or place is Place.HERE:
            await self._gateway(scope, receive, send)
            return None
        route, names = found
        if place in _ONLY_IF_SPREAD and not self._whole.is_spread:
            place = Place.LEAD
        if place is Place.WHOLE:
            raise NotAvailable(
                f"{route.path}: entities are spread over {self._whole.volumes} volumes, and no "
                "process has all of them; see docs/how-to/all-cores.md for how to move them"
            )
        is_head = scope["method"] == "HEAD"
        if place is Place.JOINED and is_head:
            # What is wrong with it any process can say, and there is no archive to be made.
            place = Place.HERE
        if place is Place.JOINED:
            return await self._of_volumes(route, scope, receive)
        if place in (Place.LIST, Place.ALL):
            # The bodies are read even if the client wants none.
            asked = {**scope, "method": "GET"} if is_head else scope
            return await self._of_all(route, asked, receive)
        if place is Place.FIRST:
            return await self._of_first(scope, receive)
        owner = self._whole.volume if place is Place.HERE else self._owner_of(place, names)
        if owner == self._whole.volume:
            await self._gateway(scope, receive, send)
        else:
            await self._forwarder.forward(owner, scope, receive, send)
        return None

    def _owner_of(self, place: Place, names: dict[str, bytes]) -> int:
        """Returns the volume whose process answers; this one's for names that are none."""
        try:
            if place is Place.ENTITY:
                return self._whole.volume_of(read_entity(names["entity"]))
            if place is Place.PID:
                text = unquote_strict(names["pid"], "pid")
                return self._whole.owner_of_pid(read_amount(text, "pid", (1, PID_MAX)))
        except LithoxError:
            return self._whole.volume
        return 0

    # -- several ----------------------------------------------------------------------------

    async def _of_all(self, route: Route, scope: Scope, receive: Receive) -> Reply:
        body = await read_whole(receive, BODY_BYTES_MAX)
        volumes = range(self._whole.volumes)
        replies = await asyncio.gather(*(self._ask(one, scope, body) for one in volumes))
        for reply in replies:
            if reply.status >= _ERROR_STATUS:
                return reply
        if route.name == "metrics":
            text = merging.merge_metrics([one.body.decode() for one in replies])
            length = (b"content-length", b"%d" % len(text))
            return Reply(_OK, text, [(b"content-type", CONTENT_TYPE.encode()), length])
        query = read_query(scope["query_string"], route.query)
        found = query.get("limit")
        limit = (
            PAGE_LIMIT_DEFAULT
            if found is None
            else read_amount(found, "limit", (1, PAGE_LIMIT_MAX))
        )
        try:
            bodies = [_decode(one.body) for one in replies]
            return reply_json(_MERGES[route.name](bodies, limit))
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            raise PeerProtocolError(f"a process answered in another form: {error}") from None

    async def _of_volumes(
        self, route: Route, scope: Scope, receive: Receive
    ) -> Reply | StreamReply:
        """Makes one archive of all, or takes one apart."""
        whole = self._whole
        if route.name == "import_entities":
            chunks = read_chunks(receive, self._stream_bytes_max)
            return await import_all(self._forwarder, whole.volume_of, scope, chunks)
        return await export_all(self._forwarder, whole.volumes, scope)

    async def _of_first(self, scope: Scope, receive: Receive) -> Reply:
        body = await read_whole(receive, BODY_BYTES_MAX)
        reply = reply_error(PeerProtocolError("no process answered"))
        for volume in range(self._whole.volumes):
            reply = await self._ask(volume, scope, body)
            if reply.status != _NOT_FOUND:
                return reply
        return reply

    async def _ask(self, volume: int, scope: Scope, body: bytes) -> Reply:
        if volume == self._whole.volume:
            return await answer_here(self._gateway, scope, body)
        return await self._forwarder.fetch(volume, scope, body)


def _id_of(row: dict[str, Any]) -> str:
    return row["id"]


def _callback_key(row: dict[str, Any]) -> str:
    return f"{row['identity']}/{row['request']}"


_MERGES: Final[dict[str, Callable[[list[dict[str, Any]], int], dict[str, Any]]]] = {
    "list_entities": merging.merge_entities,
    "list_messages": partial(merging.merge_rows, field="messages", key=_id_of),
    "list_dead": partial(merging.merge_rows, field="dead", key=_id_of),
    "list_dead_callbacks": partial(merging.merge_rows, field="callbacks", key=_callback_key),
    "list_processes": lambda bodies, _: merging.merge_processes(bodies),
    "read_audit": merging.merge_audit,
    "retry_dead": lambda bodies, _: merging.merge_counts(bodies),
    "purge_dead": lambda bodies, _: merging.merge_counts(bodies),
}
"""How each route's answers become one; `metrics` is no JSON."""


async def _send_reply(reply: Reply, send: Send, *, has_body: bool) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body if has_body else b""})

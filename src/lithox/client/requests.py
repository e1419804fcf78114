"""The part of `lithox.Client` about groups of calls, accepted requests and what became of an id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast
from urllib.parse import urlencode

import msgspec

from lithox.client.link import Link
from lithox.client.processes import encode_limits
from lithox.client.wire import Wire
from lithox.client.words import (
    call_words,
    group_words,
    later_words,
    read_accepted,
    read_result,
    read_told,
    result_words,
)
from lithox.errors import BadArguments, PeerProtocolError, rebuild
from lithox.model.ids import (
    RequestId,
    check_entity_path,
    check_handler_name,
    check_request_id,
)
from lithox.model.limits import Limits
from lithox.model.outcome import STATUS_OK
from lithox.model.request import Answer, Usage
from lithox.model.values import check_value, from_json, to_json

HTTP_ACCEPTED: Final = 202
CallSpec = Sequence[Any]
"""(entity, handler, *arguments)."""
_encoder: Final = msgspec.json.Encoder()


class RequestMethods:
    """Methods of a client; `lithox.Node` has the same and says what each promises."""

    _wire: Wire
    _link: Link | None

    async def atomic(
        self,
        calls: Iterable[CallSpec],
        *,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
    ) -> list[Any]:
        """Runs (entity, handler, *arguments) calls in one transaction; returns their values.

        Raises:
            LithoxError: with the number of the call it is about in its field `call`; nothing of
                any call remains.
        """
        answer = await self.ask_atomic(
            calls, request_id=request_id, limits=limits, deadline_ms=deadline_ms
        )
        if answer.error is not None:
            raise answer.error
        return answer.value

    async def ask_atomic(
        self,
        calls: Iterable[CallSpec],
        *,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
    ) -> Answer:
        """Runs a group like `atomic`; returns the whole answer, with what the run used."""
        if self._link is not None:
            options: Any = {"limits": limits, "deadline_ms": deadline_ms}
            words = group_words(calls, request_id=request_id, **options)
            return read_told(await self._link.ask(words))
        body = encode_group(calls, limits=limits, deadline_ms=deadline_ms)
        status, data = await self._wire.exchange(
            "POST", "/v1/atomic", body, request_id=_checked(request_id)
        )
        return read_answer(self._wire, status, data)

    async def call_async(  # noqa: PLR0913 - the public call, all but three by keyword
        self,
        entity: str,
        handler: str,
        *args: Any,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
        callback: str | None = None,
    ) -> str:
        """Has a call accepted to be run later; returns its request id once that is durable."""
        if self._link is not None:
            options: Any = {"limits": limits, "deadline_ms": deadline_ms}
            words = call_words(entity, handler, args, request_id=request_id, **options)
            return read_accepted(await self._link.ask(later_words(words, callback)))
        path = f"/v1/entities/{check_entity_path(entity)}:{check_handler_name(handler)}"
        body = encode_call(list(args), limits=limits, deadline_ms=deadline_ms, callback=callback)
        return await self._accept(path, body, request_id)

    async def atomic_async(
        self,
        calls: Iterable[CallSpec],
        *,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
        callback: str | None = None,
    ) -> str:
        """Has a group accepted to be run later; see `atomic` and `call_async`."""
        if self._link is not None:
            options: Any = {"limits": limits, "deadline_ms": deadline_ms}
            words = group_words(calls, request_id=request_id, **options)
            return read_accepted(await self._link.ask(later_words(words, callback)))
        body = encode_group(calls, limits=limits, deadline_ms=deadline_ms, callback=callback)
        return await self._accept("/v1/atomic", body, request_id)

    async def _accept(self, path: str, body: bytes, request_id: str | None) -> str:
        status, data = await self._wire.exchange(
            "POST", path, body, request_id=_checked(request_id), is_async=True
        )
        if status >= 300:
            raise self._wire.error_of(status, data)
        found = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
        if status != HTTP_ACCEPTED or not isinstance(found.get("request"), str):
            raise PeerProtocolError("the node did not say under which id it accepted the request")
        return found["request"]

    async def request_outcome(
        self, request_id: str, *, entity: str | None = None, wait_ms: int = 0
    ) -> Answer | None:
        """Returns what one's own request came to, or None while it runs; raises NotFound.

        Args:
            entity: whose handler was asked; not needed for accepted requests and groups.
            wait_ms: how long to wait for the end of one that runs, at most half a minute.
        """
        if self._link is not None:
            words = result_words(request_id, entity=entity, wait_ms=wait_ms)
            return read_result(await self._link.ask(words))
        query: dict[str, Any] = {"wait_ms": int(wait_ms)}
        if entity is not None:
            query["entity"] = check_entity_path(entity)
        path = f"/v1/requests/{check_request_id(request_id)}?{urlencode(query)}"
        status, data = await self._wire.exchange("GET", path)
        if status >= 300 or not isinstance(data, dict):
            raise self._wire.error_of(status, data)
        return None if status == HTTP_ACCEPTED else read_outcome(cast("dict[str, Any]", data))

    async def callbacks_dead(self, *, after: str = "", limit: int = 100) -> dict[str, Any]:
        """Returns {"callbacks": dead ones in order of identity and id, "more"}; for operators."""
        query = urlencode({"after": after, "limit": int(limit)})
        return await self._wire.ask("GET", f"/v1/callbacks/dead?{query}")

    async def callback_retry(self, identity: str, request_id: str) -> None:
        """Sends a dead call-back again; raises NotFound. For operators."""
        body = _encoder.encode({"identity": identity, "request": request_id})
        await self._wire.ask("POST", "/v1/callbacks/dead:retry", body)

    async def callback_purge(self, identity: str, request_id: str) -> None:
        """Forgets a dead call-back; raises NotFound. For operators."""
        body = _encoder.encode({"identity": identity, "request": request_id})
        await self._wire.ask("POST", "/v1/callbacks/dead:purge", body)


def _checked(request_id: str | None) -> str | None:
    return None if request_id is None else check_request_id(request_id)


def encode_call(
    args: list[Any],
    *,
    limits: Limits | None,
    deadline_ms: int | None,
    callback: str | None = None,
) -> bytes:
    """Returns the body of a call; raises BadArguments when `args` are not plain values."""
    check_value(args)
    return _encode({"args": to_json(args)}, limits, deadline_ms, callback)


def encode_group(
    calls: Iterable[CallSpec],
    *,
    limits: Limits | None,
    deadline_ms: int | None,
    callback: str | None = None,
) -> bytes:
    """Returns the body of a group; raises BadArguments for what is no call."""
    listed: list[dict[str, Any]] = []
    for index, spec in enumerate(calls):
        if isinstance(spec, str) or len(spec) < 2:
            raise BadArguments(
                f"call {index} is (entity, handler, *arguments); found {spec!r:.80}", call=index
            )
        entity, handler, *args = spec
        check_value(args)
        listed.append(
            {
                "entity": check_entity_path(entity),
                "handler": check_handler_name(handler),
                "args": to_json(args),
            }
        )
    return _encode({"calls": listed}, limits, deadline_ms, callback)


def _encode(
    body: dict[str, Any], limits: Limits | None, deadline_ms: int | None, callback: str | None
) -> bytes:
    if limits is not None:
        body["limits"] = encode_limits(limits)
    if deadline_ms is not None:
        body["deadline_ms"] = deadline_ms
    if callback is not None:
        body["callback"] = callback
    return _encoder.encode(body)


def read_answer(wire: Wire, status: int, data: Any) -> Answer:
    """Returns the answer in the body of a call or group."""
    if status >= 300 or not isinstance(data, dict):
        return Answer(error=wire.error_of(status, data), usage=read_usage(data))
    found = cast("dict[str, Any]", data)
    return Answer(
        request_id=found.get("request"),
        value=from_json(found.get("value")),
        usage=read_usage(found),
    )


def read_outcome(found: dict[str, Any]) -> Answer:
    """Returns the outcome a lookup or a call-back tells."""
    request_id = RequestId(str(found.get("request")))
    status = str(found.get("status"))
    if status == STATUS_OK:
        value = from_json(found.get("value"))
        return Answer(request_id=request_id, value=value, is_recorded=True)
    fields = found.get("error")
    said = cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}
    plain = {name: from_json(value) for name, value in said.items()}
    return Answer(request_id=request_id, error=rebuild(status, plain), is_recorded=True)


def read_usage(data: Any) -> Usage:
    """Returns the usage object of an answer; zeros where there is none."""
    body = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    said = body.get("usage")
    if not isinstance(said, dict):
        return Usage()
    said = cast("dict[str, Any]", said)
    return Usage(
        fuel=said.get("fuel", 0),
        cpu_ns=said.get("cpu_us", 0) * 1000,
        wall_ns=int(said.get("ms", 0) * 1e6),
        memory_bytes=said.get("memory", 0),
        attempts=said.get("attempts", 0),
    )

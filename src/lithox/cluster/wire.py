"""What crosses a link between two processes of one server: requests, answers, questions.

    item    [REQUEST, number, entity, handler, args, identity, account, is_admin, limits, left_ns,
             request id, hops, owner, calls, origin]
            [ANSWER, number, value, error, usage, request id, is_recorded]
            [ASK, number, name, payload]        [TOLD, number, error, payload]
    limits  null or an array in the order of LIMIT_FIELDS
    left_ns what is left of the deadline, which may be below 0; null: there is none
    calls   null or an array of [entity, handler, args]
    error   null or [code, fields]; a fault of ours is ["internal", {"message"}]

All of it is MessagePack, encoded once and decoded once. Both ends are the same version of lithox,
started by one parent; what is not of this form is a torn or foreign stream and ends the link.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from lithox.dispatch.elsewhere import decode_origin, encode_origin
from lithox.errors import InternalError, LithoxError, PeerProtocolError, rebuild
from lithox.model.ids import AccountName, EntityPath, HandlerName, Identity, RequestId
from lithox.model.limits import LIMIT_FIELDS, Limits
from lithox.model.request import Answer, Call, Caller, Request, Usage

REQUEST: Final = 0
ANSWER: Final = 1
ASK: Final = 2
TOLD: Final = 3
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_item: Final = msgspec.msgpack.Decoder(list[Any]).decode
_INTERNAL: Final = "internal"


def encode_request(number: int, request: Request, now_ns: int) -> bytes:
    """Returns the item of a request. Raises BadArguments for arguments that are no values."""
    caller, limits, deadline_ns = request.caller, request.limits, request.deadline_ns
    calls = [[one.entity, one.handler, one.args] for one in request.calls] or None
    return _encode(
        (
            REQUEST,
            number,
            request.entity,
            request.handler,
            request.args,
            caller.identity,
            caller.account,
            caller.is_admin,
            None if limits is None else [getattr(limits, name) for name in LIMIT_FIELDS],
            None if deadline_ns is None else deadline_ns - now_ns,
            request.request_id,
            request.hops,
            request.owner,
            calls,
            encode_origin(request.origin),
        )
    )


def decode_request(item: list[Any], now_ns: int) -> Request:
    """Returns the request of an item; raises PeerProtocolError."""
    try:
        (_, _, entity, handler, args, identity, account, is_admin, limits, left_ns, request_id,
         hops, owner, calls, origin) = item  # fmt: skip
        if not (isinstance(entity, str) and isinstance(handler, str) and isinstance(args, list)):
            raise TypeError("a name or the arguments are none")
        return Request(
            entity=EntityPath(entity),
            handler=HandlerName(handler),
            args=cast("list[Any]", args),
            caller=Caller(
                identity=Identity(identity), account=AccountName(account), is_admin=is_admin
            ),
            limits=None
            if limits is None
            else Limits(**dict(zip(LIMIT_FIELDS, limits, strict=True))),
            deadline_ns=None if left_ns is None else now_ns + left_ns,
            request_id=None if request_id is None else RequestId(request_id),
            hops=hops,
            owner=owner,
            calls=()
            if calls is None
            else tuple(Call(entity=one[0], handler=one[1], args=one[2]) for one in calls),
            origin=None if origin is None else decode_origin(origin),
        )
    except (ValueError, TypeError, IndexError) as error:
        raise PeerProtocolError(f"a request of another process cannot be read: {error}") from None


def encode_answer(number: int, answer: Answer) -> bytes:
    """Returns the item of an answer."""
    usage = answer.usage
    return _encode(
        (
            ANSWER,
            number,
            answer.value,
            None if answer.error is None else _pack_error(answer.error),
            (
                usage.fuel,
                usage.cpu_ns,
                usage.wall_ns,
                usage.memory_bytes,
                usage.attempts,
                usage.calls,
            ),
            answer.request_id,
            answer.is_recorded,
        )
    )


def decode_answer(item: list[Any]) -> Answer:
    """Returns the answer of an item; raises PeerProtocolError."""
    try:
        _, _, value, error, usage, request_id, is_recorded = item
        fuel, cpu_ns, wall_ns, memory_bytes, attempts, calls = usage
        return Answer(
            request_id=request_id,
            value=value,
            error=None if error is None else unpack_error(error),
            usage=Usage(
                fuel=fuel,
                cpu_ns=cpu_ns,
                wall_ns=wall_ns,
                memory_bytes=memory_bytes,
                attempts=attempts,
                calls=calls,
            ),
            is_recorded=is_recorded,
        )
    except (ValueError, TypeError) as error:
        raise PeerProtocolError(f"an answer of another process cannot be read: {error}") from None


def encode_ask(number: int, name: str, payload: Any) -> bytes:
    """Returns the item of a question; `payload` is plain data."""
    return _encode((ASK, number, name, payload))


def encode_told(number: int, payload: Any, error: Exception | None = None) -> bytes:
    """Returns the item of the answer to a question."""
    packed = None if error is None else _pack_error(error)
    return _encode((TOLD, number, packed, payload))


def _pack_error(error: Exception) -> list[Any]:
    if isinstance(error, LithoxError):
        return [error.code, error.to_fields()]
    return [_INTERNAL, {"message": str(error)}]


def unpack_error(packed: Any) -> LithoxError | InternalError:
    """Returns the error that `[code, fields]` stands for; raises ValueError or TypeError."""
    code, fields = packed
    if code == _INTERNAL:
        return InternalError(str(fields.get("message", "")))
    return rebuild(str(code), dict(fields))


def pack_request(request: Request, now_ns: int) -> list[Any]:
    """Returns a request as plain data, to be part of a question."""
    return msgspec.msgpack.decode(encode_request(0, request, now_ns))


def pack_caller(caller: Caller | None) -> list[Any] | None:
    """Returns a caller as plain data."""
    return None if caller is None else [caller.identity, caller.account, caller.is_admin]


def unpack_caller(packed: list[Any] | None) -> Caller | None:
    """Returns what `pack_caller` was given."""
    if packed is None:
        return None
    identity, account, is_admin = packed
    return Caller(identity=Identity(identity), account=AccountName(account), is_admin=is_admin)


def unpack_request(packed: Any, now_ns: int) -> Request:
    """Returns what `pack_request` was given; raises PeerProtocolError."""
    if not isinstance(packed, list):
        raise PeerProtocolError("a request that is none")
    return decode_request(cast("list[Any]", packed), now_ns)


def encode_told_answer(answer: Answer) -> bytes:
    """Returns an answer as bytes, to be part of an answer to a question."""
    return encode_answer(0, answer)


def decode_told_answer(data: Any) -> Answer:
    """Returns what `encode_told_answer` was given; raises PeerProtocolError."""
    try:
        return decode_answer(_decode_item(data))
    except (msgspec.MsgspecError, TypeError):
        raise PeerProtocolError("an answer of another process cannot be read") from None

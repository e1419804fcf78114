"""From answers and errors to HTTP: status, headers and JSON body.

The HTTP status of an error comes from the one table in `lithox.errors`, never from here. Our own
bugs say nothing of their inside: the text goes to the log under a reference the caller is given.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any, Final, NamedTuple

import msgspec

from lithox.errors import InternalError, LithoxError, Overloaded
from lithox.model.request import Answer
from lithox.model.values import to_json

Header = tuple[bytes, bytes]

CONTENT_JSON: Final = (b"content-type", b"application/json")
_NO_STORE: Final = (b"cache-control", b"no-store")
MILLISECONDS: Final = 1000


class Reply(NamedTuple):
    """One HTTP answer, whole in memory."""

    status: int
    body: bytes
    headers: list[Header]


def _encode_odd(value: Any) -> Any:
    """Writes what an error's fields may hold beyond JSON."""
    return to_json(value) if isinstance(value, bytes) else str(value)


_encoder: Final = msgspec.json.Encoder(enc_hook=_encode_odd)
_log: Final = logging.getLogger("lithox.gateway")


def reply_json(data: Any, *, status: int = 200) -> Reply:
    """Returns a reply whose body is the JSON of `data` (already escaped by `to_json`)."""
    body = _encoder.encode(data)
    return Reply(status, body, [CONTENT_JSON, (b"content-length", b"%d" % len(body)), _NO_STORE])


def reply_done() -> Reply:
    """Returns 204: it is done and there is nothing to say."""
    return Reply(204, b"", [])


def reply_answer(answer: Answer) -> Reply:
    """Returns the reply to a call, in the shape of the HTTP contract.

    Returns:
        {"request": id | null, "status": "ok", "value": ..., "usage": {...}}, or the error's shape.
    """
    if answer.error is not None:
        return _reply_error(
            answer.error, {"request": answer.request_id, "usage": answer.usage.to_json()}
        )
    body = _encoder.encode(
        {
            "request": answer.request_id,
            "status": "ok",
            "value": to_json(answer.value),
            "usage": answer.usage.to_json(),
        }
    )
    return Reply(200, body, [CONTENT_JSON, (b"content-length", b"%d" % len(body))])


def reply_error(error: Exception) -> Reply:
    """Returns the reply for a request that was refused or failed before it became a run."""
    return _reply_error(error, {})


def error_fields(error: LithoxError) -> dict[str, Any]:
    """Returns the `error` object: message, fields and `retry_after_ms`, ready for JSON."""
    return {name: _plain(value) for name, value in error.to_fields().items()}


def _plain(value: Any) -> Any:
    return to_json(value) if isinstance(value, (dict, list, bytes)) else value


def _reply_error(error: Exception, around: dict[str, Any]) -> Reply:
    if not isinstance(error, LithoxError):
        return _reply_internal(error, around)
    status, headers = error.http_status, list[Header]()
    shaped = {"request": None, "status": error.code, "error": error_fields(error), **around}
    reply = reply_json(shaped, status=status)
    if error.retry_after_ms is not None:
        # Whole seconds, rounded up: an early retry would be refused again.
        seconds = -(-error.retry_after_ms // MILLISECONDS)
        headers.append((b"retry-after", b"%d" % max(1, seconds)))
    elif isinstance(error, Overloaded):
        headers.append((b"retry-after", b"1"))
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="lithox"'))
    return Reply(status, reply.body, reply.headers + headers)


def note_internal(error: Exception) -> tuple[str, dict[str, Any]]:
    """Logs a fault of our own; returns its code and fields, which say nothing of the inside."""
    reference = secrets.token_hex(6)
    _log.error("internal error, reference %s", reference, exc_info=error)
    message = (
        f"lithox failed by a fault of its own (reference {reference}); nothing of this request "
        "remains unless it was acknowledged. Please report it with the node's log."
    )
    return InternalError.code, {"message": message, "reference": reference}


def _reply_internal(error: Exception, around: dict[str, Any]) -> Reply:
    code, fields = note_internal(error)
    body = {"request": None, "status": code, "error": fields, **around}
    return reply_json(body, status=InternalError.http_status)

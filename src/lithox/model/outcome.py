"""What a request came to as JSON, the same wherever it is told: looked up or in a call-back."""

from __future__ import annotations

from typing import Any, Final

from lithox.errors import InternalError, LithoxError
from lithox.model.request import Answer
from lithox.model.values import to_json

STATUS_OK: Final = "ok"
STATUS_RUNNING: Final = "running"


def outcome_to_json(answer: Answer) -> dict[str, Any]:
    """Returns {"request", "status": "ok", "value"}, or with a code and `error` instead."""
    error = answer.error
    if error is None:
        return {
            "request": answer.request_id,
            "status": STATUS_OK,
            "value": to_json(answer.value),
        }
    if isinstance(error, LithoxError):
        fields = {name: _plain(value) for name, value in error.to_fields().items()}
        return {"request": answer.request_id, "status": error.code, "error": fields}
    return {
        "request": answer.request_id,
        "status": InternalError.code,
        "error": {"message": str(error)},
    }


def _plain(value: Any) -> Any:
    return to_json(value) if isinstance(value, (dict, list, bytes)) else value

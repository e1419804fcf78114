"""What a node writes to its log: its own bugs, and the lines of guests.

Standard `logging` only: an embedding program decides where lines go, `lithox serve` makes them
structured. Fields of a guest's line arrive as attributes of the record.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from lithox.dispatch.job import Frame

_log: Final = logging.getLogger("lithox.node")
_guest_log: Final = logging.getLogger("lithox.guest")


def log_bug(bug: Exception) -> None:
    """Logs a bug of ours with its stack."""
    _log.error("internal error", exc_info=bug)


_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def log_guest(frame: Frame, level: str, text: str, fields: dict[str, Any]) -> None:
    """Logs one line of a handler with who said it."""
    _guest_log.log(
        _LEVELS[level],
        "%s",
        text,
        extra={
            "entity": frame.entity,
            "handler": frame.handler,
            "pid": frame.pid,
            "request_id": frame.job.request.request_id,
            "fields": fields,
        },
    )

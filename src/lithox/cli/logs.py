"""Structured logs of a serving node: JSON lines on stderr, or words for a person.

Rooms log through the standard library; structlog writes the lines. Local variables never appear
in a trace: they may hold callers' data.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog

LEVELS: Final = ("debug", "info", "warning", "error")


def configure_logs(*, level: str, is_human: bool) -> None:
    """Sends every record of this process to stderr; call once, at start.

    Args:
        level: one of `LEVELS`.
        is_human: coloured words instead of JSON lines.
    """
    before: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    writer: list[Any]
    if is_human:
        plain = structlog.dev.plain_traceback
        writer = [structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    else:
        writer = [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *writer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())

"""Structured logs of a serving node: JSON lines on stderr, or words for a person.

Rooms log through the standard library; structlog makes the lines, a thread writes them. Local
variables never appear in a trace: they may hold callers' data. What guests say is escaped.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from lithox.cli.log_queue import LogQueue
from lithox.cli.terminal import escape_json, escape_line

LEVELS: Final = ("debug", "info", "warning", "error")


@contextmanager
def configure_logs(*, level: str, is_human: bool) -> Generator[None]:
    """Sends every record of this process to stderr, until it ends; use once, around everything.

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
        writer = [_escape_values, structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    else:
        writer = [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
            _escape_line_of_json,
        ]
    handler = LogQueue(sys.stderr.fileno())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *writer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    try:
        yield
    finally:
        handler.close()


def _escape_line_of_json(_logger: Any, _method: str, line: str) -> str:
    return escape_json(line)


def _escape_values(_logger: Any, _method: str, said: dict[str, Any]) -> dict[str, Any]:
    """Makes every value of a line one that a terminal shows and does not obey."""
    return {
        key: value
        if key == "exc_info" or isinstance(value, (int, float))
        else escape_line(str(value))
        for key, value in said.items()
    }

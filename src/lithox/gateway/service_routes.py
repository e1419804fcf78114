"""The routes of services; administrators only, which the node sees to.

Acts are answered when they are done: a start when the service is ready or is not, a stop when it
has ended. Showing with `seen`, and logs with `after`, are long polls of at most `wait_ms`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from lithox.gateway import service_bodies as bodies
from lithox.gateway.answers import Reply, reply_done, reply_json
from lithox.gateway.paths import read_amount, unquote_strict
from lithox.gateway.process_routes import OFFSET_MAX, WAIT_MS_MAX
from lithox.gateway.routes import Asked, Route
from lithox.model.values import from_json, to_json

LINES_MAX: Final = 10_000


def _name_of(asked: Asked) -> str:
    return unquote_strict(asked.names["name"], "name")


def _amount(asked: Asked, name: str, maximum: int) -> int | None:
    text = asked.query.get(name)
    return None if text is None else read_amount(text, name, (0, maximum))


async def list_services(asked: Asked) -> Reply:
    rows = await asked.node.service_list(caller=asked.caller)
    return reply_json({"services": [to_json(row) for row in rows]})


async def show_service(asked: Asked) -> Reply:
    row = await asked.node.service_show(
        _name_of(asked),
        seen=_amount(asked, "seen", OFFSET_MAX),
        wait_ms=_amount(asked, "wait_ms", WAIT_MS_MAX) or 0,
        caller=asked.caller,
    )
    return reply_json(to_json(row))


async def put_service(asked: Asked) -> Reply:
    """Defines a service; the answer comes when the definition is durable."""
    said: dict[str, Any] = msgspec.to_builtins(asked.body)
    if "args" in said:
        said["args"] = from_json(said["args"])
    row = await asked.node.service_put(_name_of(asked), said, caller=asked.caller)
    return reply_json(to_json(row))


async def remove_service(asked: Asked) -> Reply:
    await asked.node.service_remove(_name_of(asked), caller=asked.caller)
    return reply_done()


async def start_service(asked: Asked) -> Reply:
    await asked.node.service_start(_name_of(asked), caller=asked.caller)
    return reply_done()


async def stop_service(asked: Asked) -> Reply:
    await asked.node.service_stop(_name_of(asked), caller=asked.caller)
    return reply_done()


async def restart_service(asked: Asked) -> Reply:
    await asked.node.service_restart(_name_of(asked), caller=asked.caller)
    return reply_done()


async def read_logs(asked: Asked) -> Reply:
    page = await asked.node.service_logs(
        _name_of(asked),
        lines=_amount(asked, "lines", LINES_MAX),
        after=_amount(asked, "after", OFFSET_MAX),
        wait_ms=_amount(asked, "wait_ms", WAIT_MS_MAX) or 0,
        caller=asked.caller,
    )
    return reply_json({**page, "text": _show(page["text"])})


def _show(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return to_json(data)


_NAME: Final = "/v1/services/{name}"
SERVICE_ROUTES: Final[tuple[Route, ...]] = (
    Route(name="list_services", method="GET", path="/v1/services", summary="List services",
          respond=list_services, answer=bodies.ServicesAnswer),
    Route(name="show_service", method="GET", path=_NAME, summary="Describe a service",
          respond=show_service, answer=bodies.ServiceAnswer, query=("seen", "wait_ms")),
    Route(name="put_service", method="PUT", path=_NAME, summary="Define a service",
          respond=put_service, body=bodies.ServiceBody, answer=bodies.ServiceAnswer),
    Route(name="remove_service", method="DELETE", path=_NAME, summary="Stop and forget a service",
          respond=remove_service, status=204),
    Route(name="start_service", method="POST", path=f"{_NAME}:start", summary="Start a service",
          respond=start_service, status=204),
    Route(name="stop_service", method="POST", path=f"{_NAME}:stop", summary="Stop a service",
          respond=stop_service, status=204),
    Route(name="restart_service", method="POST", path=f"{_NAME}:restart",
          summary="Restart a service", respond=restart_service, status=204),
    Route(name="read_logs", method="GET", path=f"{_NAME}/logs", summary="Read a service's log",
          respond=read_logs, answer=bodies.LogsAnswer, query=("lines", "after", "wait_ms")),
)  # fmt: skip

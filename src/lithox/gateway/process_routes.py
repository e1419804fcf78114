"""The routes of programs that run: start one, look at it, read what it writes, feed it.

Reading is a long poll: an answer comes at once when there is output, else when there is some, when
the program has ended, or when `wait_ms` are over. Reading `after` an offset says that everything
before it has arrived; a reader that asks again after a broken connection loses nothing.
Who may: the node decides (administrators only, docs/reference/http.md, "Programs").
"""

from __future__ import annotations

from typing import Any, Final

from lithox.gateway import process_bodies as bodies
from lithox.gateway.answers import Reply, reply_done, reply_json
from lithox.gateway.paths import read_amount, unquote_strict
from lithox.gateway.routes import PID_MAX, Asked, Route
from lithox.model.values import from_json, to_json

OFFSET_MAX: Final = (1 << 63) - 1
WAIT_MS_MAX: Final = 30_000
"""Below what proxies commonly allow an answer to take (60 s)."""


def _pid_of(asked: Asked) -> int:
    return read_amount(unquote_strict(asked.names["pid"], "pid"), "pid", (0, PID_MAX))


async def start_process(asked: Asked) -> Reply:
    """Runs a program as a process of its own."""
    body: bodies.ProcessBody = asked.body
    pid = await asked.node.run_program(
        program=body.program,
        code=None if body.code is None else bodies.read_bytes(body.code, "code"),
        name=body.name,
        runtime=body.runtime,
        args=[from_json(one, depth=1) for one in body.args],
        limits=None if body.limits is None else body.limits.to_limits(),
        priority=body.priority,
        mode=body.mode,
        caller=asked.caller,
    )
    return reply_json({"pid": pid}, status=201)


async def show_process(asked: Asked) -> Reply:
    return reply_json({"process": asked.node.process_show(_pid_of(asked), asked.caller)})


async def read_output(asked: Asked) -> Reply:
    query = asked.query
    page = await asked.node.read_output(
        _pid_of(asked),
        after=read_amount(query.get("after", "0"), "after", (0, OFFSET_MAX)),
        wait_ms=read_amount(query.get("wait_ms", "0"), "wait_ms", (0, WAIT_MS_MAX)),
        caller=asked.caller,
    )
    return reply_json(encode_page(page))


def encode_page(page: dict[str, Any]) -> dict[str, Any]:
    """Returns a page of output ready for a JSON encoder."""
    ended = page["exit"]
    return {
        **page,
        "chunks": [{**chunk, "data": _show(chunk["data"])} for chunk in page["chunks"]],
        "exit": None if ended is None else {**ended, "values": to_json(ended["values"])},
    }


def _show(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return to_json(data)


async def write_input(asked: Asked) -> Reply:
    """Feeds a program; the answer comes when the node has taken it."""
    body: bodies.InputBody = asked.body
    await asked.node.write_input(
        _pid_of(asked),
        bodies.read_bytes(body.data, "data"),
        is_end=body.end,
        caller=asked.caller,
    )
    return reply_done()


_PROCESS: Final = "/v1/processes/{pid}"
PROCESS_ROUTES: Final[tuple[Route, ...]] = (
    Route(name="start_process", method="POST", path="/v1/processes", summary="Run a program",
          respond=start_process, body=bodies.ProcessBody, answer=bodies.StartedAnswer,
          is_large=True, status=201),
    Route(name="show_process", method="GET", path=_PROCESS, summary="Describe a process",
          respond=show_process, answer=bodies.ProcessAnswer),
    Route(name="read_output", method="GET", path=f"{_PROCESS}/output",
          summary="Read what a program writes, and how it ended",
          respond=read_output, answer=bodies.OutputAnswer, query=("after", "wait_ms")),
    Route(name="write_input", method="POST", path=f"{_PROCESS}/input",
          summary="Feed a program's input", respond=write_input, body=bodies.InputBody, status=204),
)  # fmt: skip

"""The routes of the stores of programs, libraries and runtimes; administrators only.

`{kind}` is `program`, `library` or `runtime`; what is no kind or name is the node's to refuse.
"""

from __future__ import annotations

from typing import Any, Final

from lithox.errors import BadArguments
from lithox.gateway import code_bodies as bodies
from lithox.gateway.answers import Reply, reply_json
from lithox.gateway.paths import read_amount, unquote_strict
from lithox.gateway.process_bodies import read_bytes
from lithox.gateway.routes import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PAGE_QUERY, Asked, Route
from lithox.model.values import to_json
from lithox.modules.code import VERSION_MAX

_FLAGS: Final = {"true": True, "false": False}


def _target_of(asked: Asked) -> tuple[str, str]:
    """Returns (kind, name) as the path says them."""
    return _kind_of(asked), unquote_strict(asked.names["name"], "name")


def _kind_of(asked: Asked) -> str:
    return unquote_strict(asked.names["kind"], "kind")


def _version_of(asked: Asked, name: str) -> int | None:
    text = asked.query.get(name)
    return None if text is None else read_amount(text, name, (0, VERSION_MAX))


async def list_code(asked: Asked) -> Reply:
    prefix, after, limit = asked.page
    rows, more = asked.node.store_list(
        _kind_of(asked), prefix, after=after, limit=limit, caller=asked.caller
    )
    return reply_json({"items": rows, "more": more})


async def get_code(asked: Asked) -> Reply:
    text, info = asked.node.store_get(
        *_target_of(asked), _version_of(asked, "version"), caller=asked.caller
    )
    return reply_json({"text": _show(text), "info": info})


def _show(text: bytes) -> Any:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return to_json(text)


async def set_code(asked: Asked) -> Reply:
    """Publishes a version; the answer comes when it is durable."""
    body: bodies.SetCodeBody = asked.body
    version = await asked.node.store_set(
        *_target_of(asked),
        read_bytes(body.text, "text"),
        note=body.note,
        runtime=body.runtime,
        check=body.check,
        caller=asked.caller,
    )
    return reply_json({"version": version})


async def rollback_code(asked: Asked) -> Reply:
    body: bodies.RollbackBody = asked.body
    version = await asked.node.store_rollback(
        *_target_of(asked), body.version, note=body.note, caller=asked.caller
    )
    return reply_json({"version": version})


async def remove_code(asked: Asked) -> Reply:
    said = asked.query.get("history", "false")
    if said not in _FLAGS:
        raise BadArguments(f"history is true or false; found {said[:40]!r}")
    version = await asked.node.store_remove(
        *_target_of(asked), forgets_history=_FLAGS[said], caller=asked.caller
    )
    return reply_json({"version": version})


async def show_history(asked: Asked) -> Reply:
    text = asked.query.get("limit")
    bounds = (1, PAGE_LIMIT_MAX)
    rows = asked.node.store_history(
        *_target_of(asked),
        before=_version_of(asked, "before"),
        limit=PAGE_LIMIT_DEFAULT if text is None else read_amount(text, "limit", bounds),
        caller=asked.caller,
    )
    return reply_json({"versions": rows})


_KIND: Final = "/v1/code/{kind}"
_NAME: Final = "/v1/code/{kind}/{name}"
CODE_ROUTES: Final[tuple[Route, ...]] = (
    Route(name="list_code", method="GET", path=_KIND, summary="List a store of code",
          respond=list_code, answer=bodies.CodeListAnswer, query=PAGE_QUERY),
    Route(name="get_code", method="GET", path=_NAME, summary="Read a program, library or runtime",
          respond=get_code, answer=bodies.CodeAnswer, query=("version",)),
    Route(name="set_code", method="PUT", path=_NAME, summary="Publish a new version",
          respond=set_code, body=bodies.SetCodeBody, answer=bodies.VersionAnswer, is_large=True),
    Route(name="remove_code", method="DELETE", path=_NAME, summary="Remove a name",
          respond=remove_code, answer=bodies.VersionAnswer, query=("history",)),
    Route(name="show_history", method="GET", path=f"{_NAME}/history", summary="List its versions",
          respond=show_history, answer=bodies.HistoryAnswer, query=("before", "limit")),
    Route(name="rollback_code", method="POST", path=f"{_NAME}/rollback",
          summary="Make an old version the newest", respond=rollback_code,
          body=bodies.RollbackBody, answer=bodies.VersionAnswer),
)  # fmt: skip

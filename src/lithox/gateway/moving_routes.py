"""The routes that move data out and in: the whole store, and entities by path or pattern.

Answers and bodies are archives (docs/reference/archive-format.md), streamed both ways.
"""

from __future__ import annotations

from typing import Final

from lithox.gateway.answers import Reply, reply_json
from lithox.gateway.moving_bodies import ImportAnswer
from lithox.gateway.paths import unquote_strict
from lithox.gateway.routes import Asked, Route
from lithox.gateway.streams import StreamReply, reply_stream
from lithox.model.archive import MEDIA_TYPE


async def backup(asked: Asked) -> StreamReply:
    return reply_stream(asked.node.backup(caller=asked.caller), MEDIA_TYPE)


async def export_entities(asked: Asked) -> StreamReply:
    pattern = unquote_strict(asked.names["pattern"], "entity or pattern")
    return reply_stream(asked.node.entity_export(pattern, caller=asked.caller), MEDIA_TYPE)


async def import_entities(asked: Asked) -> Reply:
    mode = asked.query.get("mode", "refuse")
    return reply_json(await asked.node.entity_import(asked.chunks, mode=mode, caller=asked.caller))


MOVING_ROUTES: Final[tuple[Route, ...]] = (
    Route(name="backup", method="GET", path="/v1/backup", summary="Copy the whole store",
          respond=backup, gives=MEDIA_TYPE),
    Route(name="export_entities", method="GET", path="/v1/export/{pattern}",
          summary="Export entities", respond=export_entities, gives=MEDIA_TYPE),
    Route(name="import_entities", method="POST", path="/v1/import", summary="Import entities",
          respond=import_entities, takes=MEDIA_TYPE, answer=ImportAnswer, query=("mode",)),
)  # fmt: skip

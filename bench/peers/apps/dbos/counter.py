"""The work of the side-by-side run as DBOS workflows behind the least HTTP server there is.

Each call is a workflow with one transaction of a datasource, as DBOS's documentation makes a
durable change; a reader is one, too. POST /ENTITY/HANDLER[/OTHER].

Usage: python counter.py PORT DATABASE_URL
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, SQLAlchemyDatasource

PORT, URL = int(sys.argv[1]), sys.argv[2]
DBOS(config={"name": "counter", "system_database_url": URL, "log_level": "ERROR"})
source = SQLAlchemyDatasource.create(URL, engine_kwargs={"pool_size": 20})

_ADD = sa.text(
    "INSERT INTO counter VALUES (:entity, :field, :value, 1) ON CONFLICT (entity, field) "
    "DO UPDATE SET count = counter.count + :by RETURNING count"
)
_SET = sa.text(
    "INSERT INTO counter VALUES (:entity, :field, :value, :count) ON CONFLICT (entity, field) "
    "DO UPDATE SET count = :count"
)


def add(entity: str, by: int = 1) -> int:
    row = {"entity": entity, "field": "count", "value": "", "by": by}
    return source.sql_session().execute(_ADD, row).scalar_one()


@source.transaction()
def increment_now(entity: str) -> int:
    return add(entity)


@source.transaction()
def look_now(entity: str) -> int:
    asked = sa.text("SELECT count FROM counter WHERE entity = :entity AND field = 'count'")
    return source.sql_session().execute(asked, {"entity": entity}).scalar() or 0


@source.transaction()
def give_now(entity: str, other: str) -> int:
    add(entity, -1)
    return add(other)


@source.transaction()
def fill_now(entity: str) -> int:
    rows = [
        {"entity": entity, "field": f"field{n}", "value": "x" * 92, "count": 0} for n in range(100)
    ]
    source.sql_session().execute(_SET, rows)
    return add(entity)


@source.transaction()
def spoil_now(entity: str) -> int:
    row = {"entity": entity, "field": "count", "value": "", "count": 999}
    source.sql_session().execute(_SET, row)
    raise ValueError("spoiled on purpose")


def _loop_now(_entity: str) -> int:
    while True:
        pass


def _eat_now(_entity: str) -> int:
    eaten: list[str] = []
    while True:
        eaten.append("x" * 100_000 + str(len(eaten)))


def _workflow(name: str, body: Callable[..., int]) -> Callable[..., int]:
    """Makes `body` a workflow of that name."""

    def run(*arguments: str) -> int:
        return body(*arguments)

    run.__name__ = run.__qualname__ = name
    return DBOS.workflow(name=name)(run)


HANDLERS = {
    name: _workflow(name, body)
    for name, body in {
        "increment": increment_now,
        "look": look_now,
        "give": give_now,
        "fill": fill_now,
        "spoil": spoil_now,
        "loop": _loop_now,
        "eat": _eat_now,
    }.items()
}


class Door(BaseHTTPRequestHandler):
    """HTTP/1.1 with kept connections, a thread each."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Runs the workflow that the path names."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        entity, handler, *others = self.path.strip("/").split("/")
        try:
            status, said = 200, json.dumps(HANDLERS[handler](entity, *others))
        except Exception as error:  # noqa: BLE001 - every failure is an answer
            status, said = 500, json.dumps(str(error))
        body = said.encode()
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n"
        self.wfile.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    """Takes as many callers at once as there are."""

    request_queue_size = 512
    daemon_threads = True


def main() -> None:
    """Makes the table, then serves."""
    with source.engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE IF NOT EXISTS counter (entity text, field text, value text, "
                "count bigint, PRIMARY KEY (entity, field))"
            )
        )
    DBOS.launch()
    Server(("127.0.0.1", PORT), Door).serve_forever()


if __name__ == "__main__":
    main()

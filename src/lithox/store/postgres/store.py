"""The store on a PostgreSQL server: opening, closing, and the engine that joins its threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self

import psycopg

from lithox.store.contract import Post
from lithox.store.engine import AuditPart, Part
from lithox.store.mailbox import Mailbox
from lithox.store.postgres import connections, schema
from lithox.store.postgres.background import Background
from lithox.store.postgres.connections import Connection, Use
from lithox.store.postgres.dump import PostgresDump
from lithox.store.postgres.failures import meaning_of_failure
from lithox.store.postgres.link import Link
from lithox.store.postgres.options import PostgresOptions
from lithox.store.postgres.reader import DirectReader
from lithox.store.postgres.writer import Writer
from lithox.store.shared import SharedStore
from lithox.store.shared_engine import ReadCheck

_FIRST_AUDIT: Final = 1
"""Audit records are numbered per start: with the node's id that is theirs alone."""


class PostgresStore(SharedStore):
    """One database on a server, which many nodes may share; made by `open`."""

    @classmethod
    def open(cls, address: str, *, post: Post, options: PostgresOptions | None = None) -> Self:
        """Opens the database at `address`. Blocks.

        Args:
            address: `postgresql://USER@HOST:PORT/DATABASE`; a password may stand in it, or in
                PGPASSWORD or PGPASSFILE, and is never told to anybody.
            post: runs a function on the node's thread soon; safe from any thread.
            options: see PostgresOptions.

        Raises:
            ConfigError: the address is malformed, the schema is missing or older and only to be
                verified, or the server may lose what it confirms.
            StoreCorrupt: the schema is newer, damaged, or another program's.
            StoreUnavailable: the server cannot be reached or refuses.
        """
        chosen = options or PostgresOptions()
        chosen.check()
        made: list[Connection] = []
        try:
            made.append(connections.connect(address, chosen))
            made.append(connections.connect(address, chosen, Use.DIRECT))
            made.append(connections.connect(address, chosen, Use.READ))
            for connection in made:
                connections.check_durable(connection, is_unsafe=chosen.is_unsafe)
            schema.prepare(made[0], chosen)
            place = schema.take_place(made[0])
        except BaseException as error:
            for connection in made:
                connection.close()
            if isinstance(error, psycopg.Error):
                raise meaning_of_failure(error, act="opening") from None
            raise
        link = Link(address=address, options=chosen, place=place, mailbox=Mailbox(post))
        engine = _PostgresEngine(made, link)
        store = cls(
            engine=engine,
            post=post,
            version=place.version,
            audit_sequence=_FIRST_AUDIT,
            options=chosen.core,
        )
        engine.start(store)
        return store


class _PostgresEngine(DirectReader):
    """Reader, writer and background thread of one database as one engine."""

    def __init__(self, made: Sequence[Connection], link: Link) -> None:
        """Takes over three connections: to write, to read, and to wait."""
        writing, reading, waiting = made
        super().__init__(
            reading,
            node_id=link.place.node_id,
            options=link.options,
            on_lost=self._replace_reader,
        )
        self.slot = link.place.slot
        self._link = link
        self._mailbox = link.mailbox
        self._writer = Writer(writing, link)
        self._background = Background(waiting, link, on_peers=self._note_peers)

    def start(self, core: SharedStore) -> None:
        self.bind(core.learn)
        self._writer.start(core)
        self._background.start(core)

    def enqueue(self, part: Part | AuditPart) -> None:
        self._writer.put(part)

    def enqueue_check(self, check: ReadCheck) -> None:
        self._background.check(check)

    def prefetch(self, entity: str, bytes_max: int) -> None:
        self._background.fetch(entity, bytes_max)

    def confirm_withdrawal(self) -> None:
        self._writer.confirm_withdrawal()

    def open_dump(self) -> PostgresDump:
        return PostgresDump(self._link.address, self._link.options)

    def statistics(self) -> dict[str, Any]:
        writer, background = self._writer, self._background
        return {
            "reads": self.reads,
            "batches": writer.batches,
            "rows": writer.rows,
            "sync_failures": writer.failures,
            "probes": writer.probes,
            "batches_conflicted": writer.conflicts,
            "batches_again": writer.again,
            "reconnects": writer.reconnects,
            "reads_pending": background.pending,
            "read_rounds": background.rounds,
            "notices": background.notices,
        }

    def close(self) -> None:
        self._writer.stop()
        # What is durable now may be all that some answers waited for: those are confirmed yet.
        self._mailbox.deliver()
        self._background.stop()
        self._mailbox.deliver()
        self.drop_connection()

    def _replace_reader(self) -> None:
        self._background.want_connection(self.replace)

    def _note_peers(self, has_peers: bool) -> None:  # noqa: FBT001 - a call-back
        self._writer.has_peers = has_peers

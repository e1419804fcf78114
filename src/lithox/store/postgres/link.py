"""What the engine's threads share: who this node is, how it connects, how it tells its core."""

from __future__ import annotations

from dataclasses import dataclass

from lithox.store.mailbox import Mailbox
from lithox.store.postgres import connections
from lithox.store.postgres.connections import Connection, Use
from lithox.store.postgres.options import PostgresOptions
from lithox.store.postgres.schema import Place


@dataclass(slots=True, kw_only=True)
class Link:
    """One node's tie to one database.

    Attributes:
        address: of the server; may have a password, so it is in no text about this.
        options: how it was opened.
        place: this node's own.
        mailbox: to the node's thread.
    """

    address: str
    options: PostgresOptions
    place: Place
    mailbox: Mailbox

    @property
    def channel(self) -> str:
        """Name of the channel on which nodes tell each other what they wrote."""
        return f"{self.options.schema}_changes"

    def connect_writer(self) -> Connection:
        """Returns a new connection whose COMMIT waits for the disk. Blocks.

        Raises:
            psycopg.Error: the server cannot be reached or refuses.
            ConfigError: it may lose what it confirms.
        """
        connection = connections.connect(self.address, self.options)
        try:
            connections.check_durable(connection, is_unsafe=self.options.is_unsafe)
        except BaseException:
            connection.close()
            raise
        return connection

    def connect_reader(self) -> Connection:
        """Returns a new connection for reads. Blocks; raises psycopg.Error."""
        return connections.connect(self.address, self.options, Use.READ)

    def connect_direct(self) -> Connection:
        """Returns a new connection for the node's thread. Blocks; raises psycopg.Error."""
        return connections.connect(self.address, self.options, Use.DIRECT)

"""The engine on a PostgreSQL server, which many nodes may share, through psycopg."""

from lithox.store.postgres.options import PostgresOptions
from lithox.store.postgres.store import PostgresStore

__all__ = ["PostgresOptions", "PostgresStore"]

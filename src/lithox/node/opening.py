"""Which engine keeps this node's state: the only place that maps a configuration to one.

Without an address it is a database in the node's data directory; `postgresql://...` is a server
that several nodes may share. The address may carry a password, so it is in no message and no log;
better, the password stands in PGPASSWORD or in the file that PGPASSFILE names, which libpq reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lithox.errors import ConfigError
from lithox.node.config import NodeConfig
from lithox.store.contract import Post, Store
from lithox.store.crash_points import Reach
from lithox.store.embedded.store import EmbeddedOptions, EmbeddedStore
from lithox.store.visible import Options

STORE_NAME: Final = "lithox.db"
"""The embedded engine's file in the data directory."""
SERVER_SCHEMES: Final = ("postgresql://", "postgres://")


def open_store(data: Path, config: NodeConfig, *, post: Post, reach: Reach) -> Store:
    """Opens the store that `config` names. Blocks.

    Args:
        data: the node's data directory, there and locked.
        config: of the node.
        post: runs a function on the node's thread soon; safe from any thread.
        reach: called with the name of every crash point that is passed.

    Raises:
        ConfigError: the address is wrong, or what is there is not as the configuration demands.
        StoreInUse, StoreCorrupt, StoreUnavailable: as the engine says.
    """
    core = Options(cache_bytes_max=config.cache_bytes)
    if config.store is None:
        return EmbeddedStore.open(
            data / STORE_NAME, post=post, options=EmbeddedOptions(core=core, reach=reach)
        )
    if not config.store.startswith(SERVER_SCHEMES):
        raise ConfigError(
            "store is an address that begins with postgresql://; without it the node keeps its "
            "state in its data directory"
        )
    # Imported here: a node without a server needs none of it.
    from lithox.store.postgres import PostgresOptions, PostgresStore

    return PostgresStore.open(
        config.store,
        post=post,
        options=PostgresOptions(
            core=core,
            reach=reach,
            schema=config.store_schema,
            migrate=config.store_migrate,
            is_unsafe=config.store_unsafe,
        ),
    )

"""How a store on a PostgreSQL server is opened, and for how long it waits for what."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from lithox.errors import ConfigError
from lithox.store.crash_points import Reach, reach_nothing
from lithox.store.visible import Options

SCHEMA_DEFAULT: Final = "lithox"
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}\Z")
MIGRATE_CHOICES: Final = ("verify", "apply")


@dataclass(slots=True, kw_only=True)
class PostgresOptions:
    """How a shared store is opened.

    Attributes:
        core: bounds of caches and queues.
        schema: name of the schema that has our tables.
        migrate: "verify" refuses a schema that is missing or older; "apply" makes it current.
        is_unsafe: open a server that may lose what it has confirmed (fsync off): for tests.
        is_deaf: listen to no other node's notices: slower, and as right; for tests.
        reach: called with the name of every crash point that is passed; for tests.
        connect_timeout_s: seconds, at least 2 (libpq's own bound).
        statement_timeout_ms: a statement of a commit that takes longer is cancelled.
        read_timeout_ms: the same for a read that nobody's thread waits for, and for one that
            counts much; a server that is silent a second longer counts as lost.
        direct_wait_ms: how long the node's thread waits for the answer to one read. After that
            the server counts as silent: reads fail at once until it has been heard again.
        lock_timeout_ms: how long a commit waits for another node's commit of the same entity.
        transaction_idle_ms: after this the server ends a transaction whose node says nothing
            more, so that a node that has died without a word holds no lock for longer.
        retry_first_s: until a failed commit is tried again, or a lost connection made anew;
            doubled each time, up to `retry_last_s`.
        retry_last_s: see `retry_first_s`.
        close_wait_s: how long closing waits for a server that does not answer.
    """

    core: Options = field(default_factory=Options)
    schema: str = SCHEMA_DEFAULT
    migrate: str = "verify"
    is_unsafe: bool = False
    is_deaf: bool = False
    reach: Reach = reach_nothing
    connect_timeout_s: int = 5
    statement_timeout_ms: int = 30_000
    read_timeout_ms: int = 5_000
    direct_wait_ms: int = 250
    lock_timeout_ms: int = 10_000
    transaction_idle_ms: int = 10_000
    retry_first_s: float = 0.02
    retry_last_s: float = 2.0
    close_wait_s: float = 10.0

    def check(self) -> None:
        """Raises ConfigError unless the names are ones we may put into SQL."""
        if _NAME.match(self.schema) is None:
            raise ConfigError(
                "the schema's name is 1-40 of a-z, 0-9 and _, not beginning with a digit; "
                f"found {self.schema[:60]!r}"
            )
        if self.migrate not in MIGRATE_CHOICES:
            raise ConfigError(
                f"migrate is one of {', '.join(MIGRATE_CHOICES)}; found {self.migrate[:60]!r}"
            )

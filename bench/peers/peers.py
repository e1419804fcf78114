"""Which peers there are, in the order of tables, and how each is made on a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.peers.dbos import Dbos
from bench.peers.ours import Lithox, LithoxOnPostgres
from bench.peers.packages import Packages
from bench.peers.peer import Peer
from bench.peers.redis import Redis
from bench.peers.restate import Restate
from bench.peers.tarantool import Tarantool
from bench.peers.workerd import Workerd

Maker = Callable[[Packages, Path], Peer]

MAKERS: Final[dict[str, Maker]] = {
    "lithox-1": lambda packages, folder: Lithox(packages, folder, processes=1),
    "lithox-2": lambda packages, folder: Lithox(packages, folder, processes=2),
    "lithox-postgres": LithoxOnPostgres,
    "redis": Redis,
    "tarantool": Tarantool,
    "workerd": Workerd,
    "restate": Restate,
    "dbos": Dbos,
}


def chosen(words: str) -> list[str]:
    """Returns the names that `words` ("redis,lithox") mean; "lithox" means all of ours.

    Raises:
        ValueError: there is no such peer.
    """
    if not words:
        return list(MAKERS)
    found: list[str] = []
    for word in words.split(","):
        names = [name for name in MAKERS if name == word or name.startswith(f"{word}-")]
        if not names:
            raise ValueError(f"there is no peer {word!r}; there are {', '.join(MAKERS)}")
        found += names
    return found

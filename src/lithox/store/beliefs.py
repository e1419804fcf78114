"""At which version does this node believe an entity to be, in a database that others write too?

Every commit there gives the entities it writes its own version, and versions of one entity only
grow: a node numbers its commits above every version it has read. So a version names exactly one
content of an entity, and "still at the version I read" means "unchanged since".

What is believed of an entity is right for what this node has cached of it and for what it is about
to write: the version read from the database (`base`), or that of its own newest commit on top of it
(`newest`). The database compares it at the commit. A belief is never dropped silently: who read at
the older version could otherwise be compared with a newer one, and so pass. So `trim` names what it
drops, and the caller counts it as changed.

A token is an entity, or a single cell of the entities in QUEUE_PREFIX, which many nodes write
without reading and which have no version of their own as a whole.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from lithox.store.contract import Cell

Token = str | Cell
BELIEFS_MAX: Final = 262_144
"""Entities and cells whose version is remembered: about 60 MB."""
TRIM_STEP: Final = 1_024
"""Beliefs dropped at a time, so that the change this counts as is rare."""
NODES_MAX: Final = 1_024
"""Nodes that number commits at the same time; a version is counter * NODES_MAX + slot."""


class Belief:
    """What is believed of one token.

    Attributes:
        base: its version when it was last read from the database.
        newest: the version of this node's newest commit to it since, or `base`.
        since: the store's version when `base` was learned.
    """

    __slots__ = ("base", "newest", "since")

    def __init__(self, base: int, since: int) -> None:
        self.base = base
        self.newest = base
        self.since = since


class Beliefs:
    """All beliefs of one store, whose own versions are those of `slot`."""

    __slots__ = ("_beliefs_max", "_slot", "entries")

    def __init__(self, *, slot: int, beliefs_max: int = BELIEFS_MAX) -> None:
        self.entries: OrderedDict[Token, Belief] = OrderedDict()
        self._slot = slot
        self._beliefs_max = beliefs_max

    def is_consistent(self, token: Token, version: int) -> bool:
        """Returns whether a database that shows `version` agrees with what is believed.

        It does when it shows the base or one of this node's own commits on top of it; and an older
        version is news from before, which is no news.
        """
        belief = self.entries.get(token)
        if belief is None or version == belief.newest:
            return True
        if not isinstance(token, str):
            return False
        is_own = version % NODES_MAX == self._slot and version < belief.newest
        return version <= belief.base or is_own

    def learn(self, token: Token, version: int, since: int) -> None:
        """Notes what the database showed, in place of what was believed."""
        self.entries[token] = Belief(version, since)

    def forget(self, token: Token, durable_version: int) -> None:
        """Drops what is believed of `token`, which counts as changed from now on.

        Kept while this node's own commit to it is not durable: what follows rests on that one.
        """
        belief = self.entries.get(token)
        if belief is not None and not self._is_waiting(belief, durable_version):
            del self.entries[token]

    def next_version(self, above: int) -> int:
        """Returns the smallest version of this node's above `above`."""
        return (above // NODES_MAX + 1) * NODES_MAX + self._slot

    def trim(self, durable_version: int) -> list[Token]:
        """Drops the oldest beliefs when there are too many, but for what is not durable yet.

        Returns what it dropped: it must count as changed from now on.
        """
        entries = self.entries
        if len(entries) <= self._beliefs_max:
            return []
        dropped: list[Token] = []
        for token, belief in list(entries.items())[: 2 * TRIM_STEP]:
            if self._is_waiting(belief, durable_version):
                entries.move_to_end(token)
            elif len(dropped) < TRIM_STEP:
                del entries[token]
                dropped.append(token)
        return dropped

    def _is_waiting(self, belief: Belief, durable_version: int) -> bool:
        """Returns whether this node's own commit, the newest, is not durable yet."""
        return belief.newest % NODES_MAX == self._slot and belief.newest > durable_version

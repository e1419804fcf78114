"""What an engine of a database that several nodes share adds, and the records it is given.

An engine writes a part only if everything the part rests on still holds there, for all parts of a
batch together, and tells the core what does not; see `shared.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from lithox.store.beliefs import Token
from lithox.store.contract import Cell, Item, OnDone, ResultRecord
from lithox.store.engine import Engine, Part

_NOTHING: Final[Mapping[Token, int]] = MappingProxyType({})


class SharedPart(Part):
    """A part with what it rests on; see the module's header.

    Attributes:
        checks: token -> version at which this node believed it when the run read or wrote it.
        replaced: the recorded answer that `result` replaces, which must still be there.
        expired_ns: `dropped_results` are dropped if they expire at or before it.
    """

    __slots__ = ("checks", "expired_ns", "replaced")

    def __init__(
        self,
        version: int,
        writes: Mapping[Cell, bytes | None],
        result: ResultRecord | None,
        value_bytes: int,
        on_done: OnDone | None,
    ) -> None:
        super().__init__(version, writes, result, value_bytes, on_done)
        self.checks: Mapping[Token, int] = _NOTHING
        self.replaced: ResultRecord | None = None
        self.expired_ns = 0


class ReadCheck:
    """An answer that only read, waiting to be confirmed; not changed once queued."""

    __slots__ = ("entities", "on_done", "version")

    def __init__(self, entities: Sequence[str], version: int, on_done: OnDone) -> None:
        self.entities = entities
        self.version = version
        self.on_done = on_done


class Fetched:
    """What a fetch of one whole entity found; `items` None: it is too large."""

    __slots__ = ("entity", "items", "version")

    def __init__(self, entity: str, version: int, items: dict[str, Item] | None) -> None:
        self.entity = entity
        self.version = version
        self.items = items


class SharedEngine(Engine, Protocol):
    """What an engine of a shared database does besides; called on the node's thread.

    Each read of an entity's cells tells the core's `learn` the entity's version, taken at the same
    moment as the cells, before it returns.
    """

    slot: int
    """This node's number among those that commit now, below NODES_MAX."""

    def read_versions(self, entities: Sequence[str]) -> Mapping[str, int]:
        """Returns the version of each, 0 for one that was never written. Blocks."""
        ...

    def enqueue_check(self, check: ReadCheck) -> None:
        """Has the entities' versions read soon and told by `notify_checked`. Never blocks."""
        ...

    def prefetch(self, entity: str, bytes_max: int) -> None:
        """Has an entity read soon and told by `notify_loaded`. Never blocks."""
        ...

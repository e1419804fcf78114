"""An administrative act as data: who does what to which entity, commit by commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lithox.dispatch.catalog import Resolution
from lithox.model.ids import EntityPath
from lithox.model.request import Caller
from lithox.store.contract import Cell, Range, Snapshot


class Writes(dict[Cell, bytes | None]):
    """What one administrative commit writes, cell by cell."""

    def put(self, entity: EntityPath, key: str, value: bytes | None) -> None:
        """Writes a cell; None deletes."""
        self[entity, key] = value


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One commit of an act.

    Attributes:
        writes: what it writes.
        reads: cells beside those written that nobody may have changed.
        ranges: ranges in which nobody may have changed anything.
        is_last: False when the act goes on with another step.
    """

    writes: Mapping[Cell, bytes | None]
    reads: Iterable[Cell] = ()
    ranges: Iterable[Range] = ()
    is_last: bool = True


Plan = Callable[[Snapshot, Resolution], Step]
"""Decides, on one snapshot, what an act does next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something an administrator does to an entity; `name` is for the audit record."""

    entity: str
    caller: Caller
    right: str
    name: str
    plan: Plan

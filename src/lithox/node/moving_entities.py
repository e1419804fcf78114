"""Entities going out of a serving node: one consistent snapshot, read in a thread, rights checked.

Of a pattern what the caller may not read is left out; a single entity that may not be read is
refused. How they come in again is `moving_imports.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from lithox.dispatch.catalog import Catalog
from lithox.dispatch.records import (
    ENTITY_KEY,
    decode_entity,
)
from lithox.errors import (
    NotFound,
    NotPermitted,
)
from lithox.model.archive import KIND_ENTITIES, ArchiveWriter, write_lines
from lithox.model.ids import SYSTEM_ENTITY_PREFIX, check_entity_path, is_system_entity
from lithox.model.patterns import ONE, REST, check_pattern, is_match
from lithox.model.request import Caller
from lithox.node.entity_lines import (
    group_entities,
    write_entity,
)
from lithox.node.moving import Moves
from lithox.security.access import RIGHT_READ, actor_of, is_allowed, parse_access
from lithox.store.contract import Store
from lithox.store.dump import CellRow, DumpSource
from lithox.store.engine import prefix_end

_SYSTEM_END: Final = prefix_end(SYSTEM_ENTITY_PREFIX)

MayRead = Callable[[CellRow], bool]
"""Told the row of an entity's record; asked in another thread."""


def archive_of_entities(
    source: DumpSource, pattern: str, may_read: MayRead, **about: Any
) -> Iterator[bytes]:
    """Gives the archive of the entities that match `pattern` and may be read.

    Args:
        source: not entered yet; left when the last chunk is taken or the iterator closed.
        about: goes into the header.
    """
    writer = ArchiveWriter()
    with source:
        yield writer.begin(KIND_ENTITIES, pattern=pattern, **about)
        yield from write_lines(_entity_lines(source, pattern, may_read), writer)
        yield writer.end()


def _entity_lines(
    source: DumpSource, pattern: str, may_read: MayRead
) -> Iterator[tuple[str, bytes]]:
    for start, end in _areas_of(pattern):
        for entity, rows in group_entities(source.cells(start, end)):
            if not is_match(pattern, entity):
                continue
            first = next(rows, None)
            if first is not None and first.key == ENTITY_KEY and may_read(first):
                yield from write_entity(_with_first(first, rows), source)


def _with_first(first: CellRow, rows: Iterator[CellRow]) -> Iterator[CellRow]:
    yield first
    yield from rows


def _areas_of(pattern: str) -> list[tuple[str, str | None]]:
    """Returns where entities that match may lie; the node's own lie elsewhere."""
    if not _has_wildcard(pattern):
        return [(pattern, pattern + "\x00")]
    literal = pattern[: pattern.index(ONE)]
    start, end = literal, prefix_end(literal) if literal else None
    assert _SYSTEM_END is not None, "the prefix ends with a character that has a next one"
    areas: list[tuple[str, str | None]] = [
        (start, SYSTEM_ENTITY_PREFIX if end is None else min(end, SYSTEM_ENTITY_PREFIX)),
        (max(start, _SYSTEM_END), end),
    ]
    return [(low, high) for low, high in areas if high is None or low < high]


def _has_wildcard(pattern: str) -> bool:
    return any(segment in (ONE, REST) for segment in pattern.split("/"))


class EntityExports:
    """Exports of one node."""

    def __init__(self, *, store: Store, catalog: Catalog, moves: Moves) -> None:
        self._store = store
        self._catalog = catalog
        self._moves = moves

    def export(self, pattern: str, caller: Caller) -> AsyncIterator[bytes]:
        """Returns the archive of one entity, or of all that match and the caller may read.

        Raises:
            BadArguments: neither an entity path nor a pattern.
            NotFound, NotPermitted: of a single entity.
            Overloaded: as much is being moved as may be.
        """
        try:
            if _has_wildcard(pattern):
                check_pattern(pattern)
            else:
                self._check_readable(check_entity_path(pattern), caller)
        except NotPermitted as error:
            self._moves.record(caller, "export", pattern, error)
            raise
        source, about = self._store.open_dump(), self._moves.about
        may_read = self._reader_of(caller)
        return self._moves.send(
            caller,
            "export",
            pattern,
            lambda: archive_of_entities(source, pattern, may_read, **about),
        )

    def _check_readable(self, entity: str, caller: Caller) -> None:
        if is_system_entity(entity):
            raise NotPermitted(f"{entity} belongs to the node")
        snapshot = self._store.open_snapshot()
        try:
            item = snapshot.find(entity, ENTITY_KEY)
        finally:
            snapshot.release()
        if item is None:
            raise NotFound(f"entity {entity!r} does not exist: no run has written it yet")
        if not self._reader_of(caller)(CellRow(entity, ENTITY_KEY, item.value)):
            raise NotPermitted(f"{caller.identity} holds no right {RIGHT_READ!r} on {entity}")

    def _reader_of(self, caller: Caller) -> MayRead:
        if caller.is_admin:
            return lambda _: True
        actor, find_template = actor_of(caller), self._catalog.find_template

        def may_read(row: CellRow) -> bool:
            # Not by `Catalog.resolve`: its caches belong to the node's thread.
            record, template = decode_entity(row.value), find_template(row.entity)
            access = record.access
            if access is None and template is not None:
                access = template.access
            return is_allowed(
                actor=actor,
                right=RIGHT_READ,
                owner=record.owner,
                access=() if access is None else parse_access(access),
            )

        return may_read

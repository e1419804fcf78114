"""Entities going out of a serving node and coming in, with their rights checked.

Going out is one consistent snapshot, read in a thread. What comes in is kept in a file until all of
it has come and is proven whole; then each entity is one commit, but for large ones, which go in
pieces and can be seen half there.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from lithox.dispatch.big_values import big_entity
from lithox.dispatch.catalog import Catalog, Resolution
from lithox.dispatch.records import (
    ENTITY_KEY,
    USER_KEYS_START,
    EntityRecord,
    decode_entity,
    encode_record,
)
from lithox.errors import BadArguments, Conflict, LithoxError, NotFound, NotPermitted, rebuild
from lithox.model.archive import CHUNK_BYTES, KIND_ENTITIES, ArchiveWriter, write_lines
from lithox.model.ids import SYSTEM_ENTITY_PREFIX, check_entity_path, is_system_entity
from lithox.model.patterns import ONE, REST, check_pattern, is_match
from lithox.model.request import Caller
from lithox.node.commits import submit_durably
from lithox.node.entity_lines import (
    PIECE_BYTES_MAX,
    PIECE_KEYS_MAX,
    TIMERS_PREFIX,
    Piece,
    group_entities,
    read_pieces,
    write_entity,
)
from lithox.node.moving import Moves
from lithox.security.access import RIGHT_ADMIN, RIGHT_READ, actor_of, is_allowed, parse_access
from lithox.store.contract import Cell, Commit, Range, Snapshot, Store
from lithox.store.dump import CellRow, DumpSource
from lithox.store.engine import prefix_end

REFUSE: Final = "refuse"
REPLACE: Final = "replace"
SKIP: Final = "skip"
MODES: Final = (REFUSE, REPLACE, SKIP)
"""What an import does with an entity that is there already."""
ATTEMPTS_MAX: Final = 10
NAMED_MAX: Final = 100
"""Entities that a report names."""
_SYSTEM_END: Final = prefix_end(SYSTEM_ENTITY_PREFIX)

MayRead = Callable[[CellRow], bool]
"""Told the row of an entity's record; asked in another thread."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What an import did."""

    imported: int = 0
    skipped: int = 0
    keys: int = 0
    in_pieces: list[str] = field(default_factory=list[str])

    def to_json(self) -> dict[str, Any]:
        return {
            "imported": self.imported,
            "skipped": self.skipped,
            "keys": self.keys,
            "in_pieces": self.in_pieces,
        }


class Written(NamedTuple):
    """How a piece was written: in how many commits, 0 for a piece that was skipped."""

    commits: int


# Out.


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


class EntityMoves:
    """Exports and imports of one node.

    Args:
        folder: where what comes in is kept until it is whole.
    """

    def __init__(self, *, store: Store, catalog: Catalog, moves: Moves, folder: Path) -> None:
        self._store = store
        self._catalog = catalog
        self._moves = moves
        self._folder = folder

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

    # In.

    async def take(self, chunks: AsyncIterable[bytes], mode: str, caller: Caller) -> dict[str, Any]:
        """Imports the entities of an archive, each in one commit where it is not too large.

        Entities before one that is refused stay imported; the error names the one.

        Args:
            chunks: the archive; nothing is written before all of it has come and is proven whole.
            mode: what to do with an entity that is there: "refuse", "replace" or "skip" it.

        Returns:
            {"imported": entities, "skipped": entities, "keys": of the imported, "in_pieces":
            [names of those that took several commits, the first 100]}.

        Raises:
            BadArguments: the archive is not whole, or an entity is there already.
            NotFound: an entity needs a template or a module that is not here.
            NotPermitted: the caller has no right to make or replace an entity of that owner.
            Conflict: runs on an entity were faster, as often as it was tried.
        """
        if mode not in MODES:
            raise BadArguments(f"mode is one of {', '.join(MODES)}; found {mode[:40]!r}")
        report = Report()
        with tempfile.TemporaryFile(dir=self._folder) as file:
            await _keep(chunks, file)
            pieces = self._moves.start(lambda: _proven_pieces(file))
            try:
                await self._write_all(pieces, mode, caller, report)
            finally:
                await self._moves.finish(pieces)
        return report.to_json()

    async def _write_all(
        self, pieces: AsyncIterator[Piece], mode: str, caller: Caller, report: Report
    ) -> None:
        skipped = ""
        async for piece in pieces:
            if piece.entity == skipped:
                continue
            try:
                written = await self._write(piece, mode, caller)
            except LithoxError as error:
                self._moves.record(caller, "import", piece.entity, error)
                said = error.to_fields() | {
                    "message": f"entity {piece.entity}: {error.message}",
                    "imported": report.imported,
                }
                raise rebuild(error.code, said) from error
            if written.commits == 0:
                skipped = piece.entity
                report.skipped += 1
                continue
            report.keys += sum(entity == piece.entity for entity, _ in piece.writes)
            is_more = written.commits > 1 or piece.number > 0
            if is_more and piece.entity not in report.in_pieces[-1:]:
                report.in_pieces = [*report.in_pieces, piece.entity][:NAMED_MAX]
            if piece.is_last:
                report.imported += 1
                self._moves.record(caller, "import", piece.entity, None)

    async def _write(self, piece: Piece, mode: str, caller: Caller) -> Written:
        """Commits one piece, and before the first one clears what is too much for one commit."""
        lost = commits = 0
        while lost < ATTEMPTS_MAX:
            snapshot = self._store.open_snapshot()
            try:
                if piece.number == 0 and not self._may_write(snapshot, piece, mode, caller):
                    return Written(commits=0)
                commit, is_whole = _plan(snapshot, piece)
            finally:
                snapshot.release()
            done = submit_durably(self._store, commit, lambda _: None)
            if done is None:
                lost += 1
                continue
            await done
            lost, commits = 0, commits + 1
            if is_whole:
                return Written(commits=commits)
        raise Conflict(f"lost {ATTEMPTS_MAX} times against runs on it", retry_after_ms=50)

    def _may_write(self, snapshot: Snapshot, piece: Piece, mode: str, caller: Caller) -> bool:
        """Returns False for an entity that is to be skipped; raises for one that is refused."""
        if not self._check(snapshot, piece, caller):
            return True
        if mode == REFUSE:
            raise BadArguments("it is there already and was not changed: replace or skip it")
        return mode == REPLACE

    def _check(self, snapshot: Snapshot, piece: Piece, caller: Caller) -> bool:
        """Returns whether the entity is there; raises unless the caller may write it."""
        item = snapshot.find(piece.entity, ENTITY_KEY)
        resolution: Resolution | None = None
        try:
            resolution = self._catalog.resolve(piece.entity, item)
        except NotFound:
            # An administrator may bring in what nothing here would make.
            if not caller.is_admin:
                raise
        if resolution is not None and not caller.is_admin:
            _check_right(resolution, piece.record, caller)
        for digest in _modules_of(piece.record):
            self._catalog.read_source(digest)
        return item is not None


def _check_right(resolution: Resolution, record: EntityRecord, caller: Caller) -> None:
    actor = actor_of(caller)
    owner = resolution.owner_for(actor)
    if not is_allowed(actor=actor, right=RIGHT_ADMIN, owner=owner, access=resolution.access):
        raise NotPermitted(f"{caller.identity} holds no right {RIGHT_ADMIN!r} on it")
    if record.owner != owner:
        raise NotPermitted(
            f"the archive gives it to {record.owner}, here it belongs to {owner}; only an "
            "administrator may change that"
        )


def _modules_of(record: EntityRecord) -> set[str]:
    named = {record.pin, *(one.module for one in record.handlers.values())}
    return {digest for digest in named if digest is not None}


def _plan(snapshot: Snapshot, piece: Piece) -> tuple[Commit, bool]:
    """Returns the next commit of a piece, and whether the piece is done with it."""
    entity = piece.entity
    record_cell = (entity, ENTITY_KEY)
    if piece.number > 0:
        return Commit(snapshot.version, [record_cell], (), piece.writes), True
    areas = [
        Range(entity, USER_KEYS_START, None),
        Range(TIMERS_PREFIX + entity, "", None),
        Range(big_entity(entity), "", None),
    ]
    old: dict[Cell, bytes | None] = {}
    for area in areas:
        page = snapshot.scan(area, PIECE_KEYS_MAX, PIECE_BYTES_MAX)
        old |= {(area.entity, key): None for key, _ in page.items}
        if page.more:
            return Commit(snapshot.version, [record_cell], (), old), False
    writes = {**old, **piece.writes, record_cell: encode_record(piece.record)}
    return Commit(snapshot.version, [record_cell], areas, writes), True


async def _keep(chunks: AsyncIterable[bytes], file: IO[bytes]) -> None:
    """Writes what comes into `file`, off the node's thread, about 256 KiB at a time."""
    waiting: list[bytes] = []
    size = 0
    async for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= CHUNK_BYTES:
            await asyncio.to_thread(file.writelines, waiting)
            waiting, size = [], 0
    await asyncio.to_thread(file.writelines, waiting)


def _proven_pieces(file: IO[bytes]) -> Iterator[Piece]:
    """Gives the entities in `file`, after all of it was read once and found whole."""
    for _ in read_pieces(_read_file(file)):
        pass
    yield from read_pieces(_read_file(file))


def _read_file(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(CHUNK_BYTES):
        yield chunk

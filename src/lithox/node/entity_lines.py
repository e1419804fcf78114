"""Entities as lines of an archive, and back: their record, values, timers and big values.

Values are JSON in the contract's form, so that a person can read and change them. Lines of one
entity stand together: `entity`, then `chunk`s of its big values, `value`s and `big`s by key,
`timer`s. Entities stand in order. docs/reference/archive-format.md tells every field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import Struct

from lithox.dispatch.big_values import big_entity, blob_id_of, chunk_key
from lithox.dispatch.messages.outbox import check_args
from lithox.dispatch.records import (
    ENTITY_KEY,
    USER_KEYS_START,
    EntityRecord,
    HandlerOverride,
    decode_entity,
)
from lithox.dispatch.schedules.bounds import DEFAULT_TIMER_BOUNDS
from lithox.dispatch.schedules.calendar import check_cron
from lithox.dispatch.schedules.records import (
    MISSED,
    TIME_MS_MAX,
    ScheduleRecord,
    decode_schedule,
    schedules_of,
)
from lithox.dispatch.schedules.spec import check_timer_id
from lithox.errors import BadArguments, LithoxError
from lithox.model.archive import KIND_ENTITIES, ArchiveReader, refusal
from lithox.model.big_values import (
    CHUNK_BYTES,
    Manifest,
    decode_manifest,
    encode_manifest,
    is_big,
)
from lithox.model.ids import (
    check_entity_path,
    check_handler_name,
    check_state_key,
    is_system_entity,
)
from lithox.model.values import decode_json, decode_value, encode_json, encode_value
from lithox.modules.manifest import parse_limits
from lithox.node.overrides import parse_overrides
from lithox.security.access import parse_access
from lithox.store.contract import Cell
from lithox.store.dump import CellRow, DumpSource

PIECE_KEYS_MAX: Final = 1_000
PIECE_BYTES_MAX: Final = 4 << 20
"""Cells, and bytes of them, that one commit of an import writes (about 15 ms)."""
DIGEST_BYTES: Final = 32
HOPS_MAX: Final = 1 << 16
"""More than any node allows: its own bound ends the chain when the timer is due."""
CHUNKS_MAX: Final = 1 << 32
"""Numbers of chunks that have a key."""


class _EntityLine(Struct, tag_field="k", tag="entity", forbid_unknown_fields=True):
    e: str
    owner: str
    template: str
    created_ms: int
    access: list[Any] | None
    limits: dict[str, int]
    handlers: dict[str, HandlerOverride]
    pin: str | None
    has_big: bool = False


class _ValueLine(Struct, tag_field="k", tag="value", forbid_unknown_fields=True):
    e: str
    key: str
    v: msgspec.Raw


class _BigLine(Struct, tag_field="k", tag="big", forbid_unknown_fields=True):
    e: str
    key: str
    id: str
    size: int
    chunks: int
    sha256: str


class _ChunkLine(Struct, tag_field="k", tag="chunk", forbid_unknown_fields=True):
    e: str
    id: str
    n: int
    v: bytes


class _TimerLine(Struct, tag_field="k", tag="timer", forbid_unknown_fields=True):
    e: str
    id: str
    handler: str
    args: msgspec.Raw
    due_ms: int
    every_ms: int
    cron: str
    zone: str
    missed: str
    account: str
    owner: str
    hops: int
    set_ms: int


_Line = _EntityLine | _ValueLine | _BigLine | _ChunkLine | _TimerLine
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Line)
_BLOB_ID: Final = re.compile(r"[0-9a-f]{32}\Z")


# Out.


def write_entity(rows: Iterable[CellRow], source: DumpSource) -> Iterator[tuple[str, bytes]]:
    """Gives (kind, line) of one entity.

    Args:
        rows: its cells in order, the record first; without a record it gives nothing.
        source: where its timers and big values are read.
    """
    cells = iter(rows)
    first = next(cells, None)
    if first is None or first.key != ENTITY_KEY:
        return
    entity, record = first.entity, decode_entity(first.value)
    yield "entity", _encoder.encode(_line_of(entity, record))
    for row in _shadow(source, big_entity(entity)):
        blob_id, _, number = row.key.rpartition("/")
        chunk = _ChunkLine(e=entity, id=blob_id, n=int(number, 16), v=row.value)
        yield "chunk", _encoder.encode(chunk)
    for row in cells:
        if row.key >= USER_KEYS_START:
            yield _value_line(row)
    for row in _shadow(source, schedules_of(entity)):
        yield "timer", _timer_line(entity, row)


def _line_of(entity: str, record: EntityRecord) -> _EntityLine:
    fields = {name: getattr(record, name) for name in EntityRecord.__struct_fields__}
    return _EntityLine(e=entity, **fields)


def _value_line(row: CellRow) -> tuple[str, bytes]:
    if not is_big(row.value):
        shown = msgspec.Raw(encode_json(decode_value(row.value)))
        return "value", _encoder.encode(_ValueLine(e=row.entity, key=row.key, v=shown))
    told = decode_manifest(row.value)
    line = _BigLine(
        e=row.entity,
        key=row.key,
        id=told.blob_id,
        size=told.size,
        chunks=told.chunks,
        sha256=told.digest.hex(),
    )
    return "big", _encoder.encode(line)


def _timer_line(entity: str, row: CellRow) -> bytes:
    record = decode_schedule(row.value)
    fields = {name: getattr(record, name) for name in ScheduleRecord.__struct_fields__}
    fields["args"] = msgspec.Raw(encode_json(decode_value(bytes(record.args))))
    return _encoder.encode(_TimerLine(e=entity, id=row.key, **fields))


def _shadow(source: DumpSource, entity: str) -> Iterator[CellRow]:
    return source.cells(entity, entity + "\x00")


def group_entities(rows: Iterable[CellRow]) -> Iterator[tuple[str, Iterator[CellRow]]]:
    """Gives (entity, its rows), one after the other; take the rows before the next one."""
    return groupby(rows, key=attrgetter("entity"))


# In.


@dataclass(slots=True, kw_only=True)
class Piece:
    """Part of one entity that one commit writes.

    Attributes:
        number: 0 for the first; `record` is the same in all.
        writes: its cells, chunks included, record and timers excepted.
        timers: by id.
        is_last: no other follows.
    """

    entity: str
    record: EntityRecord
    number: int
    writes: dict[Cell, bytes | None] = field(default_factory=dict[Cell, "bytes | None"])
    timers: dict[str, ScheduleRecord] = field(default_factory=dict[str, ScheduleRecord])
    is_last: bool = False


def read_pieces(chunks: Iterable[bytes]) -> Iterator[Piece]:
    """Gives the entities of an archive in pieces for commits, checked.

    Raises:
        BadArguments: the archive is not whole, or a line is not what it should be.
    """
    piece: Piece | None = None
    size = 0
    for line in _lines(chunks):
        if isinstance(line, _EntityLine):
            if piece is not None:
                piece.is_last = True
                yield piece
                if line.e <= piece.entity:
                    raise refusal(f"its entities are out of order at {line.e[:80]!r}")
            piece, size = Piece(entity=line.e, record=_record_of(line), number=0), 0
            continue
        if piece is None or line.e != piece.entity:
            raise refusal(f"a row of {line.e[:80]!r} stands outside its entity")
        count = len(piece.writes) + len(piece.timers)
        if size >= PIECE_BYTES_MAX or count >= PIECE_KEYS_MAX:
            yield piece
            piece = Piece(entity=piece.entity, record=piece.record, number=piece.number + 1)
            size = 0
        size += _put(piece, line)
    if piece is not None:
        piece.is_last = True
        yield piece


def read_first(row: bytes) -> Piece:
    """Returns the entity that the first row of an archive names, without its rows, checked.

    Raises:
        BadArguments: the row is not what it should be.
    """
    line = _decode(row)
    if not isinstance(line, _EntityLine):
        raise refusal(f"a row of {line.e[:80]!r} stands outside its entity")
    return Piece(entity=line.e, record=_record_of(line), number=0)


def _lines(chunks: Iterable[bytes]) -> Iterator[_Line]:
    reader = ArchiveReader(KIND_ENTITIES)
    for chunk in chunks:
        for line in reader.feed(chunk):
            yield _decode(line)
    reader.finish()


def _decode(line: bytes) -> _Line:
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        # A decoder calls itself for each list in a list, and that ends somewhere.
        raise refusal(f"a row cannot be read: {error}") from None


def _record_of(line: _EntityLine) -> EntityRecord:
    """Returns the record of an entity line, checked like what administrators write."""
    check_entity_path(line.e)
    if is_system_entity(line.e):
        raise BadArguments(f"{line.e} belongs to the node and cannot be imported")
    try:
        if line.access is not None:
            parse_access(line.access)
        parse_limits(line.limits, "limits")
        handlers = parse_overrides(msgspec.to_builtins(line.handlers))
    except LithoxError as error:
        raise BadArguments(f"entity {line.e}: {error.message}") from None
    return EntityRecord(
        owner=line.owner,
        template=line.template,
        created_ms=line.created_ms,
        access=line.access,
        limits=line.limits,
        handlers=handlers,
        pin=line.pin,
        has_big=line.has_big,
    )


def _put(piece: Piece, line: _ValueLine | _BigLine | _ChunkLine | _TimerLine) -> int:
    """Adds a line's cell to `piece`; returns its bytes."""
    entity = piece.entity
    if isinstance(line, _TimerLine):
        if line.id in piece.timers:
            raise refusal(f"{entity} has timer {line.id[:80]!r} twice")
        piece.timers[line.id] = timer = _timer_of(line)
        return len(line.id) + len(timer.args)
    if isinstance(line, _ValueLine):
        cell, value = (entity, check_state_key(line.key)), encode_value(decode_json(bytes(line.v)))
    elif isinstance(line, _BigLine):
        cell, value = (entity, check_state_key(line.key)), _big_of(piece, line)
    else:
        if not 0 <= line.n < CHUNKS_MAX or not _BLOB_ID.match(line.id):
            raise refusal(f"chunk {line.n} of {line.id[:80]!r} has no such place")
        cell, value = (big_entity(entity), chunk_key(line.id, line.n)), line.v
    if cell in piece.writes:
        raise refusal(f"{entity} has {line.__struct_config__.tag} {cell[1][:80]!r} twice")
    piece.writes[cell] = value
    return len(cell[1]) + len(value)


def _timer_of(line: _TimerLine) -> ScheduleRecord:
    """Returns a timer, checked like one that a handler sets."""
    check_timer_id(line.id)
    args = msgspec.Raw(encode_value(decode_json(bytes(line.args))))
    check_args(args)
    if line.cron:
        check_cron(line.cron, line.zone)
    is_sound = (
        0 <= line.due_ms <= TIME_MS_MAX
        and (line.every_ms == 0 or line.every_ms >= DEFAULT_TIMER_BOUNDS.interval_min_ms)
        and not (line.every_ms and line.cron)
        and line.missed in MISSED
        and 0 <= line.hops <= HOPS_MAX
    )
    if not is_sound:
        raise refusal(f"the timer {line.id!r} of {line.e} says what no timer can")
    check_handler_name(line.handler)
    names = ScheduleRecord.__struct_fields__
    fields: dict[str, Any] = {name: getattr(line, name) for name in names}
    fields["args"] = args
    return ScheduleRecord(**fields)


def _big_of(piece: Piece, line: _BigLine) -> bytes:
    try:
        digest = bytes.fromhex(line.sha256)
    except ValueError:
        digest = b""
    is_sound = len(digest) == DIGEST_BYTES and line.id == blob_id_of(line.key)
    is_told = piece.record.has_big
    if not is_sound or not is_told or line.size < 0 or line.chunks != -(-line.size // CHUNK_BYTES):
        raise refusal(f"the big value {line.key[:80]!r} of {line.e} is not described as such")
    return encode_manifest(Manifest(line.id, line.size, line.chunks, digest))

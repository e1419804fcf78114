"""A dump as an archive: each row one line of JSON, and back.

What a line looks like is told in docs/reference/archive-format.md. Lines are canonical: fields in
a fixed order, nothing left out but what has its default, so equal rows are equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from lithox.model.archive import (
    KIND_STORE,
    ArchiveReader,
    ArchiveWriter,
    refusal,
    write_lines,
)
from lithox.store.contract import AuditRecord, ResultRecord
from lithox.store.dump import CellRow, DumpRow, check_order

CELL: Final = "cell"
RESULT: Final = "result"
AUDIT: Final = "audit"


class _CellLine(Struct, tag_field="k", tag=CELL, forbid_unknown_fields=True, omit_defaults=True):
    e: str
    key: str
    v: bytes
    ver: int = 0


class _ResultLine(Struct, tag_field="k", tag=RESULT, forbid_unknown_fields=True):
    identity: str
    e: str
    id: str
    account: str
    asked: bytes
    answer: bytes
    expires_ns: int


class _AuditLine(Struct, tag_field="k", tag=AUDIT, forbid_unknown_fields=True):
    at_ns: int
    identity: str
    act: str
    e: str
    outcome: str
    detail: str


_Line = _CellLine | _ResultLine | _AuditLine
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Line)
_INT_MAX: Final = (1 << 63) - 1


def encode_row(row: DumpRow) -> tuple[str, bytes]:
    """Returns (kind, line without its end) of one row."""
    if isinstance(row, CellRow):
        return CELL, _encoder.encode(_CellLine(row.entity, row.key, row.value, row.version))
    if isinstance(row, ResultRecord):
        line = _ResultLine(
            row.identity,
            row.entity,
            row.request_id,
            row.account,
            row.asked_digest,
            row.answer,
            row.expires_ns,
        )
        return RESULT, _encoder.encode(line)
    audit = _AuditLine(row.at_ns, row.identity, row.act, row.entity, row.outcome, row.detail)
    return AUDIT, _encoder.encode(audit)


def decode_row(line: bytes) -> DumpRow:
    """Returns the row of one line; raises BadArguments for any other line."""
    try:
        found = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise refusal(f"a row cannot be read: {error}") from None
    if isinstance(found, _CellLine):
        if not 0 <= found.ver <= _INT_MAX:
            raise refusal(f"a row has version {found.ver}")
        return CellRow(found.e, found.key, found.v, found.ver)
    if isinstance(found, _ResultLine):
        return ResultRecord(
            identity=found.identity,
            entity=found.e,
            request_id=found.id,
            account=found.account,
            asked_digest=found.asked,
            answer=found.answer,
            expires_ns=found.expires_ns,
        )
    return AuditRecord(
        at_ns=found.at_ns,
        identity=found.identity,
        act=found.act,
        entity=found.e,
        outcome=found.outcome,
        detail=found.detail,
    )


def write_rows(rows: Iterable[DumpRow], writer: ArchiveWriter) -> Iterator[bytes]:
    """Gives `rows` as chunks of whole lines, noted in `writer`; without header and trailer."""
    return write_lines(map(encode_row, rows), writer)


def read_rows(chunks: Iterable[bytes], reader: ArchiveReader | None = None) -> Iterator[DumpRow]:
    """Gives the rows of an archive of a whole store, in order.

    Nothing of it may be kept when this raises: only its end proves it whole.

    Args:
        chunks: the archive, cut anywhere.
        reader: counts and digests for who wants them.

    Raises:
        BadArguments: no archive of a store, cut off, damaged or out of order.
    """
    return check_order(_read(chunks, reader or ArchiveReader(KIND_STORE)))


def _read(chunks: Iterable[bytes], reader: ArchiveReader) -> Iterator[DumpRow]:
    for chunk in chunks:
        for line in reader.feed(chunk):
            yield decode_row(line)
    reader.finish()

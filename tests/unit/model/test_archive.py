"""The frame of an archive: whole ones pass, whatever is cut, changed or foreign is refused."""

from __future__ import annotations

import hashlib
import json

import pytest

from lithox.errors import BadArguments
from lithox.model import archive
from lithox.model.archive import KIND_ENTITIES, KIND_STORE, ArchiveReader, ArchiveWriter

ROWS = b'{"k":"cell","e":"a"}\n{"k":"cell","e":"b"}\n'
AUDIT = b'{"k":"audit"}\n'


def sample() -> bytes:
    """Returns a small archive of two kinds of rows."""
    writer = ArchiveWriter()
    parts = [writer.begin(KIND_STORE, store="s"), ROWS, AUDIT]
    writer.add(ROWS + AUDIT, {"cell": 2, "audit": 1})
    return b"".join(parts) + writer.end()


def read(data: bytes, *, size: int = 1 << 20, kind: str = KIND_STORE) -> list[bytes]:
    """Returns the rows of `data`, fed in pieces of `size`."""
    reader = ArchiveReader(kind)
    rows: list[bytes] = []
    for begin in range(0, len(data), size):
        rows += reader.feed(data[begin : begin + size])
    reader.finish()
    return rows


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 20])
def test_rows_come_out_as_they_went_in(size: int) -> None:
    """However the bytes are cut, the lines between header and trailer are the rows."""
    assert read(sample(), size=size) == (ROWS + AUDIT).splitlines()


def test_the_trailer_holds_counts_and_digests_of_what_is_before_it() -> None:
    """`sha256` is that of every byte before the last line, `rows_sha256` of the rows alone."""
    lines = sample().splitlines(keepends=True)
    assert json.loads(lines[-1]) == {
        "k": "end",
        "counts": {"audit": 1, "cell": 2},
        "rows_sha256": hashlib.sha256(ROWS + AUDIT).hexdigest(),
        "sha256": hashlib.sha256(b"".join(lines[:-1])).hexdigest(),
    }


def test_every_cut_is_refused() -> None:
    """An archive that ends anywhere before its end is refused."""
    data = sample()
    for end in range(len(data)):
        with pytest.raises(BadArguments):
            read(data[:end])


def test_every_changed_byte_is_refused() -> None:
    """One bit flipped at any place, line ends included, is noticed."""
    data = sample()
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(BadArguments):
            read(changed)


def test_what_follows_the_end_is_refused() -> None:
    """Neither a further archive nor a single byte may stand behind the trailer."""
    for rest in (b"\n", b"x", sample()):
        with pytest.raises(BadArguments):
            read(sample() + rest)
        with pytest.raises(BadArguments):
            read(sample() + rest, size=1)


def test_a_row_that_is_missing_or_doubled_is_refused() -> None:
    """Whole lines that vanish, are repeated or change places do not fit the digest."""
    header, first, second, third, end = sample().splitlines(keepends=True)
    for rows in ([first, third], [first, first, second, third], [second, first, third]):
        with pytest.raises(BadArguments, match="counts and digests"):
            read(b"".join([header, *rows, end]))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cut off: its begin is missing after 0 bytes"),
        (b"SQLite format 3\x00 rest\n", "its first line is not a header"),
        (b"[]\n", "its first line is not a header"),
        (b'{"format":"lithox-archive","version":2,"kind":"store"}\n', "format version 2"),
        (b'{"format":"lithox-archive","version":1,"kind":"entities"}\n', "it holds 'entities'"),
        (b'{"format":"lithox-archive","version":1,"kind":"store"}\n{"a":1}\n', "a row begins"),
    ],
)
def test_what_is_no_such_archive_is_refused_with_words(data: bytes, words: str) -> None:
    """The message says what was found instead."""
    with pytest.raises(BadArguments, match=words):
        read(data)


def test_an_archive_of_the_other_kind_is_refused() -> None:
    """A backup is not imported as entities."""
    with pytest.raises(BadArguments, match="this command reads 'entities'"):
        read(sample(), kind=KIND_ENTITIES)


def test_a_line_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes without a line end are kept up to a bound, then refused."""
    monkeypatch.setattr(archive, "LINE_BYTES_MAX", 100)
    reader = ArchiveReader(KIND_STORE)
    reader.feed(b"x" * 100)
    with pytest.raises(BadArguments, match="a line has more than 100 bytes"):
        reader.feed(b"x")

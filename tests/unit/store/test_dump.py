"""Rows of a dump: order, lines, and loads that are whole or have not happened."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from lithox.errors import BadArguments, StoreCorrupt, StoreInUse
from lithox.model.archive import KIND_STORE, ArchiveWriter
from lithox.store.dump import CellRow, DumpRow, check_order, dump_rows
from lithox.store.dump_lines import decode_row, read_rows, write_rows
from lithox.store.embedded import EmbeddedStore
from lithox.store.embedded.dump import TEMPORARY_SUFFIX, EmbeddedDump, load_embedded
from lithox.store.memory import MemoryDisk
from tests.store_rows import (
    SMALL,
    audit,
    make_archive,
    pieces,
    read_source,
    result,
    through_embedded,
    through_memory,
)


def test_both_engines_give_the_rows_they_were_loaded_with(tmp_path: Path) -> None:
    """What is loaded comes out again, in order, with the versions of the outbox."""
    assert through_embedded(tmp_path / "a.db", SMALL) == SMALL
    assert through_memory(SMALL) == SMALL


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    """The archive of a loaded archive is the same but for what its header is told."""
    archive = make_archive(SMALL)
    again = through_embedded(tmp_path / "a.db", read_rows([archive]))
    assert make_archive(through_memory(again)) == archive


def test_a_line_says_what_the_reference_says() -> None:
    """Each kind of row has the fields that docs/reference/archive-format.md promises."""
    rows: list[DumpRow] = [CellRow("a", "k", b"\x01", 7), result("r"), audit(5, detail="why")]
    lines = make_archive(rows, store="s").splitlines()
    assert [json.loads(line) for line in lines[:-1]] == [
        {"format": "lithox-archive", "version": 1, "kind": "store", "store": "s"},
        {"k": "cell", "e": "a", "key": "k", "v": "AQ==", "ver": 7},
        {
            "k": "result",
            "identity": "alice",
            "e": "a",
            "id": "r",
            "account": "alice",
            "asked": "A" * 43 + "=",
            "answer": "wA==",
            "expires_ns": 1000,
        },
        {
            "k": "audit",
            "at_ns": 5,
            "identity": "alice",
            "act": "put:k",
            "e": "a",
            "outcome": "ok",
            "detail": "why",
        },
    ]


@pytest.mark.parametrize(
    "line",
    [
        b'{"k":"cell","e":"a","key":"k"}',
        b'{"k":"cell","e":"a","key":"k","v":"?"}',
        b'{"k":"cell","e":"a","key":"k","v":"","new":1}',
        b'{"k":"cell","e":"a","key":"\\ud800","v":""}',
        b'{"k":"cell","e":"a","key":"k","v":"","ver":-1}',
        b'{"k":"cell","e":"a","key":"k","v":"","ver":9223372036854775808}',
        b'{"k":"blob","e":"a"}',
        b'{"k":"cell"',
    ],
)
def test_a_row_of_another_shape_is_refused(line: bytes) -> None:
    """Unknown kinds and fields, wrong types and numbers no engine holds are told, not guessed."""
    data = make_archive([]).splitlines(keepends=True)[0] + line + b"\n"
    with pytest.raises(BadArguments, match="not a whole archive"):
        list(read_rows([data]))


def test_a_row_that_nests_without_end_is_refused() -> None:
    """However deep it is: the decoder's own end is told like any other fault of the row."""
    line = b'{"v":' + b"[" * 100_000 + b"]" * 100_000 + b',"k":"cell","e":"a","key":"k"}'
    with pytest.raises(BadArguments, match="cannot be read"):
        decode_row(line)


@pytest.mark.parametrize(
    "rows",
    [
        [CellRow("b", "k", b""), CellRow("a", "k", b"")],
        [CellRow("a", "k", b""), CellRow("a", "k", b"")],
        [result("r-2"), result("r-1")],
        [result("r-1"), CellRow("a", "k", b"")],
        [audit(1), result("r-1")],
    ],
)
def test_rows_out_of_order_are_refused(rows: list[DumpRow]) -> None:
    """Order is part of the format: no row twice, no kind before its turn."""
    with pytest.raises(BadArguments, match="out of order"):
        list(check_order(rows))


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"a.db-lock"}


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_archive_loads_nothing(tmp_path: Path, part: float) -> None:
    """Wherever it ends too early, no database and no other file is left."""
    data = make_archive(SMALL)
    with pytest.raises(BadArguments):
        load_embedded(tmp_path / "a.db", read_rows([data[: int(len(data) * part)]]))
    assert leftovers(tmp_path) == set()


def test_an_archive_changed_in_any_line_loads_nothing(tmp_path: Path) -> None:
    """A changed value that still reads well is found at the end, and nothing was kept."""
    lines = make_archive(SMALL).splitlines(keepends=True)
    for index, line in enumerate(lines):
        # As JSON it is the same line, and it is read without complaint.
        changed = b'": '.join(line.rsplit(b'":', 1))
        data = b"".join([*lines[:index], changed, *lines[index + 1 :]])
        assert data != make_archive(SMALL)
        with pytest.raises(BadArguments):
            load_embedded(tmp_path / "a.db", read_rows([data]))
        assert leftovers(tmp_path) == set()
        disk = MemoryDisk()
        with pytest.raises(BadArguments):
            disk.load_rows(read_rows([data]))
        disk.load_rows([])


def test_a_load_replaces_nothing(tmp_path: Path) -> None:
    """A database that is there stays as it is; one in use is said to be."""
    path = tmp_path / "a.db"
    load_embedded(path, SMALL[:1])
    with pytest.raises(BadArguments, match="is there already"):
        load_embedded(path, SMALL)
    assert read_source(EmbeddedDump(path)) == SMALL[:1]
    store = EmbeddedStore.open(path, post=SimpleQueue[Any]().put)
    with pytest.raises(StoreInUse):
        load_embedded(path, SMALL)
    store.close()
    disk = MemoryDisk()
    disk.load_rows(SMALL)
    with pytest.raises(BadArguments, match="not empty"):
        disk.load_rows(SMALL)


def test_a_database_that_was_lost_is_not_loaded_over(tmp_path: Path) -> None:
    """Where a store has been, its lock remembers: that somebody deleted the file is no reason."""
    path = tmp_path / "a.db"
    load_embedded(path, SMALL)
    path.unlink()
    with pytest.raises(BadArguments, match="is there already"):
        load_embedded(path, SMALL)


def test_what_an_interrupted_load_left_is_replaced(tmp_path: Path) -> None:
    """A half-made file of a load before does not end up in the next one."""
    path = tmp_path / "a.db"
    (tmp_path / f"a.db{TEMPORARY_SUFFIX}").write_bytes(b"half")
    assert through_embedded(path, SMALL) == SMALL
    assert {name for name in leftovers(tmp_path) if name.endswith(TEMPORARY_SUFFIX)} == set()


def test_a_loaded_store_begins_above_every_version_it_holds(tmp_path: Path) -> None:
    """A new commit is newer than every message that was loaded."""
    path = tmp_path / "a.db"
    load_embedded(path, SMALL)
    store = EmbeddedStore.open(path, post=SimpleQueue[Any]().put)
    snapshot = store.open_snapshot()
    item = snapshot.find("~lithox/q/outbox", "m.1")
    assert item is not None
    assert (item.version, store.visible_version >= 7) == (7, True)
    store.close()


def many(count: int) -> Iterator[CellRow]:
    """Gives `count` cells of 100 entities."""
    for number in range(count):
        yield CellRow(f"e/{number * 100 // count:02}", f"{number:07}", b"v" * 64)


@pytest.mark.slow
def test_memory_is_bounded_whatever_the_size(tmp_path: Path) -> None:
    """Loading and dumping 200,000 cells (30 MB of archive) take a few MiB of Python's memory."""
    path, file, count = tmp_path / "a.db", tmp_path / "archive", 200_000
    bound = 12 << 20
    tracemalloc.start()
    try:
        load_embedded(path, many(count))
        loading = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        writer = ArchiveWriter()
        with file.open("wb") as out, EmbeddedDump(path) as source:
            out.write(writer.begin(KIND_STORE))
            for chunk in write_rows(dump_rows(source), writer):
                out.write(chunk)
            out.write(writer.end())
        dumping = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        with file.open("rb") as data:
            read = sum(1 for _ in read_rows(iter(lambda: data.read(1 << 16), b"")))
        reading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == count
    assert max(loading, dumping, reading) < bound


def test_pieces_of_any_size_give_the_same_rows() -> None:
    """How a network cuts an archive does not matter."""
    data = make_archive(SMALL)
    for size in (1, 3, 50, len(data)):
        assert list(read_rows(pieces(data, size))) == SMALL


def test_a_range_of_entities_can_be_read_alone(tmp_path: Path) -> None:
    """`cells` gives the entities from a start to before an end, on the same snapshot."""
    path = tmp_path / "a.db"
    load_embedded(path, SMALL)
    disk = MemoryDisk()
    disk.load_rows(SMALL)
    for source in (EmbeddedDump(path), disk.open_dump()):
        with source:
            assert list(source.cells("a/", "b")) == SMALL[2:3]
            assert list(source.cells("~")) == SMALL[3:5]


def test_a_damaged_database_is_told_as_such(tmp_path: Path) -> None:
    """A dump that meets a page it cannot read says so instead of ending early."""
    path = tmp_path / "a.db"
    load_embedded(path, many(5_000))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 8192)
    with pytest.raises(StoreCorrupt):
        read_source(EmbeddedDump(path))


def test_results_differ_by_their_whole_key(tmp_path: Path) -> None:
    """Two answers under one id for different entities are two rows."""
    rows: list[DumpRow] = [result("r", entity="a"), replace(result("r"), entity="b")]
    assert through_embedded(tmp_path / "a.db", rows) == rows

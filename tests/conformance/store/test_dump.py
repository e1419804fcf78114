"""A dump is one durable moment, whatever goes on meanwhile, and equal content is equal rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lithox.errors import BadArguments, ConfigError, StoreInUse
from lithox.store.contract import AuditRecord, Commit, Store
from lithox.store.dump import CellRow, DumpRow
from lithox.store.dump_lines import read_rows
from lithox.store.postgres import PostgresOptions
from lithox.store.postgres import dump as postgres_dump
from lithox.store.postgres.dump import PostgresDump, check_at_rest, load_postgres
from tests.conformance.store.worlds import (
    Answers,
    PostgresWorld,
    World,
    session_server,
)
from tests.store_rows import SMALL, make_archive, read_source, result, through_embedded


def cells(store: Store) -> dict[tuple[str, str], bytes]:
    """Returns the cells of a dump made now."""
    with store.open_dump() as source:
        return {(row.entity, row.key): row.value for row in source.cells()}


def test_everything_durable_is_in_it(world: World) -> None:
    """Cells, answers and audit records, each kind in its order."""
    world.put("b", k="1")
    world.put("a", z="2", a="3")
    record = result("r-1")
    answers = Answers()
    world.store.record_audit(
        AuditRecord(at_ns=5, identity="alice", act="x", entity="a", outcome="ok")
    )
    world.store.submit(Commit(world.store.visible_version, result=record), answers.add)
    world.settle()
    world.wait_until(lambda: bool(answers.errors))
    rows = read_source(world.store.open_dump())
    assert [row for row in rows if isinstance(row, CellRow)] == [
        CellRow("a", "a", b"3"),
        CellRow("a", "z", b"2"),
        CellRow("b", "k", b"1"),
    ]
    assert record in rows
    assert rows[-1] == AuditRecord(at_ns=5, identity="alice", act="x", entity="a", outcome="ok")


def test_what_is_not_durable_is_not_in_it(world: World) -> None:
    """A commit that waits for the disk shows to runs and not to dumps."""
    world.put("a", k="1")
    world.hold()
    answers = Answers()
    world.store.submit(Commit(world.store.visible_version, writes={("a", "k"): b"2"}), answers.add)
    assert cells(world.store) == {("a", "k"): b"1"}
    world.release()
    world.settle()
    assert cells(world.store) == {("a", "k"): b"2"}


def test_commits_go_on_while_one_is_read(world: World) -> None:
    """With a dump open half way commits become durable at once, and none of them shows in it."""
    for number in range(20):
        world.put(f"e{number:02}", left="0", right="0")
    with world.store.open_dump() as source:
        # Read in several questions, so that one statement's own moment is not enough.
        seen = list(source.cells("", "e10"))
        rest = source.cells("e10")
        seen.append(next(rest))
        for number in range(20):
            world.put(f"e{number:02}", left=str(-number), right=str(number), new="x")
        seen += rest
        again = list(source.cells())
    assert seen == again
    assert [row.value for row in again] == [b"0"] * 40
    assert len(cells(world.store)) == 60


def test_it_is_read_in_a_thread_of_its_own(world: World) -> None:
    """Made on the node's thread, read in another, while this one commits."""
    world.put("a", k="1")
    source = world.store.open_dump()
    found: list[DumpRow] = []
    reader = threading.Thread(target=lambda: found.extend(read_source(source)))
    reader.start()
    world.put("b", k="2")
    reader.join()
    assert CellRow("a", "k", b"1") in found


def test_versions_of_the_outbox_are_in_it(world: World) -> None:
    """They are the order of messages; those of all else mean nothing outside."""
    first = world.put("~lithox/q/outbox", m="1")
    second = world.put("~lithox/q/outbox", l="2")
    world.put("a", k="3")
    with world.store.open_dump() as source:
        assert {row.key: row.version for row in source.cells()} == {
            "l": second, "m": first, "k": 0
        }  # fmt: skip


@pytest.fixture
def postgres() -> Iterator[PostgresWorld]:
    """A world of the server, its schema made and nobody at work."""
    made = PostgresWorld(session_server())
    yield made
    if not hasattr(made, "store"):
        made.open()
    made.end()


def options_of(world: PostgresWorld) -> PostgresOptions:
    return PostgresOptions(schema=world.schema, is_unsafe=True)


def test_a_server_gives_the_rows_it_was_loaded_with(postgres: PostgresWorld) -> None:
    """All kinds, in order, with the versions of the outbox; a new schema is made for them."""
    options = options_of(postgres)
    load_postgres(postgres.server.address(), options, SMALL)
    assert read_source(PostgresDump(postgres.server.address(), options)) == SMALL
    check_at_rest(postgres.server.address(), options)


def test_both_engines_give_equal_archives(postgres: PostgresWorld, tmp_path: Path) -> None:
    """From SQLite to the server and back nothing changes, byte for byte."""
    options = options_of(postgres)
    archive = make_archive(SMALL)
    there = through_embedded(tmp_path / "a.db", read_rows([archive]))
    load_postgres(postgres.server.address(), options, there)
    back = read_source(PostgresDump(postgres.server.address(), options))
    assert make_archive(through_embedded(tmp_path / "b.db", back)) == archive


def test_pages_join_without_a_gap(postgres: PostgresWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of few rows and few bytes give the same rows as one."""
    options = options_of(postgres)
    rows: list[DumpRow] = [
        CellRow(f"e{number // 7}", f"{number:03}", b"v" * (number % 5 * 30)) for number in range(60)
    ]
    rows += [result(f"r-{number:02}", answer=b"a" * number) for number in range(9)]
    load_postgres(postgres.server.address(), options, rows)
    for rows_max, bytes_max in ((1, 1 << 20), (7, 1 << 20), (2_000, 1), (5, 100)):
        monkeypatch.setattr(postgres_dump, "PAGE_ROWS_MAX", rows_max)
        monkeypatch.setattr(postgres_dump, "PAGE_BYTES_MAX", bytes_max)
        source = PostgresDump(postgres.server.address(), options)
        assert read_source(source) == rows
        with source:
            assert list(source.cells("e1", "e2")) == rows[7:14]


def test_a_damaged_archive_loads_nothing_into_a_server(postgres: PostgresWorld) -> None:
    """The transaction ends without a trace: not even the schema is there."""
    options = options_of(postgres)
    archive = make_archive(SMALL)
    for cut in (0, len(archive) // 2, len(archive) - 1):
        with pytest.raises(BadArguments):
            load_postgres(postgres.server.address(), options, read_rows([archive[:cut]]))
        with pytest.raises(ConfigError, match="is not there"):
            check_at_rest(postgres.server.address(), options)
    load_postgres(postgres.server.address(), options, read_rows([archive]))


def test_a_server_that_stores_something_is_not_loaded(postgres: PostgresWorld) -> None:
    """What is there stays; so does what a node is at work on, empty or not."""
    options = options_of(postgres)
    load_postgres(postgres.server.address(), options, SMALL[:1])
    with pytest.raises(BadArguments, match="is stored in the schema"):
        load_postgres(postgres.server.address(), options, SMALL)
    postgres.open()
    postgres.put("a", k=None, **{"\x00entity": None})
    with pytest.raises(StoreInUse, match="ago: 1; stop them first"):
        load_postgres(postgres.server.address(), options, SMALL)
    with pytest.raises(StoreInUse):
        check_at_rest(postgres.server.address(), options)


def test_a_node_goes_on_from_what_was_loaded(postgres: PostgresWorld) -> None:
    """Loaded cells are read, changed and conflict like any others; new versions are above them."""
    load_postgres(postgres.server.address(), options_of(postgres), SMALL)
    store = postgres.open()
    snapshot = store.open_snapshot()
    item = snapshot.find("~lithox/q/outbox", "m.1")
    assert item is not None
    assert (item.version, store.visible_version > 7) == (7, True)
    assert postgres.put("a", k="new") > 7
    answers = Answers()
    stale = Commit(snapshot.version, [("a", "k")], (), {("a", "x"): b"1"})
    assert store.submit(stale, answers.add) is None
    snapshot.release()

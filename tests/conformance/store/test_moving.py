"""Stores move between engines and back through the command's own functions, proven each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lithox.errors import BadArguments, LithoxError, NotFound, StoreCorrupt, StoreInUse
from lithox.node.moving_stores import Moved, Place, backup, migrate, place_of, restore, verify
from lithox.node.opening import STORE_NAME
from lithox.store.embedded.dump import EmbeddedDump, load_embedded
from tests.conformance.store.worlds import PostgresWorld, session_server
from tests.store_rows import SMALL, make_archive, read_source


@pytest.fixture
def world() -> Iterator[PostgresWorld]:
    """A schema on the session's server that is not made yet."""
    made = PostgresWorld(session_server())
    yield made
    if not hasattr(made, "store"):
        made.open()
    made.end()


@pytest.fixture
def server(world: PostgresWorld) -> Place:
    return place_of(f"{world.server.address()}#{world.schema}")


def test_a_store_moves_to_a_server_and_back(server: Place, tmp_path: Path) -> None:
    """Both ways counts and digest agree, and the rows are the same again."""
    load_embedded(tmp_path / STORE_NAME, SMALL)
    there = migrate(place_of(f"sqlite:{tmp_path}"), server)
    back = migrate(server, place_of(f"sqlite:{tmp_path / 'back'}"))
    assert there == back
    assert there.counts == {"audit": 3, "cell": 5, "result": 2}
    assert read_source(EmbeddedDump(tmp_path / "back" / STORE_NAME)) == SMALL


def test_a_backup_of_one_engine_restores_into_the_other(server: Place, tmp_path: Path) -> None:
    """The archive names no engine."""
    load_embedded(tmp_path / STORE_NAME, SMALL)
    archive = b"".join(backup(place_of(f"sqlite:{tmp_path}")))
    moved = restore([archive], server)
    again = b"".join(backup(server))
    assert again.splitlines()[1:-1] == archive.splitlines()[1:-1]
    assert restore([again], place_of(f"sqlite:{tmp_path / 'c'}")) == moved


def test_a_server_at_work_is_backed_up_and_not_migrated(
    world: PostgresWorld, server: Place, tmp_path: Path
) -> None:
    """A backup is one moment; a migration would leave out what comes after."""
    world.open()
    world.put("a", k="1")
    assert b'"e":"a"' in b"".join(backup(server))
    with pytest.raises(StoreInUse):
        migrate(server, place_of(f"sqlite:{tmp_path / 'c'}"))
    assert not (tmp_path / "c").exists()


def test_neither_side_is_written_over(server: Place, tmp_path: Path) -> None:
    """A target that holds something, or a source that is not there, ends it at once."""
    load_embedded(tmp_path / STORE_NAME, SMALL)
    with pytest.raises(NotFound):
        migrate(place_of(f"sqlite:{tmp_path / 'none'}"), server)
    migrate(place_of(f"sqlite:{tmp_path}"), server)
    with pytest.raises(BadArguments):
        migrate(place_of(f"sqlite:{tmp_path}"), server)
    with pytest.raises(BadArguments):
        migrate(server, place_of(f"sqlite:{tmp_path}"))


def test_a_copy_that_reads_otherwise_is_told(tmp_path: Path) -> None:
    """Verification compares counts and the digest of every row."""
    load_embedded(tmp_path / STORE_NAME, SMALL)
    place = place_of(f"sqlite:{tmp_path}")
    right = verify(place, restore([make_archive(SMALL)], place_of(f"sqlite:{tmp_path / 'b'}")))
    for wrong in (
        Moved(counts=right.counts, rows_sha256="0" * 64),
        Moved(counts={**right.counts, "cell": 4}, rows_sha256=right.rows_sha256),
    ):
        with pytest.raises(StoreCorrupt, match="reads otherwise"):
            verify(place, wrong)


def test_passwords_are_in_no_message(world: PostgresWorld) -> None:
    """What is wrong with a server is told without its address."""
    address = world.server.address().replace(f":{world.server.port}", ":1")
    place = place_of(f"{address}#{world.schema}")
    with pytest.raises(LithoxError) as told:
        b"".join(backup(place))
    assert world.server.password not in str(told.value) + place.name

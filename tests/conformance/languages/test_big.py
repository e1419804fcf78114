"""Big values are written and read in pieces; they count once they are closed."""

from __future__ import annotations

import hashlib

import pytest

from tests.conformance.languages.world import World

PIECES, SIZE = 20, 100_000
DIGEST = hashlib.sha256(b"x" * (PIECES * SIZE)).hexdigest()

pytestmark = pytest.mark.needs("big_values")


def test_big_value_is_written_and_read(world: World) -> None:
    """What a writer took a reader gives, in pieces of any size, and the digest is its SHA-256."""
    entity = world.fresh()
    assert world.call(entity, "write_big", "file", PIECES, SIZE) == DIGEST
    told = {"size": PIECES * SIZE, "digest": DIGEST}
    assert world.call(entity, "read_big", "file", 65_536) == told | {
        "pieces": -(-PIECES * SIZE // 65_536),
        "bytes": PIECES * SIZE,
    }
    assert world.call(entity, "read_big", "file", 30_000)["bytes"] == PIECES * SIZE
    info = world.run(world.node.value_info(entity, "file"))
    assert (info.size, info.digest) == (PIECES * SIZE, DIGEST)


def test_one_read_gives_as_much_as_was_asked_for(world: World) -> None:
    """A piece is short at the end only, also where the node gives less for one of its calls."""
    entity = world.fresh()
    world.call(entity, "write_big", "file", 5, SIZE)
    told = world.call(entity, "read_big", "file", 3 * SIZE)
    assert (told["pieces"], told["bytes"]) == (2, 5 * SIZE)
    for asked, given in ((0, 0), (4 * SIZE, 4 * SIZE), (9 * SIZE, 5 * SIZE)):
        assert world.call(entity, "big_at", "file", 0, asked) == b"x" * given


def test_reader_seeks(world: World) -> None:
    """A reader begins where it is told, and gives nothing behind the end."""
    entity = world.fresh()
    world.call(entity, "write_big", "file", 3, 10)
    assert world.call(entity, "big_at", "file", 25, 100) == b"xxxxx"
    assert world.call(entity, "big_at", "file", 30, 100) == b""


def test_reader_of_nothing(world: World) -> None:
    """An absent key has no reader; a plain value has none either, and says so."""
    entity = world.fresh()
    assert world.call(entity, "read_big", "none", 10) is None
    world.call(entity, "put", "plain", "text")
    assert world.fail(entity, "read_big", "plain", 10).code


def test_writer_that_is_not_closed_leaves_nothing(world: World) -> None:
    """A run that ends with an open writer has written nothing."""
    entity = world.fresh()
    world.call(entity, "leave_big", "file")
    assert world.state(entity) == {}
    assert world.call(entity, "read_big", "file", 10) is None


def test_big_value_is_deleted_like_any_key(world: World) -> None:
    """Deleting the key takes the big value away."""
    entity = world.fresh()
    world.call(entity, "write_big", "file", 2, 10)
    assert world.call(entity, "has", "other") is False
    world.call(entity, "delete", "file")
    assert world.state(entity) == {}

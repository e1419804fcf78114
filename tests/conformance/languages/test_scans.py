"""Keys are walked in the order of their bytes, page by page, with a run's own changes in place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.languages.world import World

KEYS = ["", "a", "a b", "a/1", "a/10", "a/2", "b", "z", "ä", "\ue000", "\U0001f600"]
"""In the order of their UTF-8 bytes, which is not that of UTF-16."""


@pytest.fixture
def small(world: World) -> str:
    """An entity with KEYS that holds each key's place as its value."""
    entity = world.fresh()
    for place, key in enumerate(KEYS[1:], 1):
        world.put(entity, key, place)
    return entity


@pytest.fixture
def large(world: World) -> str:
    """An entity whose state is given in several pages."""
    entity = world.fresh()
    world.call(entity, "fill", "k", 700, 100)
    return entity


def number(first: int, last: int) -> list[str]:
    """Returns the keys `fill` makes from `first` to `last`."""
    return [f"k{place:05}" for place in range(first, last + 1)]


def keys_of(rows: list[Any]) -> list[str]:
    """Returns the keys of a scan's rows."""
    return [key for key, _ in rows]


def test_keys_come_in_the_order_of_their_bytes(world: World, small: str) -> None:
    """All keys, and the rows of a scan, are in the order of UTF-8 bytes."""
    assert world.call(small, "keys") == KEYS[1:]
    assert world.call(small, "scan", "") == [[key, KEYS.index(key)] for key in KEYS[1:]]


def test_scan_gives_what_begins_with_its_prefix(world: World, small: str) -> None:
    """Nothing before, nothing behind, also where the prefix is a key or no key begins so."""
    assert world.call(small, "scan", "a/") == [["a/1", 3], ["a/10", 4], ["a/2", 5]]
    assert keys_of(world.call(small, "scan", "a")) == ["a", "a b", "a/1", "a/10", "a/2"]
    assert world.call(small, "scan", "c") == []
    assert keys_of(world.call(small, "scan", "\U0001f600")) == ["\U0001f600"]


def test_scan_goes_on_behind_a_key(world: World, small: str) -> None:
    """`after` leaves out all up to a key, whether that is there or not."""
    assert keys_of(world.call(small, "scan", "a/", "a/1")) == ["a/10", "a/2"]
    assert keys_of(world.call(small, "scan", "a/", "a/11")) == ["a/2"]
    assert world.call(small, "scan", "a/", "b") == []
    assert len(world.call(small, "scan", "a/", "A")) == 3


def test_range_ends_before_its_end(world: World, small: str) -> None:
    """A range begins at its first key and ends before its last; null is no bound."""
    assert keys_of(world.call(small, "range", "a/1", "b")) == ["a/1", "a/10", "a/2"]
    assert keys_of(world.call(small, "range", "b", None)) == KEYS[6:]
    assert keys_of(world.call(small, "range", None, "a/")) == ["a", "a b"]
    assert keys_of(world.call(small, "range", "a", "b", "a/1")) == ["a/10", "a/2"]
    assert world.call(small, "range", "b", "a") == []


def test_pages_are_one_walk(world: World, large: str) -> None:
    """Keys of more than one page come once each, whole and in order."""
    assert world.call(large, "keys") == number(1, 700)
    assert world.call(large, "scan", "k") == [[key, "x" * 100] for key in number(1, 700)]
    assert keys_of(world.call(large, "scan", "k", "k00695")) == number(696, 700)
    assert keys_of(world.call(large, "range", "k00100", "k00400")) == number(100, 399)


def test_walk_that_ends_early(world: World, large: str) -> None:
    """Who stops after some keys has those, also across the end of a page."""
    for count in (0, 1, 127, 128, 129, 256, 300):
        assert keys_of(world.call(large, "scan_some", "k", count)) == number(1, count)


@pytest.mark.parametrize("size", ["small", "large"])
def test_own_changes_are_in_their_places(world: World, size: str) -> None:
    """A scan shows what the same run has put and deleted, at the edges of pages too."""
    for added, removed in (("k00000", "k00001"), ("k00128a", "k00128"), ("k99999", "k00300")):
        entity = world.fresh()
        count = 700 if size == "large" else 10
        world.call(entity, "fill", "k", count, 50)
        expected = sorted({*number(1, count), added} - {removed})
        assert world.call(entity, "scan_own", "k", added, removed) == expected
        assert world.call(entity, "keys") == expected


def test_scanned_values_are_state(world: World) -> None:
    """A scan gives values of every kind whole."""
    entity = world.fresh()
    value = {"a": [1, {"b": None}], "c": "d"}
    for key in ("p/1", "p/2", "q"):
        world.put(entity, key, value)
    assert world.call(entity, "scan", "p/") == [["p/1", value], ["p/2", value]]


def test_scan_that_reads_too_much_still_ends(world: World, large: str) -> None:
    """After a walk over everything the state is as before."""
    before = world.versions(large)
    assert len(world.call(large, "scan", "")) == 700
    assert world.versions(large) == before

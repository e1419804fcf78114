"""The registry: durable, bounded, and whoever listens hears of each change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lithox.errors import BadArguments, NotFound, Overloaded, StoreUnavailable, TooLarge
from lithox.node import registry as registry_module
from lithox.node.registry import Registry
from tests.conformance.store.worlds import ENGINES, World, make_world


class Kept:
    """A registry over one world, and what it told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.told: list[Any] = []
        self.changed: list[str] = []
        self.registry = Registry(world.store, self.changed.append)

    def put(self, key: str, value: Any) -> None:
        self.registry.put(key, value, on_done=self.told.append)

    def delete(self, key: str) -> None:
        self.registry.delete(key, on_done=self.told.append)


@pytest.fixture(params=ENGINES)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    world = make_world(request.param, tmp_path)
    world.open()
    yield Kept(world)
    world.end()


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Kept]:
    world = make_world("memory", tmp_path)
    world.open()
    yield Kept(world)
    world.end()


def test_values_survive_and_changes_are_heard_once_durable(kept: Kept) -> None:
    """A put is seen at once, told and heard when the disk has it, and there after a restart."""
    value = {"program": "web", "args": [1, 2.5, b"\xff", None, True]}
    kept.world.hold()
    kept.put("service/web", value)
    assert kept.registry.get("service/web") == value
    kept.world.go_round()
    assert (kept.told, kept.changed) == ([], [])
    kept.world.release()
    kept.world.settle()
    assert (kept.told, kept.changed) == ([None], ["service/web"])
    again = Registry(kept.world.reopen())
    assert again.get("service/web") == value


def test_a_deleted_key_is_gone_and_heard_of(kept: Kept) -> None:
    """It is not found, cannot be deleted again, and may be put again."""
    kept.put("a", 1)
    kept.delete("a")
    kept.world.settle()
    assert kept.changed == ["a", "a"]
    assert kept.registry.find("a") is None
    with pytest.raises(NotFound, match="no key 'a'"):
        kept.registry.get("a")
    with pytest.raises(NotFound):
        kept.delete("a")
    kept.put("a", 2)
    assert kept.registry.get("a") == 2


def test_a_withdrawn_put_is_told_and_not_heard_of(quick: Kept) -> None:
    """What the disk refused is not there, and nobody is told that it changed."""
    quick.world.hold()
    quick.put("a", 1)
    quick.world.fail()
    quick.world.release()
    quick.world.go_round()
    assert isinstance(quick.told[0], StoreUnavailable)
    assert (quick.changed, quick.registry.find("a")) == ([], None)
    quick.world.mend()


def test_keys_are_listed_by_prefix_and_in_pages(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every key once, in order; an answer ends at its items and at its bytes."""
    for number in range(5):
        kept.put(f"service/{number}", "x" * 100)
    kept.put("z", 1)
    rows, more = kept.registry.list("service/", "", 2)
    assert ([key for key, _ in rows], more) == (["service/0", "service/1"], True)
    rows, more = kept.registry.list("service/", "service/1", 10)
    assert ([key for key, _ in rows], more) == (["service/2", "service/3", "service/4"], False)
    monkeypatch.setattr(registry_module, "LIST_BYTES_MAX", 150)
    rows, more = kept.registry.list()
    assert ([key for key, _ in rows], more) == (["service/0"], True)


@pytest.mark.parametrize("key", ["", "\x00count", "x" * 129, "\ud800", None, 5, b"a"])
def test_odd_keys_are_refused(quick: Kept, key: Any) -> None:
    """A key is a short text that is not the system's own."""
    for work in (
        lambda: quick.put(key, 1),
        lambda: quick.delete(key),
        lambda: quick.registry.get(key),
    ):
        with pytest.raises(BadArguments):
            work()


@pytest.mark.parametrize("value", [None, float("nan"), {1: 2}, object(), 1 << 64, "\ud800"])
def test_values_that_are_not_plain_are_refused(quick: Kept, value: Any) -> None:
    """Plain data only, and no nil, which would read as absent."""
    with pytest.raises(BadArguments):
        quick.put("a", value)
    assert quick.registry.list() == ([], False)


def test_bounds_are_told(quick: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large a value and a key too many are refused; replacing and deleting need no room."""
    with pytest.raises(TooLarge):
        quick.put("a", "x" * registry_module.VALUE_BYTES_MAX)
    quick.put("a", "x" * (registry_module.VALUE_BYTES_MAX - 3))
    monkeypatch.setattr(registry_module, "KEYS_MAX", 2)
    quick.put("b", 1)
    quick.put("b", 2)
    with pytest.raises(Overloaded, match="it may have 2"):
        quick.put("c", 1)
    quick.delete("b")
    quick.put("c", 1)


@pytest.mark.parametrize("limit", [0, 1001, True, "5", None])
def test_a_limit_is_a_number_in_range(quick: Kept, limit: Any) -> None:
    """So are a prefix and a place to go on from texts."""
    with pytest.raises(BadArguments):
        quick.registry.list("", "", limit)
    with pytest.raises(BadArguments):
        quick.registry.list(limit and 5, None)  # type: ignore[arg-type]

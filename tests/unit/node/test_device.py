"""The block device: any place, any length, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithox.dispatch.records import DEVICES_ENTITY
from lithox.errors import BadArguments, StoreCorrupt, StoreUnavailable
from lithox.node.device import BLOCK_BYTES, SIZE_BYTES_MAX, Device
from lithox.store.contract import Commit, Range
from lithox.store.memory import MemoryStore
from tests.conformance.store.worlds import ENGINES, World, make_world


@pytest.fixture(params=ENGINES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = make_world(request.param, tmp_path)
    made.open()
    yield made
    made.end()


def ignore(error: Any) -> None:
    del error


def blocks_of(store: Any) -> list[str]:
    """Returns the keys of the blocks that are kept."""
    snapshot = store.open_snapshot()
    try:
        return [key for key, _ in snapshot.scan(Range(DEVICES_ENTITY, "", None), 10_000).items]
    finally:
        snapshot.release()


def test_a_new_device_is_zeros_and_keeps_nothing(world: World) -> None:
    """Its size is as asked, its bytes are zeros, and none of them is on the disk."""
    device = Device(world.store)
    assert device.size() == 1 << 20
    assert device.read(0, 1 << 20) == bytes(1 << 20)
    assert blocks_of(world.store) == []


def test_writes_survive_a_restart_and_zeros_are_not_kept(world: World) -> None:
    """What was written is there again; a block that becomes zeros again is dropped."""
    told: list[Any] = []
    device = Device(world.store)
    device.write(BLOCK_BYTES - 2, b"abcd", on_done=told.append)
    device.write((1 << 20) - 3, "end", on_done=told.append)
    assert device.read(BLOCK_BYTES - 3, 6) == b"\x00abcd\x00"
    world.settle()
    assert told == [None, None]
    again = Device(world.reopen())
    assert again.read(BLOCK_BYTES - 2, 4) == b"abcd"
    assert again.read((1 << 20) - 3, 3) == b"end"
    assert len(blocks_of(world.store)) == 3
    again.write(BLOCK_BYTES - 2, bytes(4), on_done=ignore)
    assert len(blocks_of(world.store)) == 1


def test_a_withdrawn_write_leaves_the_old_bytes(world: World) -> None:
    """A write over many blocks that the disk refused left none of them changed."""
    told: list[Any] = []
    device = Device(world.store)
    device.write(0, b"o" * 3 * BLOCK_BYTES, on_done=told.append)
    world.settle()
    world.hold()
    device.write(100, b"n" * 2 * BLOCK_BYTES, on_done=told.append)
    world.fail()
    world.release()
    world.wait_until(lambda: len(told) == 2)
    assert isinstance(told[1], StoreUnavailable)
    assert device.read(0, 3 * BLOCK_BYTES) == b"o" * 3 * BLOCK_BYTES


def test_an_empty_write_is_told_too(world: World) -> None:
    """Nothing is written, and whoever waits for it is told so."""
    told: list[Any] = []
    device = Device(world.store)
    device.write(1 << 20, b"", on_done=told.append)
    world.wait_until(lambda: bool(told))
    assert (told, device.read(1 << 20, 0)) == ([None], b"")


def test_devices_of_other_names_are_others(tmp_path: Path) -> None:
    """Two devices share no byte, and one opened smaller hides the rest."""
    world = make_world("memory", tmp_path)
    store = world.open()
    one, other = Device(store, "a", 10_000), Device(store, "b", 10_000)
    one.write(0, b"x" * 10_000, on_done=ignore)
    assert other.read(0, 10_000) == bytes(10_000)
    assert Device(store, "a", 5).read(0, 5) == b"xxxxx"
    world.end()


@pytest.mark.parametrize(
    ("offset", "count"),
    [(-1, 1), (0, -1), (0, 101), (101, 0), (100, 1), (1 << 70, 1), (0.0, 1), (True, 1), ("0", 1)],
)
def test_what_lies_outside_is_refused(tmp_path: Path, offset: Any, count: Any) -> None:
    """A span that is not all inside is the caller's mistake, for reads and for writes."""
    world = make_world("memory", tmp_path)
    device = Device(world.open(), "a", 100)
    with pytest.raises(BadArguments):
        device.read(offset, count)
    if type(count) is int and count >= 0:
        with pytest.raises(BadArguments):
            device.write(offset, b"x" * count, on_done=ignore)
    world.end()


@pytest.mark.parametrize("data", [None, 5, ["x"], "\ud800", bytearray(b"x")])
def test_only_bytes_and_text_are_written(tmp_path: Path, data: Any) -> None:
    """Anything else is refused before anything is written."""
    world = make_world("memory", tmp_path)
    device = Device(world.open())
    with pytest.raises(BadArguments):
        device.write(0, data, on_done=ignore)
    assert blocks_of(world.store) == []
    world.end()


@pytest.mark.parametrize("size", [0, -1, SIZE_BYTES_MAX + 1, 1.5, True])
def test_a_device_has_a_size_in_range(tmp_path: Path, size: Any) -> None:
    """No empty and no boundless device."""
    world = make_world("memory", tmp_path)
    with pytest.raises(BadArguments):
        Device(world.open(), "a", size)
    world.end()


def test_a_block_of_another_size_is_the_stores_damage(tmp_path: Path) -> None:
    """It is told as damage, not given out."""
    world = make_world("memory", tmp_path)
    store = world.open()
    store.submit(Commit(0, writes={(DEVICES_ENTITY, "a/00000000"): b"short"}), ignore)
    device = Device(store, "a")
    with pytest.raises(StoreCorrupt):
        device.read(0, 1)
    with pytest.raises(StoreCorrupt):
        device.write(1, b"x", on_done=ignore)
    world.end()


SIZE = 3 * BLOCK_BYTES + 77
PLACES = st.integers(0, SIZE) | st.sampled_from(
    [number * BLOCK_BYTES + shift for number in range(4) for shift in (-1, 0, 1) if number]
)


@settings(max_examples=60)
@given(writes=st.lists(st.tuples(PLACES, PLACES, st.sampled_from(b"\x00ab")), max_size=12))
def test_a_device_is_an_array_of_bytes(writes: list[tuple[int, int, int]]) -> None:
    """After any writes, any part reads as the same part of a plain array."""
    device = Device(MemoryStore(post=lambda call: None), "a", SIZE)
    model = bytearray(SIZE)
    for one, other, byte in writes:
        start, end = min(one, other), max(one, other)
        model[start:end] = bytes([byte]) * (end - start)
        device.write(start, bytes([byte]) * (end - start), on_done=ignore)
        assert device.read(start, SIZE - start) == bytes(model[start:])
        assert device.read(0, end) == bytes(model[:end])

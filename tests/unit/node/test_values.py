"""Values as bytes on a whole node: one commit writes them, pieces are read, nothing is left."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lithox.dispatch.big_values import big_entity
from lithox.errors import (
    BadArguments,
    Conflict,
    NotFound,
    NotPermitted,
    Overloaded,
    PreconditionFailed,
    TooLarge,
)
from lithox.model.big_values import CHUNK_BYTES, BigValue
from lithox.node import big_values as big_values_module
from lithox.node import deletion as deletion_module
from lithox.node.node import Node
from lithox.security.identities import LOCAL_OPERATOR
from lithox.store.contract import Commit, Range
from lithox.store.snapshot import StableView
from lithox.testing.scripted import ScriptedEngine
from tests.unit.node.test_node import BOB, bundle_of, run

DATA = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(10_000))
A = "counter/a"


def told(data: bytes) -> BigValue:
    return BigValue(size=len(data), digest=hashlib.sha256(data).hexdigest())


async def read(node: Node, key: str = "k") -> bytes:
    return b"".join([piece async for piece in node.read_value(A, key)])


def count_chunks(node: Node, entity: str = A) -> int:
    snapshot = node._store.open_snapshot()
    try:
        return len(snapshot.scan(Range(big_entity(entity), "", None), 100_000).items)
    finally:
        snapshot.release()


def test_a_value_comes_back_in_pieces(tmp_path: Path) -> None:
    """What any source gave is one value; it is read in pieces of a chunk at most."""

    async def slowly() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), 999):
            yield DATA[start : start + 999]

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        for source in (DATA, [DATA[:5], DATA[5:]], slowly()):
            assert await node.write_value(A, "k", source) == told(DATA)
        assert await node.value_info(A, "k") == told(DATA)
        pieces = [piece async for piece in node.read_value(A, "k")]
        assert b"".join(pieces) == DATA
        assert max(map(len, pieces)) <= CHUNK_BYTES
        assert node.admin_get_state(A, "k", LOCAL_OPERATOR) == told(DATA)
        assert node.admin_list_state(A, "", "", 10, LOCAL_OPERATOR)["items"] == {"k": told(DATA)}

    run(tmp_path, body)


def test_text_and_bytes_are_read_as_bytes_too(tmp_path: Path) -> None:
    """A plain text or bytes has size and digest of its bytes; other values have none."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        for value, content in (("é", "é".encode()), (b"\x00\xff", b"\x00\xff"), ("", b"")):
            await node.admin_put_state(A, "k", value, LOCAL_OPERATOR)
            assert await read(node) == content
            assert await node.value_info(A, "k") == told(content)
        await node.admin_put_state(A, "k", {"a": 1}, LOCAL_OPERATOR)
        with pytest.raises(BadArguments, match="neither text nor bytes"):
            await node.value_info(A, "k")
        with pytest.raises(NotFound):
            await node.value_info(A, "absent")

    run(tmp_path, body)


def test_writers_say_what_they_expect(tmp_path: Path) -> None:
    """A digest, anything or nothing: what does not hold is refused and changes nothing."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        with pytest.raises(PreconditionFailed):
            await node.write_value(A, "k", b"1", expected="*")
        await node.write_value(A, "k", b"1", expected="")
        with pytest.raises(PreconditionFailed):
            await node.write_value(A, "k", b"2", expected="")
        with pytest.raises(PreconditionFailed) as caught:
            await node.write_value(A, "k", b"2", expected=told(b"3").digest)
        assert caught.value.fields["digest"] == told(b"1").digest
        await node.write_value(A, "k", b"2", expected=told(b"1").digest)
        await node.write_value(A, "k", b"3", expected="*")
        assert await read(node) == b"3"
        await node.admin_put_state(A, "k", "text", LOCAL_OPERATOR)
        await node.write_value(A, "k", b"4", expected=told(b"text").digest)
        with pytest.raises(BadArguments, match="64 digits"):
            await node.write_value(A, "k", b"5", expected="abc")

    run(tmp_path, body)


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Half a value is no value, and what it held is given back."""

    async def broken() -> AsyncIterator[bytes]:
        yield DATA
        raise ConnectionResetError

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        with pytest.raises(ConnectionResetError):
            await node.write_value(A, "k", broken())
        assert count_chunks(node) == 0
        assert node._big_values._held_bytes == 0
        assert node.list_entities("", "", 10, LOCAL_OPERATOR)["entities"] == []

    run(tmp_path, body)


def test_bounds_of_one_value_and_of_all(tmp_path: Path) -> None:
    """A value above its bound is refused, and so are more at once than the node may hold."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        node._big_values.value_bytes_max = 1_000
        await node.write_value(A, "k", b"x" * 1_000)
        with pytest.raises(TooLarge, match="at most 1000 bytes"):
            await node.write_value(A, "k", [b"x" * 600, b"x" * 401])
        gate, is_held = asyncio.Event(), asyncio.Event()

        async def waiting() -> AsyncIterator[bytes]:
            yield b"x" * 600
            is_held.set()
            await gate.wait()

        first = asyncio.ensure_future(node.write_value(A, "one", waiting()))
        await is_held.wait()
        with pytest.raises(Overloaded):
            await node.write_value(A, "two", b"x" * 500)
        gate.set()
        await first
        await node.write_value(A, "two", b"x" * 500)
        assert node._big_values._held_bytes == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(big_values_module, "HELD_BYTES_MAX", 1_000)
        run(tmp_path, body)


def test_rights_are_those_of_state(tmp_path: Path) -> None:
    """Who may not read or write is refused before anything of the source is taken."""

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        await node.write_value(A, "k", b"x")
        with pytest.raises(NotPermitted):
            await node.write_value(A, "k", never(), caller=BOB)
        with pytest.raises(NotPermitted):
            node.read_value(A, "k", caller=BOB)
        with pytest.raises(NotFound):
            await node.write_value("nowhere/a", "k", never())
        with pytest.raises(NotPermitted):
            await node.write_value("~lithox/b/counter/a", "k", never())

    run(tmp_path, body)


def test_a_reading_goes_on_with_the_value_it_began(tmp_path: Path) -> None:
    """A value that is replaced while it is read is read to its end as it was."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        await node.write_value(A, "k", DATA)
        pieces = node.read_value(A, "k")
        first = await anext(pieces)
        await node.write_value(A, "k", DATA[::-1])
        assert first + b"".join([piece async for piece in pieces]) == DATA
        assert await read(node) == DATA[::-1]

    run(tmp_path, body)


def test_a_reading_too_old_for_the_store_goes_on_only_with_the_same_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where history is gone, the same bytes are read on from a new view, others are a conflict."""
    real = StableView.find
    too_old: set[int] = set()

    def find(self: StableView, entity: str, key: str) -> Any:
        if id(self) in too_old and entity == big_entity(A):
            raise Conflict("too old")
        return real(self, entity, key)

    opened: list[StableView] = []

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        await node.write_value(A, "k", DATA)
        opening = node._store.open_snapshot

        def watch() -> Any:
            opened.append(opening())  # type: ignore[arg-type]
            return opened[-1]

        monkeypatch.setattr(node._store, "open_snapshot", watch)
        pieces = node.read_value(A, "k")
        first = await anext(pieces)
        too_old.add(id(opened[-1]))
        assert first + b"".join([piece async for piece in pieces]) == DATA
        pieces = node.read_value(A, "k")
        await anext(pieces)
        await node.write_value(A, "k", DATA[::-1])
        too_old.update(map(id, opened))
        with pytest.raises(Conflict, match="changed while it was read"):
            await anext(pieces)
        assert not any(view._is_open for view in opened)

    monkeypatch.setattr(StableView, "find", find)
    run(tmp_path, body)


def test_plain_writes_and_deletions_take_the_chunks_along(tmp_path: Path) -> None:
    """An administrator's write, too, leaves no chunk behind."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        await node.write_value(A, "k", DATA)
        assert count_chunks(node) == len(DATA) // CHUNK_BYTES + 1
        await node.admin_put_state(A, "k", 1, LOCAL_OPERATOR)
        assert count_chunks(node) == 0
        await node.write_value(A, "k", DATA)
        await node.admin_delete_state(A, "k", LOCAL_OPERATOR)
        assert count_chunks(node) == 0

    run(tmp_path, body)


def test_deleting_an_entity_takes_each_value_with_its_chunks(tmp_path: Path) -> None:
    """Between the commits of a deletion every manifest that is left has its chunks."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        for number in range(5):
            await node.write_value(A, f"k{number}", DATA)
            await node.admin_put_state(A, f"p{number}", number, LOCAL_OPERATOR)
        sizes: list[int] = []
        submit = node._store.submit

        def watch(commit: Commit, on_done: Any) -> int | None:
            sizes.append(len(commit.writes))
            for place, key in commit.writes:
                if place == A and key.startswith("k"):
                    chunks = [cell for cell in commit.writes if cell[0] == big_entity(A)]
                    assert len(chunks) % (len(DATA) // CHUNK_BYTES + 1) == 0
            return submit(commit, on_done)

        node._store.submit = watch  # type: ignore[method-assign]
        await node.admin_delete(A, LOCAL_OPERATOR)
        assert count_chunks(node) == 0
        assert max(sizes) <= 10 + len(DATA) // CHUNK_BYTES + 2
        assert len(sizes) > 2
        assert node.list_entities("", "", 10, LOCAL_OPERATOR)["entities"] == []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deletion_module, "DELETE_CELLS_MAX", 10)
        run(tmp_path, body)


def test_listings_take_a_range_of_keys(tmp_path: Path) -> None:
    """Prefix, range and place to go on from narrow a listing together."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        for name in ("a1", "a2", "a3", "b1", "b2", "é"):
            await node.admin_put_state(A, name, 1, LOCAL_OPERATOR)

        def names(prefix: str = "", after: str = "", **within: Any) -> list[str]:
            page = node.admin_list_state(A, prefix, after, 100, LOCAL_OPERATOR, **within)
            return list(page["items"])

        assert names(start="a2", end="b2") == ["a2", "a3", "b1"]
        assert names("a", start="a2") == ["a2", "a3"]
        assert names("a", start="a2", end="a3") == ["a2"]
        assert names("", "a3", start="a1", end="b2") == ["b1"]
        assert names("a", start="b") == names(start="b", end="a") == names(end="") == []
        assert names(start="b2") == ["b2", "é"]

    run(tmp_path, body)

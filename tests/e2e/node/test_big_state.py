"""An entity of 100,000 keys: its runs and its administration read what they need, and no more."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.dispatch.records import ENTITY_KEY, EntityRecord, encode_record
from lithox.model.values import encode_value
from lithox.node.deletion import DELETE_CELLS_MAX
from lithox.node.node import Node
from lithox.node.pages import COUNTED_MAX
from lithox.security.identities import LOCAL_OPERATOR
from lithox.store.contract import Cell, Commit
from lithox.store.embedded.reader import DurableReader

pytestmark = pytest.mark.e2e

KEYS = 100_000
KEYS_A_COMMIT = 10_000
E = "big/one"
LUA = """
local big = {}
function big.get(self, key) return self.state[key] end
function big.put(self, key, value) self.state[key] = value end
function big.page(self, prefix, after, count)
  local keys = lithox.list{}
  for key in self:scan(prefix, after) do
    keys[#keys + 1] = key
    if #keys == count then break end
  end
  return keys
end
function big.sum(self, from, to)
  local sum, count = 0, 0
  for _, value in self:range(from, to) do sum, count = sum + value, count + 1 end
  return {sum, count}
end
function big.page_and_put(self, after, count, key)
  big.page(self, "k", after, count)
  self.state[key] = 0
end
return big
"""
MANIFEST = '[[template]]\nmatch = "big/*"\nlanguage = "lua"\nsource = "big.lua"\n'


class Reads:
    """How many rows the store's reader has given since it was asked last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._rows = 0
        for name in ("find_item", "load_items", "scan_items"):
            monkeypatch.setattr(DurableReader, name, self._counting(getattr(DurableReader, name)))

    def _counting(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def counted(reader: DurableReader, *args: Any) -> Any:
            found = read(reader, *args)
            # A load in vain has looked at up to its bound, all of it in vain.
            rows = getattr(found, "items", found)
            self._rows += len(rows) if isinstance(rows, list) else 1
            return found

        return counted

    def take(self) -> int:
        rows, self._rows = self._rows, 0
        return rows


async def fill(node: Node) -> None:
    """Makes the entity through the store's own contract."""
    store = node._store
    record = EntityRecord(owner="operator", template="big/*", created_ms=1)
    writes: dict[Cell, bytes | None] = {(E, ENTITY_KEY): encode_record(record)}
    for number in range(KEYS):
        writes[E, f"k{number:06}"] = encode_value(number)
        if len(writes) >= KEYS_A_COMMIT or number == KEYS - 1:
            done = asyncio.get_running_loop().create_future()
            store.submit(Commit(store.visible_version, (), (), writes), done.set_result)
            writes = {}
            await done


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the entity in it."""
    folder = tmp_path_factory.mktemp("big")
    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "big.lua").write_text(LUA)
    (bundle / "lithox.toml").write_text(MANIFEST)

    async def make() -> None:
        async with lithox.Node(folder / "data") as node:
            await node.deploy(bundle)
            await fill(node)

    asyncio.run(make())
    return folder / "data"


def run(data: Path, body: Callable[[Node], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with lithox.Node(data) as node:
            await body(node)

    asyncio.run(whole())


def test_runs_read_what_they_use(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run after a start reads a few rows; the same again reads none at all."""
    reads = Reads(monkeypatch)

    async def body(node: Node) -> None:
        reads.take()
        assert await node.call(E, "get", "k050000") == 50_000
        assert reads.take() < 10
        await node.call(E, "get", "k050000")
        reads.take()
        for _ in range(5):
            assert await node.call(E, "get", "k050000") == 50_000
            await node.call(E, "put", "k050000", 50_000)
        assert reads.take() == 0
        assert node._store.statistics()["cache_bytes"] < 100_000

    run(data, body)


def test_scans_read_the_pages_they_show(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page from the middle costs a page; a range costs its keys."""
    reads = Reads(monkeypatch)

    async def body(node: Node) -> None:
        await node.call(E, "get", "k050000")
        reads.take()
        found = await node.call(E, "page", "k", "k049999", 50)
        assert found == [f"k{number:06}" for number in range(50_000, 50_050)]
        assert reads.take() < 150
        assert await node.call(E, "sum", "k000100", "k001100") == [
            sum(range(100, 1_100)),
            1_000,
        ]
        assert reads.take() < 1_150
        assert await node.call(E, "sum", "k099990", None) == [sum(range(99_990, 100_000)), 10]
        assert await node.call(E, "sum", "x", None) == [0, 0]
        assert reads.take() < 20

    run(data, body)


def test_a_page_conflicts_with_what_it_showed_only(data: Path, tmp_path: Path) -> None:
    """A scan that ends early is not made again for a write behind its page, but for one in it."""

    async def body(node: Node) -> None:
        attempts: list[int] = []
        for key in ("k090000", "k050010"):
            seen: list[Any] = []
            submit = node._store.submit

            def watch(commit: Commit, on_done: Any, key: str = key, seen: Any = seen) -> Any:
                own = (E, "written") in commit.writes
                if own and not seen:
                    seen.append(commit)
                    other = Commit(node._store.visible_version, (), (), {(E, key): b"\x00"})
                    assert submit(other, lambda _: None) is not None  # noqa: B023
                return submit(commit, on_done)  # noqa: B023

            node._store.submit = watch  # type: ignore[method-assign]
            before = node.dispatcher.counters.conflicts
            await node.call(E, "page_and_put", "k050000", 50, "written")
            attempts.append(node.dispatcher.counters.conflicts - before)
            node._store.submit = submit  # type: ignore[method-assign]
        assert attempts == [0, 1]

    # Others count the keys of `data`: what is written here goes into a copy.
    run(Path(shutil.copytree(data, tmp_path / "data")), body)


def test_administration_goes_page_by_page(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing and deleting look at pages; nothing of the entity is left, and little was held."""
    reads = Reads(monkeypatch)

    async def body(node: Node) -> None:
        reads.take()
        page = node.admin_list_state(E, "k05", "k050100", 100, LOCAL_OPERATOR)
        assert next(iter(page["items"])) == "k050101"
        assert reads.take() < 110
        page = node.admin_list_state(E, "", "", 100, LOCAL_OPERATOR, start="k000010", end="k000020")
        assert len(page["items"]) == 10
        assert reads.take() < 20
        await node.admin_delete(E, LOCAL_OPERATOR)
        assert reads.take() < KEYS * 1.02
        assert node.list_entities("big/", "", 10, LOCAL_OPERATOR)["entities"] == []
        assert node._store.statistics()["cache_bytes"] < 1_000_000

    run(Path(shutil.copytree(data, tmp_path / "data")), body)


def test_others_are_served_while_a_big_entity_is_counted_and_deleted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No turn of the loop reads more than two pages; runs of the entity go on in between."""
    reads = Reads(monkeypatch)

    async def most_in_a_turn(act: Awaitable[Any]) -> tuple[int, int, Any]:
        """Returns the rows of the dearest turn, the turns, and what `act` gave."""
        done = asyncio.ensure_future(act)
        most = turns = 0
        reads.take()
        while not done.done():
            await asyncio.sleep(0)
            most, turns = max(most, reads.take()), turns + 1
        return most, turns, await done

    async def body(node: Node) -> None:
        most, turns, shown = await most_in_a_turn(node.admin_show(E, LOCAL_OPERATOR))
        assert shown["keys"] >= KEYS
        assert shown["bytes"] > KEYS * len("k000000")
        assert most < COUNTED_MAX * 1.1
        assert turns >= KEYS / COUNTED_MAX
        call = asyncio.ensure_future(node.call(E, "get", f"k{KEYS - 1:06}"))
        deletion = asyncio.ensure_future(node.admin_delete(E, LOCAL_OPERATOR))
        most, _, value = await most_in_a_turn(call)
        assert (value, deletion.done()) == (KEYS - 1, False)
        assert most < DELETE_CELLS_MAX * 2.2
        assert (await most_in_a_turn(deletion))[0] < DELETE_CELLS_MAX * 2.2

    run(Path(shutil.copytree(data, tmp_path / "data")), body)

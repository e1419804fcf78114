"""Modules that nothing names any more: kept a while, then removed, never one that is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import lithox
from lithox.dispatch.module_cells import module_entity
from lithox.dispatch.records import MODULES_ENTITY
from lithox.node import module_garbage
from lithox.node.module_garbage import (
    REMOVED_MAX,
    RETIRED_AGE_MS,
    ModuleGarbage,
    Retired,
    choose,
    read_retired,
)
from lithox.node.node import Node
from lithox.security.identities import LOCAL_OPERATOR
from lithox.store.contract import Range
from lithox.testing.clock import FakeClock
from tests.unit.node.test_deploying import SlowEngine, large
from tests.unit.node.test_node import COUNTER

OLD = b"\x01"
NEW = b"\x02"
SIZE = 2 << 20


@pytest.fixture(autouse=True)
def _keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_garbage, "RETIRED_MAX", 0)


def run(tmp_path: Path, body: Callable[[Node, SlowEngine, FakeClock], Awaitable[None]]) -> None:
    async def main() -> None:
        engine, clock = SlowEngine(), FakeClock(monotonic_ns=1, wall_ns=10**18)
        engine.publish("counter", COUNTER)
        node = Node(tmp_path / "data", engines={"wasm": engine}, clock=clock)
        async with node:
            await body(node, engine, clock)

    asyncio.run(main())


async def deploy(node: Node, filling: bytes, extra: str = "") -> str:
    bundle = large(size=SIZE, filling=filling)
    bundle = type(bundle)(manifest=bundle.manifest + extra, files=bundle.files)
    digest = (await node.deploy(bundle)).modules["counter.wasm"]
    # What goes on behind a deploy looks at the clock once, maybe after the test has moved it.
    assert node._deploys._collecting is not None
    await node._deploys._collecting
    return digest


def garbage(node: Node, clock: FakeClock) -> ModuleGarbage:
    """A collector beside the node's own, whose end can be waited for."""
    return ModuleGarbage(
        store=node._store, workers=node._workers, wall_ms=lambda: clock.wall_ns() // 1_000_000
    )


def kept(node: Node) -> dict[str, int]:
    """Digest -> chunks of the modules in the store."""
    snapshot = node._store.open_snapshot()
    try:
        page = snapshot.scan(Range(MODULES_ENTITY, "", None), 1_000).items
        digests = [key for key, _ in page if len(key) == 64]
        return {
            one: len(snapshot.scan(Range(module_entity(one), "", None), 1_000).items)
            for one in digests
        }
    finally:
        snapshot.release()


def retired(node: Node) -> list[str]:
    snapshot = node._store.open_snapshot()
    try:
        return [row.digest for row in read_retired(snapshot)]
    finally:
        snapshot.release()


async def age(clock: FakeClock) -> None:
    clock.advance((RETIRED_AGE_MS + 1) * 1_000_000)


def test_a_module_nobody_names_goes_with_all_its_chunks(tmp_path: Path) -> None:
    """Not before its time; then record, row and chunks, in one commit."""

    async def body(node: Node, _engine: SlowEngine, clock: FakeClock) -> None:
        old = await deploy(node, OLD)
        assert retired(node) == []
        new = await deploy(node, NEW)
        assert retired(node) == [old]
        assert await garbage(node, clock).collect() == 0
        assert kept(node) == {old: SIZE >> 16, new: SIZE >> 16}
        await age(clock)
        assert await garbage(node, clock).collect() == 1
        assert kept(node) == {new: SIZE >> 16}
        assert retired(node) == []
        snapshot = node._store.open_snapshot()
        assert snapshot.scan(Range(module_entity(old), "", None), 10).items == []
        snapshot.release()
        assert await node.call("big/a", "increment") == 1

    run(tmp_path, body)


def test_the_next_deploy_removes_it(tmp_path: Path) -> None:
    """Nobody has to ask: what is too much goes behind a deploy."""

    async def body(node: Node, _engine: SlowEngine, clock: FakeClock) -> None:
        old = await deploy(node, OLD)
        await deploy(node, NEW)
        await age(clock)
        await node.deploy(large("other/*", 200))
        assert node._deploys._collecting is not None
        await node._deploys._collecting
        assert old not in kept(node)

    run(tmp_path, body)


@pytest.mark.parametrize("how", ["pin", "override"])
def test_a_module_an_entity_names_stays(tmp_path: Path, how: str) -> None:
    """Pinned entities and overrides of handlers keep their code, however old it is."""

    async def body(node: Node, _engine: SlowEngine, clock: FakeClock) -> None:
        old = await deploy(node, OLD, "pin = true\n" if how == "pin" else "")
        assert await node.call("big/a", "increment") == 1
        if how == "override":
            await node.admin_put_handlers("big/a", {"increment": {"module": old}}, LOCAL_OPERATOR)
        await deploy(node, NEW)
        await age(clock)
        assert await garbage(node, clock).collect() == 0
        assert old in kept(node)
        assert retired(node) == [old]
        assert await garbage(node, clock).collect() == 0
        assert await node.call("big/a", "increment") == 2

    run(tmp_path, body)


def test_a_module_deployed_again_is_not_garbage(tmp_path: Path) -> None:
    """A template that names a retired module takes it back."""

    async def body(node: Node, _engine: SlowEngine, clock: FakeClock) -> None:
        old = await deploy(node, OLD)
        new = await deploy(node, NEW)
        assert await deploy(node, OLD) == old
        assert retired(node) == [new]
        await age(clock)
        assert await garbage(node, clock).collect() == 1
        assert kept(node) == {old: SIZE >> 16}

    run(tmp_path, body)


@pytest.mark.parametrize("how", ["deploy", "override"])
def test_who_names_a_module_while_it_is_being_removed_wins(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the entities and the removal somebody names it: it stays."""

    async def body(node: Node, _engine: SlowEngine, clock: FakeClock) -> None:
        old = await deploy(node, OLD)
        await deploy(node, NEW)
        await node.call("big/a", "increment")
        await age(clock)
        one = garbage(node, clock)
        settle = one._settle

        async def late(row: Retired, *, is_pinned: bool) -> bool:
            monkeypatch.undo()
            if how == "deploy":
                await deploy(node, OLD)
            else:
                said = {"increment": {"module": old}}
                await node.admin_put_handlers("big/a", said, LOCAL_OPERATOR)
            return await settle(row, is_pinned=is_pinned)

        monkeypatch.setattr(one, "_settle", late)
        assert await one.collect() == 0
        assert old in kept(node)

    run(tmp_path, body)


def test_an_override_of_a_module_that_went_is_refused(tmp_path: Path) -> None:
    """What is gone is gone: naming it says so."""

    async def body(node: Node, _engine: SlowEngine, clock: FakeClock) -> None:
        old = await deploy(node, OLD)
        await deploy(node, NEW)
        await node.call("big/a", "increment")
        await age(clock)
        await garbage(node, clock).collect()
        with pytest.raises(lithox.NotFound, match=f"no module with digest {old}"):
            await node.admin_put_handlers("big/a", {"increment": {"module": old}}, LOCAL_OPERATOR)

    run(tmp_path, body)


def test_which_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest, until both bounds hold; none that is young; not too many at once."""
    monkeypatch.setattr(module_garbage, "RETIRED_MAX", 3)
    monkeypatch.setattr(module_garbage, "RETIRED_BYTES_MAX", 100)
    now_ms = RETIRED_AGE_MS * 10
    rows = [Retired(str(number), number, 10) for number in range(5)]
    assert choose(rows, now_ms) == rows[:2]
    assert choose(rows[:3], now_ms) == []
    assert choose([row._replace(size_bytes=60) for row in rows[:3]], now_ms) == [
        row._replace(size_bytes=60) for row in rows[:2]
    ]
    assert choose([row._replace(at_ms=now_ms) for row in rows], now_ms) == []
    many = [Retired(str(number), number, 1) for number in range(300)]
    assert len(choose(many, now_ms)) == REMOVED_MAX

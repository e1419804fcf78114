"""Deploys beside the loop: large modules, slow compilers, checks, and what is left of failures."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.dispatch.module_cells import CHUNK_BYTES, module_entity
from lithox.model import bundles
from lithox.model.big_values import CHUNK_BYTES as OF_VALUES
from lithox.model.limits import Limits
from lithox.modules import bundle as bundle_module
from lithox.modules.bundle import Bundle, read_bundle
from lithox.node import deploying
from lithox.node.config import NodeConfig
from lithox.node.moving_stores import SqlitePlace, migrate, restore
from lithox.node.node import Node
from lithox.sandbox.contract import Program, Source
from lithox.security.identities import LOCAL_OPERATOR
from lithox.store.contract import Range
from lithox.testing.scripted import ScriptedEngine
from tests.unit.node.test_administration import acts
from tests.unit.node.test_node import ALICE, COUNTER, bundle_of

LARGE_BYTES = (3 << 20) + 12_345


class SlowEngine(ScriptedEngine):
    """Modules may have anything behind a NUL; `prepare` waits while the gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.prepared: list[Source] = []
        self.loaded: list[Source] = []
        self.threads: set[int] = set()

    def prepare(self, source: Source) -> None:
        self.threads.add(threading.get_ident())
        self.prepared.append(source)
        self.begun.set()
        assert self.gate.wait(60)
        if b"broken" in source.text[:100]:
            raise lithox.CompileFailed("a byte is wrong", file=source.name, line=1, column=2)

    def load(self, source: Source, limits: Limits) -> Program:
        self.loaded.append(source)
        text = source.text.split(b"\0", 1)[0]
        return super().load(dataclasses.replace(source, text=text), limits)


def run(
    tmp_path: Path,
    body: Callable[[Node, SlowEngine], Awaitable[None]],
    *,
    config: NodeConfig | None = None,
) -> None:
    async def main() -> None:
        engine = SlowEngine()
        engine.publish("counter", COUNTER)
        engines = {"lua": ScriptedEngine(), "wasm": engine}
        async with Node(tmp_path / "data", engines=engines, config=config) as node:
            await body(node, engine)

    asyncio.run(main())


def large(match: str = "big/*", size: int = LARGE_BYTES, filling: bytes = b"\xa5") -> Bundle:
    """A template whose module is a scripted one with `size` bytes in all."""
    text = ScriptedEngine().publish("counter", COUNTER).text + b"\0"
    manifest = f'[[template]]\nmatch = "{match}"\nlanguage = "wasm"\nsource = "counter.wasm"\n'
    return Bundle(manifest=manifest, files={"counter.wasm": text.ljust(size, filling)})


async def begun(engine: SlowEngine) -> None:
    """Returns when `prepare` has been entered."""
    await asyncio.to_thread(engine.begun.wait, 60)
    engine.begun.clear()


def test_the_loop_serves_others_while_a_module_compiles(tmp_path: Path) -> None:
    """Calls are answered, and the deploy is served, once its compiler is done."""

    async def body(node: Node, engine: SlowEngine) -> None:
        lua: Any = node._engines["lua"]
        await node.deploy(bundle_of(lua))
        engine.gate.clear()
        task = asyncio.ensure_future(node.deploy(large()))
        await begun(engine)
        assert await node.call("counter/a", "increment") == 1
        with pytest.raises(lithox.NotFound):
            await node.call("big/a", "increment")
        assert not task.done()
        engine.gate.set()
        assert (await task).templates == ["big/*"]
        assert await node.call("big/a", "increment", 2) == 2
        assert engine.threads.isdisjoint({threading.get_ident()})

    run(tmp_path, body)


def test_deploys_go_one_after_the_other_and_few_wait(tmp_path: Path) -> None:
    """The second compiles after the first; one more than may wait is refused."""

    async def body(node: Node, engine: SlowEngine) -> None:
        engine.gate.clear()
        tasks = [
            asyncio.ensure_future(node.deploy(large(f"b{number}/*", 100 + number)))
            for number in range(deploying.WAITING_MAX)
        ]
        await begun(engine)
        with pytest.raises(lithox.Overloaded, match="deploys are being done"):
            await node.deploy(large())
        assert len(engine.prepared) == 1
        engine.gate.set()
        await asyncio.gather(*tasks)
        assert [len(one.text) for one in engine.prepared] == [100, 101, 102, 103]
        await node.deploy(large())

    run(tmp_path, body)


def test_a_large_module_is_there_after_a_restart(tmp_path: Path) -> None:
    """It is stored whole with its deploy, and the first call after a restart finds all of it."""
    bundle = large()

    async def first(node: Node, engine: SlowEngine) -> None:
        report = await node.deploy(bundle)
        assert report.handlers == {"big/*": ["increment", "spin"]}
        assert await node.call("big/a", "increment") == 1
        assert len(engine.loaded) == 1

    async def second(node: Node, engine: SlowEngine) -> None:
        assert node.admin_get_handlers("big/a", LOCAL_OPERATOR).keys() == {"increment", "spin"}
        assert engine.prepared == []
        calls = [node.call(f"big/{number}", "increment") for number in range(20)]
        assert sorted(await asyncio.gather(*calls)) == [1] * 20
        assert (len(engine.prepared), len(engine.loaded)) == (1, 1)
        assert engine.loaded[0].text == bundle.files["counter.wasm"]
        assert engine.threads.isdisjoint({threading.get_ident()})

    run(tmp_path, first)
    run(tmp_path, second)


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    """A second deploy of the same module writes its template and no chunk."""

    async def body(node: Node, _engine: SlowEngine) -> None:
        digest = (await node.deploy(large())).modules["counter.wasm"]
        before = node._store.visible_version

        def versions() -> set[int]:
            snapshot = node._store.open_snapshot()
            try:
                area = Range(module_entity(digest), "", None)
                return {item.version for _, item in snapshot.scan(area, 1_000).items}
            finally:
                snapshot.release()

        assert len(versions()) == 1
        await node.deploy(large("other/*"))
        assert versions() <= set(range(before + 1))
        assert await node.call("other/a", "increment") == 1

    run(tmp_path, body)


def test_a_large_module_goes_through_backups(tmp_path: Path) -> None:
    """What a backup or a copy of the store holds serves it as the store it was made from."""

    async def first(node: Node, _engine: SlowEngine) -> None:
        await node.deploy(large())
        assert await node.call("big/a", "increment") == 1
        archive = [chunk async for chunk in node.backup(caller=LOCAL_OPERATOR)]
        restore(archive, SqlitePlace(tmp_path / "restored" / "data"))

    async def again(node: Node, engine: SlowEngine) -> None:
        assert await node.call("big/a", "increment") == 2
        assert engine.loaded[0].text == large().files["counter.wasm"]

    run(tmp_path, first)
    migrate(SqlitePlace(tmp_path / "data"), SqlitePlace(tmp_path / "copied" / "data"))
    for name in ("restored", "copied"):
        run(tmp_path / name, again)


@pytest.mark.parametrize("has_large", [False, True])
def test_a_check_stores_nothing(tmp_path: Path, has_large: bool) -> None:
    """It compiles, reports what a deploy would, and leaves the store as it was."""

    async def body(node: Node, engine: SlowEngine) -> None:
        bundle = large() if has_large else large(size=100)
        before = (node._store.visible_version, acts(node, 10))
        checked = await node.deploy(bundle, check=True)
        assert len(engine.prepared) == 1
        assert (node._store.visible_version, acts(node, 10)) == before
        assert node.dispatcher.catalog.templates == []
        with pytest.raises(lithox.NotFound):
            await node.call("big/a", "increment")
        assert (await node.deploy(bundle)).to_json() == checked.to_json()

    run(tmp_path, body)


def test_a_check_takes_the_right_to_deploy(tmp_path: Path) -> None:
    """Who may not deploy may not make the node compile either, and is on record."""

    async def body(node: Node, engine: SlowEngine) -> None:
        for check in (False, True):
            with pytest.raises(lithox.NotPermitted):
                await node.deploy(large(), ALICE, check=check)
        assert engine.prepared == []
        assert acts(node, 2) == [("alice", "deploy", "request.not_permitted")] * 2

    run(tmp_path, body)


@pytest.mark.parametrize("check", [False, True])
def test_a_compile_error_keeps_its_fields_and_leaves_nothing(tmp_path: Path, check: bool) -> None:
    """File, line and column arrive; templates before the broken one are not published."""

    async def body(node: Node, _engine: SlowEngine) -> None:
        good = large("good/*", 100)
        bad = Bundle(
            manifest=good.manifest
            + '[[template]]\nmatch = "bad/*"\nlanguage = "wasm"\nsource = "bad.wasm"\n',
            files={**good.files, "bad.wasm": b"broken"},
        )
        with pytest.raises(lithox.CompileFailed) as caught:
            await node.deploy(bad, check=check)
        assert caught.value.fields == {"file": "bad.wasm", "line": 1, "column": 2}
        assert node.dispatcher.catalog.templates == []

    run(tmp_path, body)


def test_a_deploy_that_is_cancelled_while_it_compiles_does_nothing(tmp_path: Path) -> None:
    """Its turn is given back, and nothing of it is published later."""

    async def body(node: Node, engine: SlowEngine) -> None:
        engine.gate.clear()
        task = asyncio.ensure_future(node.deploy(large()))
        await begun(engine)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        engine.gate.set()
        await node.deploy(large("other/*", 100))
        assert [one.match for one in node.dispatcher.catalog.templates] == ["other/*"]

    run(tmp_path, body)


def test_a_node_closes_while_a_module_compiles(tmp_path: Path) -> None:
    """Closing waits for no compiler, and tells the run that waits for one."""

    async def main() -> None:
        engine = SlowEngine()
        engine.publish("counter", COUNTER)
        async with Node(tmp_path / "data", engines={"wasm": engine}) as node:
            await node.deploy(large())
        engine._programs.clear()
        engine.gate.clear()
        engine.begun.clear()
        node = Node(tmp_path / "data", engines={"wasm": engine})
        await node.open()
        call = asyncio.ensure_future(node.call("big/a", "increment"))
        await begun(engine)
        node.dispatcher.end_all()
        with pytest.raises(lithox.LithoxError):
            await call
        await node.close()
        engine.gate.set()

    asyncio.run(main())


def test_bounds_depend_on_the_language(tmp_path: Path) -> None:
    """Text has 1 MiB, WebAssembly 64, whatever else the bundle names under the same file."""
    manifest = '[[template]]\nmatch = "a"\nlanguage = "{}"\nsource = "s"\n'
    over = bytes(bundle_module.SOURCE_BYTES_MAX + 1)
    Bundle(manifest=manifest.format("wasm"), files={"s": over}).parse()
    for language in ("lua", "python", "javascript"):
        with pytest.raises(lithox.TooLarge, match="a source has at most 1048576"):
            Bundle(manifest=manifest.format(language), files={"s": over}).parse()
    (tmp_path / "s").write_bytes(over)
    for language, size in (("lua", len(over)), ("wasm", len(over))):
        (tmp_path / "lithox.toml").write_text(manifest.format(language))
        assert len(read_bundle(tmp_path).files["s"]) == size


def test_a_wasm_module_and_a_bundle_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte above either is refused by name."""
    monkeypatch.setattr(bundle_module, "WASM_BYTES_MAX", 1_000)
    monkeypatch.setattr(bundle_module, "BUNDLE_BYTES_MAX", 1_500)
    one = '[[template]]\nmatch = "{0}"\nlanguage = "wasm"\nsource = "{0}"\n'
    with pytest.raises(lithox.TooLarge, match="a: 1001 bytes; a WebAssembly module has at most"):
        Bundle(manifest=one.format("a"), files={"a": bytes(1_001)}).parse()
    two = one.format("a") + one.format("b")
    Bundle(manifest=two, files={"a": bytes(1_000), "b": bytes(500)}).parse()
    with pytest.raises(lithox.TooLarge, match="the bundle has 1501 bytes"):
        Bundle(manifest=two, files={"a": bytes(1_000), "b": bytes(501)}).parse()
    assert bundles.BUNDLE_BYTES_MAX >= bundles.WASM_BYTES_MAX + bundles.SOURCE_BYTES_MAX


def test_chunks_are_as_large_as_those_of_big_values() -> None:
    """What was measured for those holds for these."""
    assert CHUNK_BYTES == OF_VALUES

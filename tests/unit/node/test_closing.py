"""Opening that fails, closing that is cancelled, closing while runs go on: nothing stays behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.dispatch.dispatcher import Dispatcher
from lithox.errors import ConfigError, StoreUnavailable
from lithox.node import node as node_module
from lithox.node.node import Node
from lithox.testing.scripted import ScriptedEngine
from tests.unit.node.test_node import bundle_of

FOREVER = lithox.Limits(fuel=2_000_000_000)


async def start_spinning(node: Node, engine: ScriptedEngine) -> asyncio.Task[Any]:
    """Returns a call that holds a guest."""
    extra = "limits = {fuel = 2_000_000_000}\n"
    await node.deploy(bundle_of(engine, extra=extra))
    call = asyncio.ensure_future(node.call("counter/a", "spin", limits=FOREVER))
    while not engine.guests_live:  # noqa: ASYNC110 - a few turns of the loop start it
        await asyncio.sleep(0)
    return call


async def opens_again(node: Node) -> None:
    async with Node(node.data, engines={"lua": ScriptedEngine()}) as again:
        assert again.is_ready()


def test_request_that_outlives_every_grace_is_answered_and_its_guest_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When grace is over, `close` frees all guests, answers the rest, gives up the directory."""

    async def no_grace(_dispatcher: Dispatcher, _grace_s: float) -> None:
        return

    monkeypatch.setattr(node_module, "drain", no_grace)

    async def main() -> None:
        engine = ScriptedEngine()
        node = Node(tmp_path / "data", engines={"lua": engine})
        await node.open()
        call = await start_spinning(node, engine)
        await node.close()
        with pytest.raises(StoreUnavailable):
            await call
        assert engine.guests_live == 0
        await opens_again(node)

    asyncio.run(main())


def test_resource_that_cannot_be_closed_keeps_no_other_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory is free and callers are answered although an engine fails to close."""

    class Broken(ScriptedEngine):
        def close(self) -> None:
            raise RuntimeError("no")

    monkeypatch.setattr(node_module, "open_engines", lambda _path: {"lua": Broken()})

    async def main() -> None:
        node = Node(tmp_path / "data")
        await node.open()
        with pytest.raises(RuntimeError):
            await node.close()
        await opens_again(node)

    asyncio.run(main())


def test_failed_open_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the engines cannot be opened, store and directory are free for the next node."""

    def fail(_path: Path) -> None:
        raise ConfigError("no interpreter")

    monkeypatch.setattr(node_module, "open_engines", fail)

    async def main() -> None:
        node = Node(tmp_path / "data")
        with pytest.raises(ConfigError):
            await node.open()
        await opens_again(node)

    asyncio.run(main())


def test_cancelled_close_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops waiting for `close` does not stop it; the next `close` waits for its end."""
    release = asyncio.Event()

    async def wait(_dispatcher: Dispatcher, _grace_s: float) -> None:
        await release.wait()

    monkeypatch.setattr(node_module, "drain", wait)

    async def main() -> None:
        node = Node(tmp_path / "data", engines={"lua": ScriptedEngine()})
        await node.open()
        closing = asyncio.ensure_future(node.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        release.set()
        await node.close()
        await opens_again(node)

    asyncio.run(main())

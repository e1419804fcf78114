"""Whole nodes over one PostgreSQL database."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import psycopg
import pytest

import lithox
from lithox.errors import ConfigError, Conflict
from lithox.modules.digest import digest_of
from lithox.node.config import NodeConfig, read_config
from lithox.testing.postgres_server import ADMIN
from tests.conformance.store.worlds import WAIT_S_MAX, session_server
from tests.unit.node.test_deploying import SlowEngine, large
from tests.unit.node.test_node import COUNTER as COUNTER_MODULE

COUNTER = Path(__file__).resolve().parents[3] / "examples" / "counter"


MODULE_NAME = "counter.lua"


def config_of(schema: str, migrate: str = "apply") -> NodeConfig:
    return NodeConfig(store=session_server().address(), store_schema=schema, store_migrate=migrate)


def drop(schema: str) -> None:
    with psycopg.connect(session_server().address(ADMIN), autocommit=True) as admin:
        admin.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def test_two_nodes_count_together(tmp_path: Path) -> None:
    """Calls of one counter through two nodes are all counted, each answered once."""
    asyncio.run(count_together(tmp_path))


async def count_together(tmp_path: Path) -> None:
    try:
        async with lithox.Node(tmp_path / "one", config=config_of("node_pair")) as first:
            await first.deploy(COUNTER)
        async with (
            lithox.Node(tmp_path / "one", config=config_of("node_pair", "verify")) as one,
            lithox.Node(tmp_path / "two", config=config_of("node_pair", "verify")) as two,
        ):
            answered = 0
            for _ in range(10):
                calls = [node.call("counter/shared", "increment", 1) for node in (one, two) * 4]
                for answer in await asyncio.gather(*calls, return_exceptions=True):
                    assert not isinstance(answer, BaseException) or isinstance(answer, Conflict)
                    answered += not isinstance(answer, BaseException)
            assert answered >= 40
        async with lithox.Node(tmp_path / "one", config=config_of("node_pair", "verify")) as again:
            assert await again.call("counter/shared", "increment", 0) == answered
    finally:
        drop("node_pair")


def test_a_deploy_is_served_by_every_node(tmp_path: Path) -> None:
    """What is deployed on one node is called through another that was open before, and changed."""
    asyncio.run(deploy_beside(tmp_path))


async def deploy_beside(tmp_path: Path) -> None:
    try:
        async with (
            lithox.Node(tmp_path / "one", config=config_of("node_deploy")) as one,
            lithox.Node(tmp_path / "two", config=config_of("node_deploy")) as two,
        ):
            await one.deploy(COUNTER)
            await wait_served(two, COUNTER)
            assert await two.call("counter/x", "increment", 2) == 2
            changed = tmp_path / "changed"
            shutil.copytree(COUNTER, changed)
            module = changed / MODULE_NAME
            module.write_text(module.read_text() + "\n-- changed\n")
            await two.deploy(changed)
            await wait_served(one, changed)
            assert await one.call("counter/x", "increment", 1) == 3
    finally:
        drop("node_deploy")


def test_a_large_module_is_served_by_every_node(tmp_path: Path) -> None:
    """Its chunks go to the server with its deploy, and another node reads them there."""
    asyncio.run(deploy_large(tmp_path))


async def deploy_large(tmp_path: Path) -> None:
    bundle = large()
    engines: list[SlowEngine] = [SlowEngine(), SlowEngine()]
    for engine in engines:
        engine.publish("counter", COUNTER_MODULE)
    one, two = (
        lithox.Node(
            tmp_path / str(number), config=config_of("node_large"), engines={"wasm": engine}
        )
        for number, engine in enumerate(engines)
    )
    try:
        async with one, two:
            digest = (await one.deploy(bundle)).modules["counter.wasm"]
            await wait_digest(two, digest)
            calls = [two.call(f"big/{number}", "increment") for number in range(8)]
            assert await asyncio.gather(*calls) == [1] * 8
            assert [len(engine.prepared) for engine in engines] == [1, 1]
            assert engines[1].loaded[0].text == bundle.files["counter.wasm"]
    finally:
        drop("node_large")


async def wait_served(node: lithox.Node, folder: Path) -> None:
    """Returns once `node` serves the Lua module in `folder`; the node's own timer says when."""
    await wait_digest(node, digest_of("lua", (folder / MODULE_NAME).read_bytes()))


async def wait_digest(node: lithox.Node, digest: str) -> None:
    """Returns once a template of `node` has the module."""
    async with asyncio.timeout(WAIT_S_MAX):
        while digest not in {one.module for one in node.dispatcher.catalog.templates}:  # noqa: ASYNC110
            await asyncio.sleep(0)  # A turn of the loop: nothing tells of an adoption.


def test_missing_schema_stops_the_start(tmp_path: Path) -> None:
    """A node does not make tables unless it is told to."""
    node = lithox.Node(tmp_path, config=config_of("node_absent", "verify"))
    with pytest.raises(ConfigError, match="store_migrate"):
        asyncio.run(node.open())


def test_address_is_read_and_never_shown(tmp_path: Path) -> None:
    """The configuration takes the address, and does not repeat it."""
    path = tmp_path / "node.toml"
    path.write_text('store = "postgresql://me:hunter2@db/x"\nstore_migrate = "apply"\n')
    config = read_config(path)
    assert config.store == "postgresql://me:hunter2@db/x"
    assert "hunter2" not in repr(config)
    path.write_text("store = 5\n")
    with pytest.raises(ConfigError, match="store needs a text"):
        read_config(path)

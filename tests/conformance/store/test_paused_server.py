"""A server that is paused: connections stay and nobody answers; no thread of ours stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import lithox
from lithox.errors import StoreUnavailable
from lithox.node.config import NodeConfig
from lithox.store.contract import Commit
from lithox.testing.postgres_server import ADMIN, PostgresServer
from tests.conformance.store.pairs import NodeStore
from tests.conformance.store.worlds import PostgresWorld
from tests.servers import require_postgres

TURNS = 1_000
LUA = """local m = {}
function m.add(self) self.state.n = (self.state.n or 0) + 1 return self.state.n end
function m.get(self) return self.state.n or 0 end
function m.ask(self, to) return self:call(to, "get") end
return m"""
BUNDLE = """[[template]]
match = "p/*"
language = "lua"
source = "m.lua"
access = ["entity:**"]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    require_postgres()
    with PostgresServer() as made:
        yield made


def test_direct_reads_fail_at_once_while_the_server_is_silent(server: PostgresServer) -> None:
    """One read waits in vain, the next ask nothing; what is cached is read, and all comes back."""
    world = PostgresWorld(server)
    world.options |= {"direct_wait_ms": 100}
    node = NodeStore(world)
    node.write("warm", "1")
    node.write("cold", "1")
    node.store.close()
    node = NodeStore(world)
    assert node.read("warm") == b"1"
    server.pause()
    try:
        before = int(str(node.store.statistics()["reads"]))
        for _ in range(20):
            with pytest.raises(StoreUnavailable):
                node.read("cold")
        assert node.store.statistics()["reads"] == before + 1
        assert node.read("warm") == b"1"
        commit = node.begin(("warm", "k"))
        commit = Commit(commit.snapshot_version, reads=commit.reads, writes={("warm", "k"): b"2"})
        outcome = node.finish(commit)
        ready: list[str] = []
        assert not node.store.prefetch("cold", lambda: ready.append("cold"))
        node.go_round()
        assert ready == []
        assert outcome.errors == []
    finally:
        server.resume()
    node.wait(outcome)
    node.wait_until(lambda: bool(ready))
    assert outcome.is_committed
    node.store.close()
    node = NodeStore(world)
    assert node.read("warm") == b"2"
    assert node.read("cold") == b"1"
    node.store.close()
    world.admin.close()


def test_locked_table_costs_direct_reads_no_connection(server: PostgresServer) -> None:
    """A read that meets a lock ends by the server's word, over a connection that stays."""
    world = PostgresWorld(server)
    world.options |= {"direct_wait_ms": 500}
    node = NodeStore(world)
    with psycopg.connect(server.address(ADMIN)) as holder:
        holder.execute(f"LOCK TABLE {world.schema}.state IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            node.read("a")
    node.store.close()
    world.admin.close()


def test_a_node_goes_on_while_its_server_is_paused(server: PostgresServer, tmp_path: Path) -> None:
    """Cold reads, joined ones too, and writes wait while the loop turns; each is done once."""
    (tmp_path / "m.lua").write_text(LUA)
    (tmp_path / "lithox.toml").write_text(BUNDLE)
    asyncio.run(pause_below(server, tmp_path))


async def pause_below(server: PostgresServer, folder: Path) -> None:
    config = NodeConfig(store=server.address(), store_schema="paused", store_migrate="apply")
    async with lithox.Node(folder / "data", config=config) as node:
        await node.deploy(folder)
        assert await node.call("p/a", "add") == 1
        assert await node.call("p/caller", "get") == 0
        server.pause()
        try:
            calls = [("p/a", "add"), ("p/cold", "get"), ("p/caller", "ask", "p/colder")]
            tasks = [asyncio.ensure_future(node.call(*call)) for call in calls]
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert not any(task.done() for task in tasks)
        finally:
            server.resume()
        assert await asyncio.gather(*tasks) == [2, 0, 0]
        assert await node.call("p/a", "get") == 2

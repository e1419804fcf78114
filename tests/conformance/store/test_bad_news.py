"""What a node on a shared database is told wrongly, or trips over, harms nobody for long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lithox.errors import ConfigError, StoreUnavailable
from lithox.store.postgres import background, connections
from lithox.store.postgres.background import Background
from tests.conformance.store.pairs import NodeStore
from tests.conformance.store.worlds import PostgresWorld, session_server

FORGED_VERSION = 2**62
"""A node that believed it would number its next commit above what a `bigint` holds soon."""


@pytest.fixture
def world() -> Iterator[PostgresWorld]:
    made = PostgresWorld(session_server())
    made.open()
    yield made
    made.end()


def raise_once(failing: Any) -> Any:
    """Returns `failing`, which raises a bug of ours the first time."""
    calls: list[int] = []

    def called(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("a bug")
        return failing(*args)

    return called


def test_forged_notices_are_not_believed(world: PostgresWorld) -> None:
    """A notice with a version out of this world makes a node read anew, and nothing else."""
    node = NodeStore(world)
    node.write("a", "1")
    assert node.read("a") == b"1"
    before = node.store.statistics()
    forged = json.dumps(["aa", [["a", FORGED_VERSION]]])
    world.admin.execute("SELECT pg_notify(%s, %s)", (f"{world.schema}_changes", forged))
    node.wait_until_counted("notices", int(str(before["notices"])) + 1)
    node.wait_until(lambda: node.store.statistics()["foreign_changes"] == 1)
    assert node.read("a") == b"1"
    assert node.store.statistics()["reads"] == int(str(before["reads"])) + 1
    node.write("a", "2")
    row = world.admin.execute(f"SELECT max(last_version) FROM {world.schema}.nodes").fetchone()
    assert row is not None
    assert row[0] < FORGED_VERSION
    another = NodeStore(world)
    assert another.read("a") == b"2"
    another.store.close()
    node.store.close()


def test_a_bug_in_a_check_is_told(world: PostgresWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a confirmation that fails by a bug is told; the next one gets its own."""
    node = NodeStore(world)
    node.write("a", "1")
    failing = raise_once(Background._run_checks)
    monkeypatch.setattr(Background, "_run_checks", failing)
    assert isinstance(node.confirm(node.begin(("a", "k"))), StoreUnavailable)
    assert node.confirm(node.begin(("a", "k"))) is None
    node.store.close()


def test_a_bug_in_a_fetch_is_told(world: PostgresWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one fetch of a pipeline trips over a bug, all are answered, and so are later ones."""
    node = NodeStore(world)
    monkeypatch.setattr(background, "items_of", raise_once(background.items_of))
    ready: list[str] = []
    for name in ("a", "b", "c"):
        assert not node.store.prefetch(name, lambda name=name: ready.append(name))
    node.wait_until(lambda: len(ready) == 3)
    assert not node.store.prefetch("d", lambda: ready.append("d"))
    node.wait_until(lambda: len(ready) == 4)
    assert node.store.prefetch("d", lambda: ready.append("again"))
    node.store.close()


def test_an_old_server_is_refused(world: PostgresWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than what this engine is written for is refused by its name, at opening."""
    monkeypatch.setattr(connections, "SERVER_VERSION_MIN", 990_000)
    with pytest.raises(ConfigError, match=r"the server is PostgreSQL \d+; .* needs 99 or newer"):
        NodeStore(world)

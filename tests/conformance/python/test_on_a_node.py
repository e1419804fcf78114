"""Python handlers on a whole node: neighbours, what `ps` shows, and state that is sent along."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.errors import ConfigError, LimitExceeded, LithoxError
from lithox.model.ids import EntityPath, HandlerName
from lithox.model.limits import Limits
from lithox.model.request import Request
from lithox.modules.bundle import Bundle
from lithox.modules.manifest import parse_manifest
from lithox.security.identities import LOCAL_OPERATOR

MANIFEST = """
[[template]]
match = "t/**"
language = "python"
source = "shop.py"
preload = ["settings", "cart/*", "absent"]
access = ["entity:t/**"]
limits = { fuel = 1_000_000_000, state = "8MiB", wall = "30s", output = "8MiB" }
"""
TEXT = """
def add(self, by=1):
    self.state["count"] = self.state.get("count", 0) + by
    return self.state["count"]


def loop(self):
    while True:
        pass


def fill(self, count):
    for n in range(count):
        self.state[f"row/{n:05d}"] = "x" * 1000
    self.state["settings"] = {"color": "red"}
    self.state["cart/1"], self.state["cart/2"] = [1], [2]


def loaded(self):
    return sorted(self.state)


async def edit(self):
    self.state["cart/1"].append("more")
    self.state["settings"]["color"] = "blue"
    self.state.pop("cart/2")
    row = await self.state_get("row/00007")
    await self.state_put("row/00008", row[:3])
    await self.state_delete("row/00009")
    return [await self.state_get("row/00009"), await self.state_get("absent")]


def assign(self, key, value):
    self.state[key] = value


async def look(self, *keys):
    return [await self.state_get(key) for key in keys]
"""


def on_loop(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """Returns the test run on an event loop of its own."""

    @functools.wraps(test)
    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))

    return run


async def open_node(folder: Path, manifest: str = MANIFEST) -> lithox.Node:
    """Returns an open node that serves TEXT under `t/**`."""
    node = lithox.Node(folder)
    await node.open()
    await node.deploy(Bundle(manifest=manifest, files={"shop.py": TEXT.encode()}))
    return node


def begin(node: lithox.Node, entity: str, handler: str, **settings: Any) -> asyncio.Future[Any]:
    """Submits a call and returns the future of its answer."""
    return node.submit(
        Request(
            entity=EntityPath(entity),
            handler=HandlerName(handler),
            args=[],
            caller=LOCAL_OPERATOR,
            **settings,
        )
    )


@on_loop
async def test_busy_runs_stop_nobody(tmp_path: Path) -> None:
    """Loops of many entities are sliced, shown as cooperative, and ended; a call gets through."""
    node = await open_node(tmp_path)
    loops = [begin(node, f"t/loop{n}", "loop") for n in range(5)]
    assert await node.call("t/first", "add", 2) == 2
    rows = [row for row in node.processes(LOCAL_OPERATOR) if row.get("handler") == "loop"]
    assert len(rows) == len(loops)
    assert {row["mode"] for row in rows if row["fuel"]} == {"cooperative"}
    assert [await node.call("t/first", "add", 1) for _ in range(5)] == [3, 4, 5, 6, 7]
    for answer in await asyncio.gather(*loops):
        assert isinstance(answer.error, LimitExceeded)
        assert answer.error.code == "guest.out_of_fuel"
    await node.close()


@on_loop
async def test_killed_run_is_gone(tmp_path: Path) -> None:
    """A run is ended by its wall limit while it loops, and leaves no worker at work."""
    node = await open_node(tmp_path)
    with pytest.raises(LithoxError) as caught:
        await node.call("t/a", "loop", limits=Limits(wall_ns=200_000_000))
    assert caught.value.code == "guest.out_of_wall"
    assert node._engines["python"].statistics()["live_guests"] == 0
    await node.close()


@on_loop
async def test_small_state_is_loaded_whole(tmp_path: Path) -> None:
    """Up to 256 kB everything is in the dict, larger than what travels with a Lua call."""
    node = await open_node(tmp_path)
    await node.call("t/a", "fill", 100)
    assert len(await node.call("t/a", "loaded")) == 103
    await node.close()


@on_loop
async def test_of_large_state_what_is_named_is_loaded(tmp_path: Path) -> None:
    """Keys and prefixes of `preload`; the rest by asking; changes of both are written."""
    node = await open_node(tmp_path)
    await node.call("t/a", "fill", 400)
    assert await node.call("t/a", "loaded") == ["cart/1", "cart/2", "settings"]
    assert await node.call("t/a", "edit") == [None, None]
    keys = ("cart/1", "cart/2", "settings", "row/00007", "row/00008", "row/00009")
    values = await node.call("t/a", "look", *keys)
    assert values == [[1, "more"], None, {"color": "blue"}, "x" * 1000, "xxx", None]
    await node.close()


@on_loop
async def test_a_key_that_was_not_loaded_is_not_overwritten_unseen(tmp_path: Path) -> None:
    """Setting it is an error when the entity has it, and a new key when it does not."""
    node = await open_node(tmp_path)
    await node.call("t/a", "fill", 400)
    with pytest.raises(lithox.LithoxError, match="row/00003'] was not loaded"):
        await node.call("t/a", "assign", "row/00003", "gone")
    assert await node.call("t/a", "look", "row/00003") == ["x" * 1000]
    await node.call("t/a", "assign", "fresh", 1)
    assert await node.call("t/a", "look", "fresh") == [1]
    await node.close()


@on_loop
async def test_a_part_of_the_state_is_never_taken_for_the_whole(tmp_path: Path) -> None:
    """Without `preload` a run on a large entity is refused; an empty one is a promise to ask."""
    named = 'preload = ["settings", "cart/*", "absent"]'
    for line, seen in (("", None), ("preload = []", []), ('preload = ["row/*"]', None)):
        node = await open_node(tmp_path / f"n{len(line)}", MANIFEST.replace(named, line))
        await node.call("t/a", "fill", 400)
        if seen is None:
            with pytest.raises(lithox.LimitExceeded, match="preload") as raised:
                await node.call("t/a", "loaded")
            assert raised.value.code == "guest.out_of_state"
            assert raised.value.fields["allowed"] == 256_000
        else:
            assert await node.call("t/a", "loaded") == seen
        await node.close()


@on_loop
async def test_node_without_python_starts_no_worker(tmp_path: Path) -> None:
    """The engine is there by name, and nothing of it has begun."""
    node = lithox.Node(tmp_path)
    await node.open()
    assert "python" in node.info()["languages"]
    assert node._engines["python"].statistics() == {}
    await node.close()


WRONG = ["preload = [1]", 'preload = [""]', f"preload = {['a'] * 65}"]


@pytest.mark.parametrize("line", WRONG)
def test_preload_is_a_list_of_keys(line: str) -> None:
    """What is no list of keys is an error of the manifest, with its line."""
    with pytest.raises(ConfigError, match="line 6"):
        parse_manifest(MANIFEST.replace('preload = ["settings", "cart/*", "absent"]', line))

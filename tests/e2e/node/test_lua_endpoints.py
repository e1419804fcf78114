"""What Lua handlers ask of a real node: logs, scans of large states, cycles of calls."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.modules.bundle import Bundle

MANIFEST = """
[[template]]
match = "e/*"
language = "lua"
source = "e.lua"
access = ["entity:e/*"]
"""
SOURCE = b"""
local m = {}
function m.fill(self, count)
  for i = 1, count do self.state[("k%04d"):format(i)] = ("v"):rep(100) .. i end
end
function m.count(self)
  local n, last = 0, ""
  for k in pairs(self.state) do assert(k > last) last = k n = n + 1 end
  return n
end
function m.under(self, prefix, after)
  local keys = lithox.list {}
  for k in self:scan(prefix, after) do keys[#keys + 1] = k end
  return keys
end
function m.own(self)
  self.state.zz = 1
  self.state.k0001 = nil
  local n = 0
  for _ in pairs(self.state) do n = n + 1 end
  return n
end
function m.talk(self)
  print("plain", 1)
  self:log("warning", "no fields")
  self:log("error", "fields", {a = 1})
end
function m.cycle(self, other)
  self.state.mark = "before"
  self:call(other, "touch", self.id)
  local n = 0
  for _ in pairs(self.state) do n = n + 1 end
  return {self.state.mark, n}
end
function m.touch(self, who) self:call(who, "set_mark") end
function m.set_mark(self) self.state.mark = "after" self.state.more = true end
return m
"""


def run(tmp_path: Path, body: Any) -> None:
    """Runs `body` with an open node that serves the module above."""

    async def main() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await node.deploy(Bundle(manifest=MANIFEST, files={"e.lua": SOURCE}))
            await body(node)

    asyncio.run(main())


def test_large_states_can_be_enumerated(tmp_path: Path) -> None:
    """`pairs` and `scan` give every key in order, also of states too large to travel along."""

    async def body(node: lithox.Node) -> None:
        await node.call("e/big", "fill", 1000)
        assert await node.call("e/big", "count") == 1000
        assert await node.call("e/big", "under", "k001") == [f"k{n:04}" for n in range(10, 20)]
        assert await node.call("e/big", "under", "k", "k0997x") == ["k0998", "k0999", "k1000"]
        assert await node.call("e/big", "under", "k001", "k0018") == ["k0019"]
        assert await node.call("e/big", "under", "k001", "k5") == []
        assert len(await node.call("e/big", "under", "k001", "a")) == 10
        assert await node.call("e/big", "own") == 1000
        assert await node.call("e/big", "under", "\x00") == []

    run(tmp_path, body)


def test_logs_come_with_and_without_fields(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`print` is an info line, and `self:log` needs no fields."""

    async def body(node: lithox.Node) -> None:
        await node.call("e/a", "talk")

    with caplog.at_level(logging.DEBUG, logger="lithox.guest"):
        run(tmp_path, body)
    lines = [(one.levelname, one.getMessage()) for one in caplog.records]
    assert lines == [("INFO", "plain\t1"), ("WARNING", "no fields"), ("ERROR", "fields")]


def test_cycle_of_calls_shows_what_it_changed(tmp_path: Path) -> None:
    """After a callee has changed the caller's state through a cycle, the caller sees it all."""

    async def body(node: lithox.Node) -> None:
        assert await node.call("e/a", "cycle", "e/b") == ["after", 2]

    run(tmp_path, body)

"""Entities with more keys than a guest has room for at its start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import lithox

KEYS_MAX = 70
"""Past the guest's first table of 16 entries, its second of 32 and its third of 64."""
LUA = """
local keys = {}
function keys.add(self, key)
  self.state[key] = 1
  local count = 0
  for _ in pairs(self.state) do count = count + 1 end
  return count
end
return keys
"""
MANIFEST = '[[template]]\nmatch = "keys/*"\nlanguage = "lua"\nsource = "keys.lua"\n'


async def _count_up(folder: Path) -> list[int]:
    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "keys.lua").write_text(LUA)
    (bundle / "lithox.toml").write_text(MANIFEST)
    async with lithox.Node(folder / "data") as node:
        await node.deploy(bundle)
        return [await node.call("keys/one", "add", f"key{i}") for i in range(KEYS_MAX)]


def test_an_entity_may_have_any_number_of_keys(tmp_path: Path) -> None:
    """A run finds all keys of its entity, whatever their number, and ends."""
    assert asyncio.run(_count_up(tmp_path)) == list(range(1, KEYS_MAX + 1))

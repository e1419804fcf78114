"""Big values through a real guest and a real store: 16 MiB in 8 MiB, and what outlives the node."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

import lithox
from lithox.errors import LimitExceeded
from lithox.model.big_values import BIG_VALUE_BYTES_MAX
from lithox.model.limits import HANDLER_DEFAULT_LIMITS, MIB, Limits

pytestmark = pytest.mark.e2e

LUA = """
local big = {}
function big.fill(self, key, count)
  local writer, piece = self:writer(key), ("0123456789abcdef"):rep(1024)
  for _ = 1, count do writer:write(piece) end
  return writer:close()
end
function big.copy(self, from, to)
  local reader, writer = self:reader(from), self:writer(to)
  for piece in function() return reader:read() end do writer:write(piece) end
  return {writer:close(), reader.size}
end
function big.keys(self)
  local keys = lithox.list{}
  for key, value in pairs(self.state) do keys[#keys + 1] = {key, value.size} end
  return keys
end
return big
"""
MANIFEST = '[[template]]\nmatch = "big/*"\nlanguage = "lua"\nsource = "big.lua"\n'
PIECE = b"0123456789abcdef" * 1024
PIECES = BIG_VALUE_BYTES_MAX // len(PIECE)
DIGEST = hashlib.sha256(PIECE * PIECES).hexdigest()


def test_a_guest_goes_through_twice_its_memory(tmp_path: Path) -> None:
    """16 MiB are written and copied under the default limits, and are there after a restart."""
    assert HANDLER_DEFAULT_LIMITS.memory_bytes == 8 * MIB

    async def first() -> None:
        bundle = tmp_path / "bundle"
        bundle.mkdir()
        (bundle / "big.lua").write_text(LUA)
        (bundle / "lithox.toml").write_text(MANIFEST)
        async with lithox.Node(tmp_path / "data") as node:
            await node.deploy(bundle)
            assert await node.call("big/one", "fill", "a", PIECES) == DIGEST
            assert await node.call("big/one", "copy", "a", "b") == [DIGEST, BIG_VALUE_BYTES_MAX]
            with pytest.raises(LimitExceeded) as caught:
                await node.call("big/one", "copy", "a", "c", limits=Limits(big_bytes=MIB))
            assert caught.value.code == "guest.out_of_big"

    async def second() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            size = BIG_VALUE_BYTES_MAX
            assert await node.call("big/one", "keys") == [["a", size], ["b", size]]
            seen = hashlib.sha256()
            async for piece in node.read_value("big/one", "b"):
                seen.update(piece)
            assert seen.hexdigest() == DIGEST

    asyncio.run(first())
    asyncio.run(second())

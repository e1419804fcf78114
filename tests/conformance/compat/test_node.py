"""The compatibility runtimes through a real node: a stored library, arguments, native calls."""

from __future__ import annotations

import asyncio
from pathlib import Path

import lithox

LIBRARY = """
module("shapes", package.seeall)
function area(side) return side ^ 2 end
"""
PROGRAM = """
local shapes = require("shapes")
setfenv(1, setmetatable({extra = 4}, {__index = _G}))
print(_VERSION, shapes.area(3), extra, arg[0], arg[1], ...)
print(table.getn({1, 2}), unpack({5, 6}))
local waited = task.spawn(function() task.sleep(1) return "task" end)
print(select(2, task.join(waited)), type(os.pid), os.request(0, "no.such.name") ~= 0)
os.exit(0, "value")
"""
EXPECTED = {
    "compat-5.1": b"Lua 5.1\t9\t4\tprog\tx\tx\n",
    "compat-luajit": b"Lua 5.1\t9\t4\tprog\tx\tx\n",
    "compat": b"Lua 5.4\t9.0\t4\tprog\tx\tx\n",
}
REST = b"2\t5\t6\ntask\tnumber\ttrue\n"


def test_one_old_program_under_three_runtimes(tmp_path: Path) -> None:
    """A program of Lua 5.1 finds its library in the store, its arguments, and the native calls."""

    async def work() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await node.store_set("library", "shapes", LIBRARY)
            await node.store_set("program", "prog", PROGRAM)
            for runtime, first_line in EXPECTED.items():
                result = await node.run("prog", "x", runtime=runtime)
                assert result.errors == b""
                assert result.output == first_line + REST
                assert result.values == ["value"]

    asyncio.run(work())

"""Lua's own test files: how lines that cannot run are replaced, and what all guests share.

The files are those of the pinned source distribution (`guests/sources.py`), so line numbers are
stable. A line left out is replaced by an empty one, a changed line by its replacement; each has
its reason. Which lines those are differs by guest: `lua/upstream.py` has those of handlers,
`program/upstream.py` those of programs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

DUMP: Final = "needs string.dump or bytecode, which are never loaded"
LOCALE: Final = "asks for a locale; there are none"

MODULES: Final = ("bwcoercion",)
"""Files that others require."""

SKIPS_ITSELF: Final = {
    "api.lua": "tests the C interface through Lua's internal test library, which is not built in",
    "code.lua": "looks at bytecode through Lua's internal test library, which is not built in",
}
"""They run, and end at once."""

NOT_APPLICABLE: Final = {
    "all.lua": "the driver that runs the other files in a standalone interpreter",
    "attrib.lua": "package.path, searchers and C modules; modules are not files here",
    "files.lua": "the io library and os functions on files",
    "tracegc.lua": "a helper that others require; it writes to stderr, so a stand-in is used",
    "main.lua": "the standalone interpreter's command line",
    "verybig.lua": "writes its program into a file and runs it with dofile",
}
"""Files no guest of ours can run."""

RUN_FILE: Final = """
local function run_file(name, text, modules)
  package.preload.tracegc = function()
    return {start = function() end, stop = function() end}
  end
  for module, source in pairs(modules) do
    package.preload[module] = assert(load(source, "@" .. module .. ".lua"))
  end
  local chunk, message = load(text, "@" .. name)
  if not chunk then error(message, 0) end
  if name == "big.lua" then
    chunk = coroutine.wrap(chunk)
    assert(chunk() == "b")
    chunk()
  else
    chunk(name)
  end
end
"""
"""Runs a file as the driver of Lua's tests does; `big.lua` yields once."""


class Change(NamedTuple):
    """Lines `first` to `last` (1-based, inclusive) that do not run as they stand."""

    first: int
    last: int
    reason: str
    instead: str = ""

    def lines(self) -> str:
        """Returns "12" or "12-15"."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def adjusted(text: bytes, changes: Iterable[Change]) -> bytes:
    """Returns a file with its lines of `changes` replaced; line numbers stay what they were."""
    lines = text.split(b"\n")
    for change in changes:
        for number in range(change.first, change.last + 1):
            lines[number - 1] = b""
        lines[change.first - 1] = change.instead.encode()
    return b"\n".join(lines)

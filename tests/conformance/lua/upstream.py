"""Lua's own test files, and what of them cannot run inside the guest.

The files are those of the pinned source distribution (`guests/sources.py`), so line numbers are
stable. A line left out is replaced by an empty one, a changed line by its replacement; each has
its reason. Files that cannot apply at all are in `NOT_APPLICABLE`; `docs/limitations/lua.md` lists
all of them, and a test compares.
"""

from __future__ import annotations

from typing import Final, NamedTuple

DEBUG = "needs a function of the debug library, of which there is only traceback"
IO = "uses a file handle; there is no io library"
DUMP = "needs string.dump or bytecode, which are never loaded"
LOCALE = "asks for a locale; there are none"


class Change(NamedTuple):
    """Lines `first` to `last` (1-based, inclusive) that do not run as they stand."""

    first: int
    last: int
    reason: str
    instead: str = ""

    def lines(self) -> str:
        """Returns "12" or "12-15"."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


CHANGES: Final[dict[str, tuple[Change, ...]]] = {
    "calls.lua": (
        Change(314, 314, DEBUG),
        Change(331, 332, DUMP),
        Change(335, 342, DUMP),
        Change(345, 347, DUMP, r'x = "\27Lua"'),
        Change(352, 352, DUMP),
        Change(364, 372, DUMP),
        Change(390, 393, DUMP),
        Change(396, 411, DUMP),
        Change(428, 434, DUMP),
        Change(454, 495, DUMP),
    ),
    "closure.lua": (
        Change(253, 262, DEBUG),
        Change(265, 278, DEBUG),
    ),
    "constructs.lua": (Change(306, 306, DEBUG),),
    "coroutine.lua": (
        Change(230, 230, DEBUG),
        Change(238, 238, DEBUG, "  assert(X == 43)"),
        Change(339, 356, DEBUG),
        Change(360, 361, DEBUG),
        Change(969, 971, DEBUG),
    ),
    "errors.lua": (
        Change(227, 227, IO),
        Change(236, 242, DEBUG),
        Change(245, 245, IO),
        Change(248, 248, IO),
        Change(250, 250, IO),
        Change(253, 253, IO),
        Change(277, 290, DUMP),
        Change(340, 340, IO),
        Change(490, 490, DEBUG, "  local l = 491"),
        Change(514, 514, DEBUG, "    l1 = 516"),
        Change(587, 587, DEBUG, "  assert(tonumber(line) == 585)"),
    ),
    "events.lua": (
        Change(196, 196, IO),
        Change(451, 479, DEBUG),
    ),
    "goto.lua": (Change(186, 218, DEBUG),),
    "literals.lua": (
        Change(36, 36, DEBUG, "            ', ' .. n, ''))"),
        Change(247, 247, DEBUG),
        Change(252, 252, DEBUG, "  dostring(prog)"),
        Change(297, 297, LOCALE, "if false then"),
    ),
    "locals.lua": (
        Change(73, 80, DEBUG),
        Change(82, 82, DEBUG),
        Change(165, 165, DEBUG),
        Change(262, 262, DEBUG),
        Change(429, 429, DEBUG),
        Change(435, 435, DEBUG),
        Change(444, 444, DEBUG),
        Change(452, 452, DEBUG),
        Change(784, 808, DEBUG),
    ),
    "nextvar.lua": (Change(364, 364, IO, "    [function () end] = 9,"),),
    "strings.lua": (Change(171, 172, IO),),
}

SKIPS_ITSELF: Final = {
    "api.lua": "tests the C interface through Lua's internal test library, which is not built in",
    "code.lua": "looks at bytecode through Lua's internal test library, which is not built in",
}
"""They run, and end at once."""

NOT_APPLICABLE: Final = {
    "all.lua": "the driver that runs the other files in a standalone interpreter",
    "attrib.lua": "package.path, searchers and C modules; modules are not files here",
    "db.lua": "the debug library: hooks, locals, upvalues",
    "files.lua": "the io library and os functions on files",
    "tracegc.lua": "a helper that others require; it writes to stderr, so a stand-in is used",
    "main.lua": "the standalone interpreter's command line",
    "verybig.lua": "writes its program into a file and runs it with dofile",
}

MODULES: Final = ("bwcoercion",)
"""Files that others require."""

PROLOGUE: Final = """
_G._port, _G._nomsg, _G.Message = true, true, print
package.preload.tracegc = function()
  return {start = function() end, stop = function() end}
end
return {
  run = function(self, name, text, modules)
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
  end,
}
"""


def adjusted(name: str, text: bytes) -> bytes:
    """Returns the file with its lines of `CHANGES` replaced; line numbers stay what they were."""
    lines = text.split(b"\n")
    for change in CHANGES.get(name, ()):
        for number in range(change.first, change.last + 1):
            lines[number - 1] = b""
        lines[change.first - 1] = change.instead.encode()
    return b"\n".join(lines)

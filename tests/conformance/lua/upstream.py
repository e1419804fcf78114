"""What of Lua's own test files cannot run inside the guest of handlers.

Files that cannot apply at all are in `NOT_APPLICABLE`; `docs/limitations/lua.md` lists all of them,
and a test compares.
"""

from __future__ import annotations

from typing import Final

from tests.conformance import lua_files
from tests.conformance.lua_files import DUMP, LOCALE, Change

DEBUG = "needs a function of the debug library, of which there is only traceback"
IO = "uses a file handle; there is no io library"


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

NOT_APPLICABLE: Final = lua_files.NOT_APPLICABLE | {
    "db.lua": "the debug library: hooks, locals, upvalues",
}

PROLOGUE: Final = f"""
_G._port, _G._nomsg, _G.Message = true, true, print
{lua_files.RUN_FILE}
return {{
  run = function(self, ...) return run_file(...) end,
}}
"""
"""A tail call, since gc.lua measures memory to one kilobyte and one more frame would show."""

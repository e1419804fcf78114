"""What of Lua's own test files of 5.3, 5.4 and 5.5 cannot run inside a program guest.

Files that cannot apply at all are in `NOT_APPLICABLE`; `docs/limitations/programs-lua.md` lists all
of them, and a test compares. 5.1 and 5.2 have no test files in the source distribution.
"""

from __future__ import annotations

from typing import Final

from tests.conformance import lua_files
from tests.conformance.lua_files import DUMP, NOT_APPLICABLE, Change

VERSIONS: Final = ("5.3", "5.4", "5.5")

IO = "uses files or a file handle; there are none below the native runtime"
PRINT = "looks into print, which is the native runtime's"
NULL = "light userdata have the metatable of lithox.null, and so its name"
MEMORY = "measures memory to one kilobyte; the frames around the file here take a part of it"
LEVELS = "the bound of nested C calls is 110 here instead of 200"

CHANGES: Final[dict[tuple[str, str], tuple[Change, ...]]] = {
    ("5.3", "calls.lua"): (
        Change(28, 29, PRINT),
        Change(32, 33, PRINT),
        Change(257, 258, DUMP),
        Change(261, 263, DUMP, r'x = "\27Lua"'),
        Change(267, 267, DUMP),
        Change(283, 287, DUMP),
        Change(309, 322, DUMP),
        Change(339, 339, DUMP),
        Change(364, 398, DUMP),
    ),
    ("5.3", "db.lua"): (Change(820, 822, DUMP), Change(824, 854, DUMP)),
    ("5.3", "errors.lua"): (
        Change(140, 146, NULL),
        Change(149, 149, IO),
        Change(152, 152, IO),
        Change(162, 162, IO),
        Change(166, 178, DUMP),
        Change(228, 228, IO),
        Change(477, 477, LEVELS, "local maxClevel = 110"),
    ),
    ("5.3", "vararg.lua"): (Change(41, 42, PRINT),),
    ("5.4", "calls.lua"): (
        Change(331, 332, DUMP),
        Change(335, 342, DUMP),
        Change(345, 347, DUMP, r'x = "\27Lua"'),
        Change(352, 352, DUMP),
        Change(368, 372, DUMP),
        Change(391, 393, DUMP),
        Change(398, 411, DUMP),
        Change(428, 428, DUMP),
        Change(454, 495, DUMP),
    ),
    ("5.4", "db.lua"): (
        Change(54, 58, DUMP),
        Change(1000, 1002, DUMP),
        Change(1004, 1019, DUMP),
        Change(1021, 1051, DUMP),
    ),
    ("5.4", "errors.lua"): (
        Change(236, 242, NULL),
        Change(245, 245, IO),
        Change(248, 248, IO),
        Change(274, 274, IO),
        Change(278, 290, DUMP),
        Change(340, 340, IO),
    ),
    ("5.4", "gc.lua"): (Change(477, 477, MEMORY, '  assert(collectgarbage("count") <= m + 2)'),),
    ("5.4", "nextvar.lua"): (Change(364, 364, IO, "    [function () end] = 9,"),),
    ("5.4", "vararg.lua"): (Change(44, 45, PRINT),),
    ("5.5", "calls.lua"): (
        Change(361, 362, DUMP),
        Change(365, 372, DUMP),
        Change(375, 377, DUMP, r'x = "\27Lua"'),
        Change(382, 382, DUMP),
        Change(399, 403, DUMP),
        Change(422, 424, DUMP),
        Change(429, 442, DUMP),
        Change(459, 459, DUMP),
        Change(484, 538, DUMP),
        Change(541, 563, DUMP),
    ),
    ("5.5", "db.lua"): (
        Change(54, 58, DUMP),
        Change(1012, 1014, DUMP),
        Change(1016, 1031, DUMP),
        Change(1033, 1063, DUMP),
    ),
    ("5.5", "errors.lua"): (
        Change(260, 266, NULL),
        Change(269, 269, IO),
        Change(272, 272, IO),
        Change(298, 298, IO),
        Change(302, 314, DUMP),
        Change(365, 365, IO),
        Change(632, 632, LEVELS, "  local res, msg = xpcall(error, err, 80)"),
    ),
    ("5.5", "nextvar.lua"): (Change(489, 489, IO, "    [function () end] = 9,"),),
    ("5.5", "vararg.lua"): (Change(47, 48, PRINT),),
}

SKIPS_ITSELF: Final = lua_files.SKIPS_ITSELF | {
    "memerr.lua": "makes allocations fail through Lua's internal test library, which is not built "
    "in",
}
"""They run, and end at once."""

TOO_LONG: Final = {
    ("5.3", "heavy.lua"): "takes more than 900 thousand million of fuel, minutes, to meet the "
    "limits it looks for",
}
"""They would run, and nobody waits for them."""

PROLOGUE: Final = f"""
local name, text, modules = ...
_G._port, _G._nomsg, _G.Message, _G.print = true, true, function() end, coroutine.running
local stream = {{write = function(self) return self end, flush = function() end,
  setvbuf = function() end}}
local stdin = debug.setmetatable(lithox.bytes(""), {{__name = "FILE*"}})
io = {{write = function() return stream end, stdout = stream, stderr = stream, stdin = stdin}}
os.setlocale = function() end
{lua_files.RUN_FILE}
run_file(name, text, modules)
"""
"""Runs a file. Stand-ins: streams that swallow what is written, a userdata for `io.stdin`, a C
function that takes anything for `print`, and no locale for `os.setlocale`."""


def find_reason(version: str, name: str) -> str | None:
    """Returns why a file is not run, or None when it is."""
    return NOT_APPLICABLE.get(name) or TOO_LONG.get((version, name))

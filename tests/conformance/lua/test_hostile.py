"""What a hostile or careless program does to its own guest: always an error or an end, bounded."""

from __future__ import annotations

import pytest
import wasmtime

from guests.build import STACK_BYTES
from tests.conformance.lua.driver import Host, LuaGuest

HANDLER_MEMORY_BYTES = 8 << 20
FUEL = 400_000_000

RECURSIONS = {
    "gsub": 'local function f() return (("x"):gsub(".", f)) end f()',
    "gsub_captures": 'local function f() return (("xxx"):gsub("(.)(.)(.)()", f)) end f()',
    "sort": "local function f() table.sort({3, 2, 1}, function() f() end) end f()",
    "pcall": "local function f() local ok, e = pcall(f) if not ok then error(e, 0) end end f()",
    "xpcall": (
        "local function f() local ok, e = xpcall(f, function(m) return m end)"
        " if not ok then error(e, 0) end end f()"
    ),
    "coroutine": (
        "local function f() local ok, e = coroutine.resume(coroutine.create(f))"
        " if not ok then error(e, 0) end end f()"
    ),
    "tostring": (
        "local t = setmetatable({}, {}) getmetatable(t).__tostring ="
        " function() return tostring(t) end tostring(t)"
    ),
    "format": (
        "local t = setmetatable({}, {}) getmetatable(t).__tostring ="
        ' function() return string.format("%s%s", t, t) end tostring(t)'
    ),
    "index": (
        "local t = setmetatable({}, {}) getmetatable(t).__index ="
        ' function(s, k) return s[k .. ""] end return t.x'
    ),
    "concat": (
        "local mt = {} mt.__index = function(t) return table.concat(t, '', 1, 3) end"
        " return table.concat(setmetatable({}, mt), '', 1, 3)"
    ),
    "close": (
        "local function f() local x <close> ="
        " setmetatable({}, {__close = function() f() end}) end f()"
    ),
    "parser_parentheses": 'assert(load("return " .. ("("):rep(100000)))',
    "parser_tables": 'assert(load("return " .. ("{"):rep(100000)))',
    "parser_blocks": 'assert(load(("while a do "):rep(100000)))',
    "parser_operators": 'assert(load("return " .. ("a.."):rep(100000) .. "a"))',
    "lua": "local function f() return 1 + f() end f()",
}


@pytest.mark.parametrize("name", RECURSIONS)
def test_recursion_is_a_lua_error(name: str) -> None:
    """Endless recursion of every kind ends as the Lua error "stack overflow", not as a trap."""
    guest = LuaGuest(Host(), memory_bytes=HANDLER_MEMORY_BYTES)
    guest.load(f"return {{f = function() {RECURSIONS[name]} end}}")
    outcome = guest.run("f", fuel=FUEL)
    assert outcome.error is not None
    assert "stack overflow" in outcome.error.message


DEEPEST = """
local function leaf()
  assert(("a"):rep(300):find(("a?"):rep(195)))
  local x = ("%99.50f"):format(1e300) .. tostring(1.5) .. os.date()
  local t = {} local inner = t
  for i = 1, 63 do inner[1] = {} inner = inner[1] end
  lithox.state_of.state.deep = t
end
local depth = 0
local t = setmetatable({}, {})
getmetatable(t).__tostring = function()
  depth = depth + 1
  if depth == LIMIT then leaf() return "" end
  return string.format("%s", t)
end
"""


def test_stack_has_room_below_the_deepest_call() -> None:
    """At Lua's limit of nested calls a pattern, a float format and a log still fit the stack."""
    guest = LuaGuest(Host())
    source = "return {f = function(self) lithox.state_of = self LIMIT = 104\n" + DEEPEST
    guest.load(source + "tostring(t) self:log('info', 'deep') return depth end}")
    outcome = guest.run("f")
    assert outcome.error is None, outcome.error
    assert outcome.value == 104
    stack = bytes(guest.memory.read(guest.store, 0, STACK_BYTES))
    untouched = next(index for index, byte in enumerate(stack) if byte)
    assert untouched > 4096


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('return ("x"):rep(1 << 32)', "resulting string too large"),
        ("return table.unpack({}, 1, 1e7)", "too many results to unpack"),
        ('return ("a"):rep(99):find((".-"):rep(300) .. "b")', "pattern too complex"),
        ("table.sort(setmetatable({}, {__len = function() return math.maxinteger end}))", "array"),
        ("return ('x'):rep(-1) .. string.char(256)", "value out of range"),
        (
            "return setmetatable({}, {__index = function(t, k) return t[k + 1] end})[1]",
            "stack overflow",
        ),
    ],
)
def test_bomb_is_a_lua_error(body: str, message: str) -> None:
    """A bomb that Lua itself can see is refused as an error the program may catch."""
    guest = LuaGuest(Host(), memory_bytes=HANDLER_MEMORY_BYTES)
    guest.load(f"return {{f = function() {body} end}}")
    outcome = guest.run("f", fuel=FUEL)
    assert outcome.error is not None
    assert message in outcome.error.message


@pytest.mark.parametrize(
    "body",
    [
        'local s = "x" while true do s = s .. s end',
        "local t = {} while true do t[#t + 1] = {} end",
        'return ("x"):rep((1 << 30) + 5)',
    ],
)
def test_uncaught_memory_error_ends_the_guest(body: str) -> None:
    """Memory that is refused and not dealt with is a trap, and the inbox says why."""
    guest = LuaGuest(Host(), memory_bytes=HANDLER_MEMORY_BYTES)
    guest.load(f"return {{f = function() {body} end}}")
    with pytest.raises(wasmtime.Trap):
        guest.run("f")
    inbox = guest._call("lx_inbox")
    assert bytes(guest.memory.read(guest.store, inbox, inbox + 13)) == b"out of memory"


def test_caught_memory_error_leaves_a_working_guest() -> None:
    """A program may catch "not enough memory", let go of what it holds, and go on."""
    guest = LuaGuest(Host(), memory_bytes=HANDLER_MEMORY_BYTES)
    guest.load("""return {f = function(self)
      local ok, message = pcall(function()
        local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end
      end)
      collectgarbage()
      local t = {} for i = 1, 1000 do t[i] = ("y"):rep(1000) .. i end
      return {ok, message, #t}
    end}""")
    assert guest.run("f").value == [False, "not enough memory", 1000]


@pytest.mark.parametrize(
    "body",
    [
        "while true do end",
        "while true do pcall(error) end",
        "local f = coroutine.wrap(function() while true do pcall(error) end end) f()",
        # A coroutine that swallows every error it is resumed into, for ever.
        (
            "local c = coroutine.create(function() while true do pcall(coroutine.yield) end end)"
            " while true do coroutine.resume(c, error) end"
        ),
        'return string.find(("a"):rep(300000), ("(a*)"):rep(31) .. "b")',
        "table.insert(setmetatable({}, {__len = function() return math.maxinteger - 1 end}), 1, 1)",
        "setmetatable({}, {__gc = function() while true do end end}) collectgarbage()",
        "local x <close> = setmetatable({}, {__close = function() while true do end end})",
        "table.sort({1, 2, 3}, function() while true do end end)",
        "error(setmetatable({}, {__tostring = function() while true do end end}))",
    ],
)
def test_endless_work_ends_by_fuel(body: str) -> None:
    """Nothing inside the guest outlives its fuel, wherever it loops."""
    guest = LuaGuest(Host(), memory_bytes=HANDLER_MEMORY_BYTES)
    guest.load(f"return {{f = function() {body} end}}")
    with pytest.raises(wasmtime.Trap, match="all fuel consumed"):
        guest.run("f", fuel=50_000_000)


def test_runs_are_deterministic() -> None:
    """The same run burns the same fuel and gives the same bytes; the seed changes randomness."""
    source = """return {f = function(self)
      local t = {} for i = 1, 50 do t["k" .. i] = math.random(1000) end
      local keys = {} for k in pairs(t) do keys[#keys + 1] = k end
      return {keys, t, tostring({}), math.random(), os.time()}
    end}"""
    first, second = LuaGuest(), LuaGuest()
    first.load(source)
    second.load(source)
    one, other = first.run("f", seed=7), second.run("f", seed=7)
    assert one == other
    assert first.fuel_used == second.fuel_used
    assert first.run("f", seed=7) == one
    assert first.run("f", seed=8).value[1] != one.value[1]


def test_large_message_uses_the_reserved_inbox() -> None:
    """Arguments and results beyond the static inbox and buffers go through whole."""
    guest = LuaGuest(Host())
    guest.load("return {f = function(self, x) return x end}")
    text = "é" * 500_000
    assert guest.run("f", text).value == text

"""What a hostile or careless program does to its own guest: sliced, ended, or told, never more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lithox.model.limits import Limits
from lithox.sandbox.contract import StepKind
from tests.conformance.program.harness import LIMITS, QUANTUM_FUEL, Machine, finish, make_message

ENDLESS = {
    "loop": "while true do end",
    "comparator": "table.sort({3, 1, 2}, function() while true do end end)",
    "gsub callback": "return (('abc'):gsub('.', function() while true do end end))",
    "runaway pattern": "return (('a'):rep(40)):find(('a*'):rep(40) .. 'b')",
    "coroutine": "return coroutine.wrap(function() while true do end end)()",
    "pcall": "while true do pcall(error, 'x') end",
    "pcall around a loop": "return pcall(function() while true do end end)",
    "metamethod": "return setmetatable({}, {__index = function() while true do end end}).x",
    "tostring": "return tostring(setmetatable({}, {__tostring = function() while true do end "
    "end}))",
    "collector": "while true do local t = setmetatable({}, {__gc = function() while true do end "
    "end}) end",
    "load": "local load = loadstring or load while true do load('return 1')() end",
    "swallowing coroutines": "while true do local co = coroutine.wrap(function() "
    "pcall(error, {}) coroutine.yield() error('again') end) pcall(co) pcall(co) end",
    "xpcall handler": "while true do xpcall(error, function() while true do end end) end",
    "error in tostring": "error(setmetatable({}, {__tostring = function() while true do end end}))",
    "count hook": "debug.sethook(function() while true do end end, '', 1) local x = 1 x = x + 1",
    "system calls": "while true do pcall(sys.call, 'time') end",
}
"""Programs that never end by themselves, by where they are when their time is over."""


@pytest.mark.parametrize("where", ENDLESS)
def test_endless_code_is_sliced_and_ends_at_its_fuel(machine: Machine, where: str) -> None:
    """It yields at every quantum, and nothing in it catches the end."""
    ran = machine.run(ENDLESS[where], limits=replace(LIMITS, fuel=3_000_000, calls=10**6))
    assert (ran.step.kind, ran.step.code) == (StepKind.ENDED, "guest.out_of_fuel"), ran
    assert where == "system calls" or ran.yields >= 3_000_000 // QUANTUM_FUEL - 2


@pytest.mark.parametrize("where", ENDLESS)
def test_endless_code_is_closed_wherever_it_is(machine: Machine, where: str) -> None:
    """A guest that was stopped in the middle leaves nothing: the next one runs afresh."""
    guest = machine.start(ENDLESS[where])
    for _ in range(3):
        guest.step(QUANTUM_FUEL, frees_lock=False)
        if guest.calls:
            break
    guest.close()
    assert machine.engine.statistics()["live_guests"] == 0
    assert machine.values("return 1") == [1]


RECURSIONS = {
    "lua": "local function f() return 1 + f() end f()",
    "gsub": "local function f() return (('x'):gsub('.', f)) end f()",
    "gsub captures": "local function f() return (('xxx'):gsub('(.)(.)(.)()', f)) end f()",
    "sort": "local function f() table.sort({3, 2, 1}, function() f() end) end f()",
    "pcall": "local function f() local ok, e = pcall(f) if not ok then error(e, 0) end end f()",
    "coroutine": "local function f() local ok, e = coroutine.resume(coroutine.create(f)) "
    "if not ok then error(e, 0) end end f()",
    "tostring": "local t = setmetatable({}, {}) getmetatable(t).__tostring = "
    "function() return tostring(t) end tostring(t)",
    "index": "local t = setmetatable({}, {}) getmetatable(t).__index = "
    "function(s, k) return s[k .. ''] end return t.x",
    "parentheses": "assert((loadstring or load)('return ' .. ('('):rep(100000)))",
    "tables": "assert((loadstring or load)('return ' .. ('{'):rep(100000)))",
    "blocks": "assert((loadstring or load)(('while a do '):rep(100000)))",
    "operators": "assert((loadstring or load)('return ' .. ('a..'):rep(100000) .. 'a'))",
    "format": "local t = setmetatable({}, {}) getmetatable(t).__tostring = "
    "function() return string.format('%s%s', tostring(t), t) end tostring(t)",
    "require": "package.preload.a = function() package.loaded.a = nil require('a') end "
    "require('a')",
}
OVERFLOW = ("stack overflow", "too many C levels", "overflow", "chunk has too many syntax levels")


@pytest.mark.parametrize("name", RECURSIONS)
def test_endless_recursion_is_a_lua_error(machine: Machine, name: str) -> None:
    """Recursion of every kind ends as an error that names an overflow, not as a trap."""
    ran = machine.run(f"local ok, e = pcall(function() {RECURSIONS[name]} end) return ok, e")
    assert ran.values is not None, ran.step
    assert ran.values[0] is False
    message = ran.values[1]
    assert any(text in message for text in OVERFLOW), message


def test_system_call_at_the_deepest_point_is_answered(machine: Machine) -> None:
    """A call that gets a value of 63 levels works where no C call can be nested any more."""
    deep: object = 1
    for _ in range(63):
        deep = [deep]
    text = """
    local depth, last, seen = 0, 0, 0
    local function down()
      depth = depth + 1
      local status, t = sys.call('x')
      while type(t) == 'table' do t = t[1] seen = seen + 1 end
      local ok = pcall(string.gsub, 'x', '.', down)
      last = ok and last or depth
    end
    down()
    return depth, seen
    """
    depth, seen = machine.values(text, answer=lambda _call: [0, [], deep])
    assert depth >= 30
    assert seen == depth * 63


def test_deepest_c_stack_stays_inside_its_memory(machine: Machine) -> None:
    """At the bound of nested C calls the pattern matcher and the formatter still have room."""
    text = """
    local function leaf()
      assert(('a'):rep(300):find(('a?'):rep(190)))
      local x = ('%99.50f'):format(1e300) .. tostring(1.5) .. os.date()
      sys.call('x', x)
    end
    local depth, ok = 0, 0
    local t = setmetatable({}, {})
    getmetatable(t).__tostring = function()
      depth = depth + 1
      if pcall(leaf) then ok = ok + 1 end
      return (string.gsub('x', '.', function() return string.format('%s', tostring(t)) end))
    end
    pcall(tostring, t)
    return depth, ok
    """
    depth, good = machine.values(text)
    assert depth >= 20
    assert good >= depth - 5


NO_BUFFER = "not enough memory for buffer allocation"
"""An ordinary error of Lua 5.3's string buffers."""


@pytest.mark.parametrize(
    "text",
    [
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "return ('x'):rep(2^31 - 100)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t = {t, {}, {}, {}} end",
        "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
        "local t = {} for i = 1, 1e7 do t[i] = i end",
    ],
)
def test_out_of_memory_is_an_error_or_an_end(machine: Machine, text: str) -> None:
    """Taking all memory can be caught as Lua's error; uncaught it ends the guest by that name."""
    limits = replace(LIMITS, memory_bytes=4 << 20, fuel=10_000_000_000)
    ran = machine.run(text, limits=limits)
    told = ran.error is not None and (
        "too large" in ran.error.message or NO_BUFFER in ran.error.message
    )
    assert told or ran.step.code == "guest.out_of_memory", ran
    caught = machine.values(
        f"local ok, e = pcall(function() {text} end) collectgarbage() "
        "return ok, tostring(e):match('not enough memory') or tostring(e):match('too large')",
        limits=limits,
    )
    assert caught in ([False, "not enough memory"], [False, "too large"])


def test_memory_refused_while_an_answer_is_read_leaves_a_working_collector(
    machine: Machine,
) -> None:
    """After an answer too large for the memory, garbage is collected as before."""
    limits = replace(LIMITS, memory_bytes=3 << 20, fuel=3_000_000_000)
    big = [[i, [i]] for i in range(40_000)]
    values = machine.values(
        """
        local ok
        coroutine.wrap(function() ok = pcall(sys.call, 'big') end)()
        if sys.version == '5.1' then collectgarbage() end -- it has no emergency collections
        for i = 1, 20000 do local t = {i, {}, tostring(i)} end
        local again = sys.call('small')
        for i = 1, 20000 do local t = {i, {}, tostring(i)} end
        return ok, again
        """,
        answer=lambda call: [0, [], big] if call[1] == "big" else [0, []],
        limits=limits,
    )
    assert values == [False, 0]


def test_finalizers_may_make_system_calls(machine: Machine) -> None:
    """A finalizer's call never gets between another call and its answer."""
    text = """
    local made = 0
    local function litter()
      if newproxy then
        local p = newproxy(true)
        getmetatable(p).__gc = function() made = made + 1 sys.call('gc', {made}) end
      else
        setmetatable({}, {__gc = function() made = made + 1 sys.call('gc', {made}) end})
      end
    end
    for i = 1, 300 do
      litter()
      local status, list, text = sys.call('x', {i, {tostring(i)}}, 'a' .. i)
      assert(list[1] == i and list[2][1] == tostring(i) and text == 'a' .. i)
      local event = sys.pull(i)
      assert(event.type == 'call' and event.cid == i and event.args[1][1] == i)
    end
    collectgarbage()
    return made > 0
    """

    def answer(call: list[object]) -> list[object]:
        if call[1] == "x":
            return [0, [], *call[2:-1]]
        if call[1] == "pull":
            return [0, [], "call", call[2], 1, "n", 2, [[call[2]]]]
        return [0, []]

    ran = machine.run(text, answer=answer, limits=replace(LIMITS, fuel=3_000_000_000))
    assert ran.error is None, ran.error
    assert ran.values == [True]
    assert any(call[1] == "gc" for call in ran.calls)


@pytest.mark.parametrize("mode", ["", ", 'x', 'b'", ", 'x', 'bt'"])
def test_bytecode_is_never_loaded(machine: Machine, mode: str) -> None:
    """A chunk that begins as bytecode does is refused in every mode, by every loader."""
    loader = "loadstring or load" if machine.version == "5.1" else "load"
    values = machine.values(
        f"local f, e = ({loader})('\\27Lua' .. ('\\0'):rep(60){mode}) return f, e"
    )
    assert values[0] is None
    assert "bytecode" in values[1] or "attempt to load a binary chunk" in values[1]
    assert machine.values("return string.dump == nil") == [True]


def test_world_is_not_there(machine: Machine) -> None:
    """No files, no commands, no C modules, no environment; `print` is the native runtime's."""
    names = "io dofile loadfile print os.execute os.exit os.getenv os.remove os.rename os.tmpname "
    names += "os.setlocale string.dump package.loadlib debug.debug"
    values = machine.values(
        """
        local found = {}
        for name in (...):gmatch('%S+') do
          local value = _G
          for part in name:gmatch('[^.]+') do value = value and value[part] end
          if value ~= nil then found[#found + 1] = name end
        end
        return found
        """,
        names,
    )
    assert values in ([{}], [[]])


def test_require_finds_what_is_preloaded(machine: Machine) -> None:
    """`require` is there with the searcher of package.preload alone."""
    text = """
    local searchers = package.searchers or package.loaders
    package.preload.m = function(name) return {name = name} end
    local ok, e = pcall(require, 'absent')
    return require('m').name, #searchers, ok, e:match("module 'absent' not found") ~= nil
    """
    assert machine.values(text) == ["m", 1, False, True]


def test_debug_works_inside_the_process(machine: Machine) -> None:
    """Introspection of the own process is there as the version defines it."""
    text = """
    local up = 1
    local function f(a, b) local c = up return debug.getlocal(1, 1) end
    local name = f(5)
    debug.setupvalue(f, 1, 9)
    local lines = 0
    debug.sethook(function() lines = lines + 1 end, 'l')
    local x = 1
    x = 2
    debug.sethook()
    return name, up, lines >= 2, debug.getinfo(f, 'S').short_src, type(debug.traceback()),
      debug.getmetatable('').__index == string
    """
    assert machine.values(text) == ["a", 9, True, "m.lua", "string", True]


def test_limits_of_a_tiny_guest_are_named(machine: Machine) -> None:
    """A guest that may not even hold its image ends as out of memory."""
    ran = machine.run("return 1", limits=Limits(fuel=10**6, memory_bytes=65536, calls=5))
    assert ran.step.code == "guest.out_of_memory"


def test_grown_memory_keeps_what_was_shared(machine: Machine) -> None:
    """A program whose memory outgrows its image and moves still has its runtime."""
    filler = "return {" + ",".join(f"{{'{i}'}}" for i in range(6000)) + "}"
    program = machine.load(
        "local n = 0 for i = 1, 60000 do keep = {keep, i} end "
        "for i = 1, 6000 do if table_of[i][1] == tostring(i - 1) then n = n + 1 end end return n",
        ("rt", f"table_of = (function() {filler} end)()"),
        limits=replace(LIMITS, memory_bytes=64 << 20),
    )
    guests = [program.start(make_message(), replace(LIMITS, memory_bytes=64 << 20)) for _ in "ab"]
    for guest in guests:
        assert finish(guest).values == [6000]
        guest.close()

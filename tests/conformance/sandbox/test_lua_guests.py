"""Tests that a Lua guest can be sliced, ended and dropped wherever it is, and starts afresh."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from lithox.errors import CompileFailed, LimitExceeded
from lithox.model.limits import Limits
from lithox.sandbox.contract import Engine, Guest, Program, Source, StepKind
from lithox.sandbox.mappings import count_mappings
from lithox.sandbox.messages import decode_outcome
from tests.conformance.sandbox.conftest import LIMITS, QUANTUM_FUEL, Ran, make_run

Run = Callable[..., Ran]
Load = Callable[..., Program]

ENDLESS = {
    "loop": "while true do end",
    "sort comparator": "table.sort({3, 1, 2}, function() while true do end end)",
    "gsub callback": "return (('abc'):gsub('.', function() while true do end end))",
    "pattern": "return (('a'):rep(40)):find(('a*'):rep(40) .. 'b')",
    "coroutine": "return coroutine.wrap(function() while true do end end)()",
    "pcall": "while true do pcall(error, 'x') end",
    "pcall around a loop": "return pcall(function() while true do end end)",
    "metamethod": "local t = setmetatable({}, {__index = function() while true do end end}) "
    "return t.x",
    "concat": "local s = '' while true do s = s .. 'x' if #s > 1000 then s = '' end end",
    "swallowing coroutines": "while true do local co = coroutine.wrap(function() "
    "pcall(error, {}) coroutine.yield() error('again') end) pcall(co) pcall(co) end",
    "close": "do local c <close> = setmetatable({}, {__close = function() while true do end "
    "end}) end",
    "collector": "for i = 1, 1e9 do setmetatable({}, {__gc = function() local j = 0 "
    "while true do j = j + 1 end end}) end",
    "lying length": "return table.concat(setmetatable({}, {__len = function() return 1 << 40 "
    "end, __index = function() return 'x' end}))",
    "insert with a lying length": "table.insert(setmetatable({}, {__len = function() return "
    "1 << 50 end}), 1, 1)",
    "unpack": "while true do pcall(table.unpack, {}, 1, 200) end",
    "xpcall handler": "while true do xpcall(error, function() while true do end end) end",
    "load": "while true do load('return ' .. ('1+'):rep(100) .. '1')() end",
    "tostring": "return tostring(setmetatable({}, {__tostring = function() while true do end "
    "end}))",
    "error in tostring": "error(setmetatable({}, {__tostring = function() while true do end end}))",
}
"""Handlers that never end by themselves, by where they are when their time is over."""


@pytest.mark.parametrize("where", ENDLESS)
def test_lua_guest_is_sliced_wherever_it_is(run: Run, where: str) -> None:
    """Endless code yields at every quantum and ends at its fuel; nothing in it can catch that."""
    ran = run(ENDLESS[where], limits=replace(LIMITS, fuel=3_000_000))
    assert ran.step.kind is StepKind.ENDED, ran.step
    assert ran.step.code in {"guest.out_of_fuel", "guest.out_of_memory"}
    if ran.step.code == "guest.out_of_fuel":
        assert ran.fuel_used == 3_000_000
        assert ran.yields >= 3_000_000 // QUANTUM_FUEL // 2


def test_lua_guest_that_wants_too_much_at_once_is_out_of_memory(run: Run) -> None:
    """An uncaught refusal of memory is named so, however far below its limit the guest is."""
    ran = run("return ('x'):rep((1 << 31) - 1)")
    assert ran.step.code == "guest.out_of_memory"
    assert ran.memory_bytes < LIMITS.memory_bytes // 2


@pytest.mark.parametrize("where", ["sort comparator", "coroutine", "pcall", "close", "pattern"])
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_lua_guest_can_be_killed_anywhere(load: Load, run: Run, where: str, steps: int) -> None:
    """A guest closed in the middle of anything is gone, and the next one starts as ever."""
    program = load(f"return {{go = function() {ENDLESS[where]} end}}")
    guest = program.start(make_run("go"), LIMITS)
    for _ in range(steps):
        assert guest.step(QUANTUM_FUEL, frees_lock=False).kind is StepKind.YIELDED
    guest.close()
    assert run("return 42").value == 42


def test_lua_guest_module_variables_do_not_survive(load: Load) -> None:
    """Globals, upvalues, metatables and library tables are as the module left them."""
    program = load(
        "local n = 0 local m = {} function m.go() n = n + 1 g = (g or 0) + 1 "
        "string.format = nil getmetatable('').__index.x = (('').x or 0) + 1 "
        "return {n, g, ('').x} end return m"
    )
    seen: list[bytes] = []
    for _ in range(3):
        guest = program.start(make_run("go"), LIMITS)
        step = guest.step(10_000_000, frees_lock=False)
        seen.append(step.data)
        guest.close()
    assert seen[0][:5] == b"\x95\x00\x93\x01\x01"
    assert seen[0] == seen[1] == seen[2]


def test_lua_guest_finds_no_memory_of_the_one_before(load: Load) -> None:
    """After a guest that filled its memory with a secret, the next one's memory has none of it."""
    filler = load(
        "return {go = function() local t = {} for i = 1, 100 do "
        "t[i] = 'SECRET' .. i .. ('s'):rep(60) end return #t end}"
    )
    guest = filler.start(make_run("go"), LIMITS)
    assert guest.step(10_000_000, frees_lock=False).kind is StepKind.FINISHED
    guest.close()
    after = load("return {go = function() return 1 end}").start(make_run("go"), LIMITS)
    cell = after.cell  # pyright: ignore[reportAttributeAccessIssue]
    assert b"SECRET1" not in cell.copy_memory()
    after.close()


def test_lua_guest_burns_the_same_fuel_every_time(run: Run) -> None:
    """Fuel and outcome are a function of the run: not of slices, lock, recycling or order."""
    body = """
    local t = {}
    for i = 1, 200 do t[#t + 1] = tostring(i * 7919 % 101) .. math.random(1000) end
    table.sort(t)
    for i = 1, 20 do pcall(error, {code = i}) end
    local s = table.concat(t, ','):gsub('%d+', function(d) return #d end)
    return {s, tostring({}), #self.id}
    """
    seen = set()
    for quantum_fuel, frees_lock in itertools.product((1_000, 77_777, 10**9), (False, True)):
        run("error('between')")
        ran = run(body, quantum_fuel=quantum_fuel, frees_lock=frees_lock)
        assert ran.step.kind is StepKind.FINISHED, ran.step
        seen.add((ran.fuel_used, ran.step.data))
    assert len(seen) == 1


def test_lua_guest_has_a_seed_of_its_own(run: Run) -> None:
    """Randomness follows the run's seed, not the image's."""
    values = [run("return math.random(1 << 40)", seed=seed).value for seed in (1, 2, 1)]
    assert values[0] == values[2] != values[1]


def test_lua_guest_sees_an_error_before_it_is_ended_for_memory(run: Run) -> None:
    """Out of memory is a Lua error first, and the guest may go on with what is left."""
    ran = run(
        "local t = {} local ok, e = pcall(function() while true do "
        "t[#t + 1] = ('x'):rep(10000) .. #t end end) t = nil return {ok, e}",
        limits=replace(LIMITS, memory_bytes=1 << 20),
    )
    assert ran.value == [False, "not enough memory"]
    assert ran.memory_bytes <= 1 << 20


@pytest.mark.parametrize(
    "bomb",
    [
        "return ('x'):rep(1 << 32)",
        "return ('x'):rep(1 << 31)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t = {t} t[1][2] = ('x'):rep(100) .. tostring(t) end",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "return string.format('%99.99f', 1):rep(1e8)",
    ],
)
def test_lua_guest_memory_bomb_is_contained(run: Run, bomb: str) -> None:
    """A bomb ends as an error of the handler or the guest; its memory never passes the limit."""
    limits = replace(LIMITS, memory_bytes=2 << 20, fuel=500_000_000)
    ran = run(bomb, limits=limits, quantum_fuel=10**9)
    assert ran.memory_bytes <= 2 << 20
    assert ran.error is not None or ran.step.code == "guest.out_of_memory", ran.step


@pytest.mark.parametrize(
    "recursion",
    [
        "local function f() return f() + 1 end return f()",
        "local f f = function(s) return (s:gsub('.', f)) end return f('x')",
        (
            "local t = {} setmetatable(t, {__index = function(t, k) return t[k .. 'x'] end}) "
            "return t.a"
        ),
        "local function f() return coroutine.wrap(f)() end return f()",
        "local function f() return pcall(f) end return f()",
        "local function f() table.sort({1, 2, 3}, function(a, b) f() return a < b end) end f()",
        "return load(('('):rep(5000) .. '1' .. (')'):rep(5000))()",
        "return assert(load('return ' .. ('{'):rep(5000) .. ('}'):rep(5000)))()",
        "return (('a'):rep(300000)):match(('(a'):rep(30) .. (')'):rep(30))",
        "return (('x'):rep(500000)):match('.-b')",
        (
            "local t = {} t.__tostring = function(x) return tostring(x) end "
            "return tostring(setmetatable({}, t))"
        ),
    ],
)
def test_lua_guest_recursion_is_contained(run: Run, recursion: str) -> None:
    """Recursion through anything is an error of the handler, or an end: never of the process."""
    ran = run(recursion, limits=replace(LIMITS, fuel=500_000_000), quantum_fuel=10**9)
    assert ran.step.kind in (StepKind.FINISHED, StepKind.ENDED)
    assert ran.step.detail != "stack overflow", "Lua's own limit must bite first"


def test_lua_guest_asks_from_anywhere(run: Run) -> None:
    """A system call suspends from a comparator, a callback, a protected call and a coroutine."""
    ran = run(
        """
        local get = function(key) return self.state[key] end
        local t = {3, 1, 2}
        table.sort(t, function(a, b) local _ = get('s' .. a .. b) return a < b end)
        local s = ('abc'):gsub('.', function(c) return get(c) or 'z' end)
        local ok = pcall(function() local _ = get('p') error('boom') end)
        local co = coroutine.wrap(function() coroutine.yield(get('c') == nil) end)
        return {t, s, ok, co()}
        """
    )
    assert ran.value == [[1, 2, 3], "zzz", False, True]
    assert ran.asked == 6  # two or three comparisons, a, b, c (asked once), p


def test_lua_guest_system_calls_are_counted(run: Run) -> None:
    """A million system calls end at the limit, inside a protected call or not."""
    ran = run(
        "for i = 1, 1e6 do pcall(function() return self.state['k' .. i] end) end",
        limits=replace(LIMITS, calls=1234),
        quantum_fuel=10**9,
    )
    assert (ran.step.code, ran.asked) == ("guest.out_of_calls", 1234)


def test_lua_guest_that_throws_uses_up_its_quanta(run: Run) -> None:
    """Collecting the exceptions a guest has caught is no reason to yield before its time."""
    limits = replace(LIMITS, fuel=60_000_000)
    ran = run("while true do pcall(error) end", limits=limits, quantum_fuel=10_000_000)
    assert (ran.step.code, ran.yields) == ("guest.out_of_fuel", 5)


def drive(guest: Guest) -> tuple[bytes, int]:
    """Steps a guest that asks nothing to its end; returns (outcome, fuel)."""
    while True:
        step = guest.step(5_000, frees_lock=True)
        if step.kind is not StepKind.YIELDED:
            return step.data or step.code.encode(), guest.fuel_used


def test_lua_guests_on_two_threads_keep_their_errors_apart(load: Load) -> None:
    """Two guests at once on two threads get the outcome and fuel each would have alone."""
    programs = [
        load(f"return {{go = function(self, n) {body} end}}")
        for body in (
            "for i = 1, 2000 do pcall(error, 'a') end error({code = 'a' .. n})",
            "for i = 1, 2000 do tostring(i) end return 'b' .. n",
        )
    ]
    guests = [
        [program.start(make_run("go", number), LIMITS) for number in range(20)]
        for program in programs
        for _ in ("alone", "together")
    ]
    alone = [[drive(guest) for guest in guests[index]] for index in (0, 2)]
    together: list[list[tuple[bytes, int]]] = [[], []]
    barrier = threading.Barrier(2)

    def drive_all(index: int) -> None:
        barrier.wait()
        together[index] = [drive(guest) for guest in guests[2 * index + 1]]

    threads = [threading.Thread(target=drive_all, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for guest in itertools.chain(*guests):
        guest.close()
    assert alone == together
    assert b"a7" in alone[0][7][0]
    assert b"b7" in alone[1][7][0]


def test_lua_guests_run_beside_a_long_one_on_another_thread(load: Load) -> None:
    """The node's thread starts, runs and closes guests while another thread steps a long one."""
    program = load(
        "return {go = function(self, n) return n end, "
        "long = function() while true do pcall(error) end end}"
    )
    long = program.start(make_run("long"), replace(LIMITS, fuel=10**15))
    is_over = threading.Event()
    kinds: set[StepKind] = set()

    def step_long() -> None:
        while not is_over.is_set():
            kinds.add(long.step(1_000_000, frees_lock=True).kind)

    thread = threading.Thread(target=step_long)
    thread.start()
    values: list[bytes] = []
    for number in range(100):
        guest = program.start(make_run("go", number), LIMITS)
        values.append(guest.step(QUANTUM_FUEL, frees_lock=False).data)
        guest.close()
    is_over.set()
    thread.join()
    long.close()
    assert kinds == {StepKind.YIELDED}
    assert [bytes(decode_outcome(value).body) for value in values] == [
        msgspec.msgpack.encode(number) for number in range(100)
    ]


@pytest.mark.slow
@pytest.mark.skipif(not count_mappings(), reason="the system does not list mappings")
def test_lua_guests_stopped_in_mid_run_cost_four_mappings_each(
    lua_engine: Engine, load: Load
) -> None:
    """What 10,000 guests cost is what 1,000 show: four mappings, and memory only where used."""
    program = load("return {go = function() while true do end end}")
    before = count_mappings()
    guests = [program.start(make_run("go"), LIMITS) for _ in range(1000)]
    assert {guest.step(1000, frees_lock=False).kind for guest in guests} == {StepKind.YIELDED}
    used = count_mappings() - before
    estimate = lua_engine.statistics()["mappings"]
    assert used <= 4 * len(guests) + 16
    assert estimate >= 4 * len(guests)
    for guest in guests:
        guest.close()


def test_lua_guest_throws_without_end_in_bounded_memory(run: Run) -> None:
    """Two hundred thousand caught errors cost no memory that stays."""
    ran = run(
        "for i = 1, 200000 do pcall(error) end return 1",
        limits=replace(LIMITS, fuel=2_000_000_000),
        quantum_fuel=10**9,
    )
    assert ran.value == 1
    assert ran.memory_bytes < 1 << 20


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("local x = \n\n= 3", 3, None),
        ("return {\n go = function(self\n return 1 end }", 3, ")"),
        ("for i = 1 do end", 1, ","),
        ("error('at load')", 1, None),
        ("local t = nil\nreturn t.x", 2, None),
    ],
)
def test_lua_source_that_does_not_load_says_where(
    load: Load, text: str, line: int, expected: str | None
) -> None:
    """A syntax or run-time error while loading names file, line and what was expected."""
    with pytest.raises(CompileFailed) as caught:
        load(text, "shop/cart.lua")
    assert caught.value.fields["file"] == "shop/cart.lua"
    assert caught.value.fields["line"] == line
    assert caught.value.fields.get("expected") == expected
    assert "shop/cart.lua" in caught.value.message


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("while true do end", "fuel"),
        ("while true do pcall(error) end", "fuel"),
        (
            "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1e4) .. #t end) end",
            "fuel",
        ),
    ],
)
def test_lua_source_that_never_loads_meets_its_limit(load: Load, text: str, limit: str) -> None:
    """Top-level loops and bombs end under the limits of the deploy, with the file's name."""
    with pytest.raises(LimitExceeded) as caught:
        load(text, "loop.lua", Limits(fuel=2_000_000, memory_bytes=2 << 20))
    assert caught.value.fields["limit"] == limit
    assert caught.value.fields["file"] == "loop.lua"


def test_lua_source_may_not_ask_while_it_loads(lua_engine: Engine) -> None:
    """The image depends on module code alone: there is no self, and no system call but log."""
    text = b"print('hello') return {go = function() return 1 end, _hidden = function() end}"
    program = lua_engine.load(
        Source(language="lua", name="m.lua", text=text, digest="log-at-load"), LIMITS
    )
    assert program.handler_names == ("go",)


def test_lua_bytecode_is_refused(lua_engine: Engine) -> None:
    """A binary chunk is not loaded, whatever it says it is."""
    with pytest.raises(CompileFailed):
        lua_engine.load(
            Source(language="lua", name="m.lua", text=b"\x1bLuaT\0\x19\x93", digest="bytecode"),
            LIMITS,
        )


def test_module_larger_than_the_inbox_runs(load: Load) -> None:
    """A long source is read from a place of its own, and the run's short message from the inbox."""
    program = load("local m = {} function m.go() return 42 end --" + "x" * 20_000 + "\nreturn m")
    guest = program.start(make_run("go"), LIMITS)
    step = guest.step(10 * QUANTUM_FUEL, frees_lock=False)
    guest.close()
    assert msgspec.msgpack.decode(decode_outcome(step.data).body) == 42

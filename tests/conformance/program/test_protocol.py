"""The messages between a program guest and its host, both ways, in every version of Lua."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lithox.errors import CompileFailed
from lithox.sandbox.contract import StepKind
from tests.conformance.program.harness import (
    LIMITS,
    NOTHING,
    NOW_MS,
    Machine,
    context,
    finish,
    make_message,
    plain,
)

# ---- start and end ----


def test_arguments_and_returned_values_keep_their_holes(machine: Machine) -> None:
    """A nil among arguments or results stays where it is, also at the end."""
    assert machine.values("return select('#', ...), ...", 1, None, "x", None) == [
        4,
        *(1, None, "x", None),
    ]


def test_start_function_gets_main_starters_and_info(machine: Machine) -> None:
    """What is registered is called with main, what the runtimes returned, info, and arguments."""
    program = machine.load(
        "return seen, info.pid, info.contexts.log, ...",
        ("rt", "return function(info) seen = 'rt ' .. info.name end"),
        ("other", "return 5"),
    )
    guest = program.start(make_message("a"), LIMITS)
    assert finish(guest).values == ["rt m", 7, 3, "a"]
    guest.close()


def test_error_has_code_message_traceback_and_data(machine: Machine) -> None:
    """A raised table is told as handlers' are."""
    ran = machine.run("error({code = 'a.b', message = 'no', size = 3})")
    assert ran.error is not None
    assert (ran.error.code, ran.error.message) == ("a.b", "no")
    assert "m.lua:1" in ran.error.traceback
    data = msgspec.msgpack.decode(ran.error.data)
    assert data == {"code": "a.b", "message": "no", "size": 3}


def test_failing_message_names_chunk_and_line(machine: Machine) -> None:
    """An error of main says where it was raised."""
    assert machine.error("\nlocal t = nil\nt.x = 1").startswith("m.lua:3: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("error('boo', 0)", "rt: boo"),
        ("\nerror('boo')", "rt:2: boo"),
        ("error({message = 'boo'})", "rt: boo"),
        ("error()", "rt: nil"),
        ("x = = 1", "rt:1: unexpected symbol near '='"),
    ],
)
def test_failing_runtime_is_named(machine: Machine, text: str, message: str) -> None:
    """A runtime that fails to load is named in message and fields, whatever it raised."""
    with pytest.raises(CompileFailed) as caught:
        machine.load("return 1", ("rt", text))
    if machine.version == "5.5":
        message = message.replace("rt: nil", "rt: <no error object>")
    assert caught.value.message == message
    assert caught.value.fields["file"] == "rt"


def test_failing_main_is_named(machine: Machine) -> None:
    """A program that does not compile names its file and line."""
    with pytest.raises(CompileFailed) as caught:
        machine.load("\n\nx = = 1")
    assert caught.value.message == "m.lua:3: unexpected symbol near '='"
    assert (caught.value.fields["file"], caught.value.fields["line"]) == ("m.lua", 3)


def test_main_is_compiled_and_not_run_while_it_loads(machine: Machine) -> None:
    """Loading compiles main; each run begins with memory as it was then."""
    program = machine.load("count = (count or 0) + 1 return count")
    for _ in range(3):
        guest = program.start(make_message(), LIMITS)
        assert finish(guest).values == [1]
        guest.close()


def test_system_calls_are_refused_while_a_program_loads(machine: Machine) -> None:
    """What runs while the image is made reaches nothing outside."""
    for call in ("sys.call('time')", "sys.invoke('call')", "sys.pull(1)"):
        with pytest.raises(CompileFailed, match="not while a program is loaded"):
            machine.load("return 1", ("rt", call))


def test_first_line_for_a_shell_is_skipped(machine: Machine) -> None:
    """A file that begins with `#!` runs, and its lines keep their numbers."""
    assert machine.values("#!/usr/bin/lua\nreturn 1") == [1]
    assert machine.error("#!/usr/bin/lua\nerror('x')") == "m.lua:2: x"


def test_version_is_told(machine: Machine) -> None:
    """`sys.version` is the version of Lua."""
    assert machine.values("return sys.version, _VERSION") == [
        machine.version,
        f"Lua {machine.version}",
    ]


def test_exit_ends_the_run_wherever_it_is_called(machine: Machine) -> None:
    """Nothing catches an exit: not pcall, not a coroutine, not a metamethod, not a comparator."""
    ran = machine.run(
        """
        pcall(function()
          coroutine.wrap(function()
            table.sort({3, 1, 2}, function()
              local t = setmetatable({}, {__index = function() sys.call('exit', 5, {'a'}) end})
              return t.x
            end)
          end)()
        end)
        return 'went on'
        """
    )
    assert ran.calls == [[0, "exit", 5, ["a"], []]]
    assert ran.values == []


def test_guest_that_exited_is_used_again(machine: Machine) -> None:
    """A cell whose run left by an exit serves the next run, which begins afresh."""
    machine.run("")
    before = machine.engine.statistics()
    assert machine.run("x = 1 sys.call('exit', 0, {})").values == []
    assert machine.values("return x, pcall(error, 'e')")[:2] == [None, False]
    after = machine.engine.statistics()
    assert after["recycled_guests"] > before["recycled_guests"]


def test_refused_exit_raises(machine: Machine) -> None:
    """An exit the host refuses is an error like any other."""
    ran = machine.run("sys.call('exit', 0)", answer=lambda _call: [9, [], "a.b", "no"])
    assert ran.error is not None
    assert ran.error.message == "m.lua:1: exit was refused"


# ---- calls ----


def test_call_sends_its_arguments_one_by_one(machine: Machine) -> None:
    """[0, name, ...arguments, shared], nils kept; the answer's status and values come back."""
    ran = machine.run(
        "return sys.call('do', nil, 'x', {1, 2}, nil)", answer=lambda _call: [0, [], 1, None, "y"]
    )
    assert ran.calls == [[0, "do", None, "x", [1, 2], None, []]]
    assert ran.values == [0, 1, None, "y"]


def test_invoke_sends_its_varargs_as_one_list(machine: Machine) -> None:
    """[0, name, a, b, timeout, [varargs], shared], nils kept; missing ones are nil."""
    ran = machine.run("sys.invoke('call', 3, 'n', nil, 1, nil, 'x', nil) sys.invoke('push', 1)")
    assert ran.calls == [
        [0, "call", 3, "n", None, [1, None, "x", None], []],
        [0, "push", 1, None, None, [], []],
    ]


def test_refusal_is_a_status_with_its_values(machine: Machine) -> None:
    """A refused call raises nothing: status, code and message are returned."""
    ran = machine.run("return sys.call('x')", answer=lambda _call: [53, [], "a.b", "no such"])
    assert ran.values == [53, "a.b", "no such"]


def test_contexts_travel_both_ways(machine: Machine) -> None:
    """Shared contexts go out as indexes into the call's list and come in as plain numbers."""
    ran = machine.run(
        """
        local a, b = sys.share(7), sys.share(900)
        local status, first, second = sys.invoke('answer', 1, 0, nil, {a, x = nil}, {b = b}, a)
        return first, second.deep[1]
        """,
        answer=lambda _call: [0, [40, 41], context(1), {"deep": [context(0)]}],
    )
    name, args, shared = ran.calls[0][1], plain(ran.calls[0][5]), ran.calls[0][6]
    assert (name, shared) == ("answer", [7, 900, 7])
    assert args == [["context 0"], {"b": "context 1"}, "context 2"]
    assert ran.values == [41, 40]


def test_shared_list_begins_empty_with_each_call(machine: Machine) -> None:
    """What one call shared does not travel with the next, nor with one that failed before it."""
    ran = machine.run("pcall(sys.call, 'a', sys.share(1), print or {[true] = 1}) sys.call('b', 2)")
    assert ran.calls[-1] == [0, "b", 2, []]


def test_contexts_are_no_exit_values(machine: Machine) -> None:
    """A context cannot be returned from main: there is nobody to hold it."""
    assert "contexts are shared in answers" in machine.error("return sys.share(1)")


@pytest.mark.parametrize("number", ["-1", "1.5", "'x'", "0/0", "2^40", "nil", "{}"])
def test_only_numbers_of_contexts_are_shared(machine: Machine, number: str) -> None:
    """`sys.share` takes whole numbers from 0 on."""
    assert "bad argument #1" in machine.error(f"sys.share({number})")


def test_at_most_256_contexts_in_a_message(machine: Machine) -> None:
    """More are an error of the call, not of the guest."""
    text = "local t = {} for i = 1, %d do t[i] = sys.share(i) end return sys.call('x', t)"
    assert machine.values(text % 256) == [0]
    assert "at most 256 contexts" in machine.error(text % 257)


def test_large_messages_pass_both_ways(machine: Machine) -> None:
    """Messages beyond the inbox and the first answer buffer arrive whole."""
    big = "y" * 300_000
    ran = machine.run(
        "local _, text = sys.call('x', (...) .. '!') return #text, text:sub(-1), ...",
        big,
        answer=lambda call: [0, [], call[2] + "?"],
    )
    assert ran.values == [300_002, "?", big]


def test_program_of_more_than_the_inbox_runs(machine: Machine) -> None:
    """A text longer than the static inbox is loaded and then runs with a short message."""
    assert machine.values("return ... --" + "x" * 20_000, 5) == [5]


# ---- events ----

EVENTS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("call", [5, 2, "add", 9, [1, None, "x"]], {"cid": 5, "ctx": 2, "name": "add", "pid": 9}),
    ("answer", [5, 0, [1, None, "x"]], {"cid": 5, "status": 0}),
    ("open", [2, 9], {"ctx": 2, "pid": 9}),
    ("close", [2, 9], {"ctx": 2, "pid": 9}),
    (
        "message",
        [2, "news", 9, [1, None, "x"], 3],
        {"ctx": 2, "queue": "news", "pid": 9, "missed": 3},
    ),
    (
        "exit",
        [9, 0, None, None, [1, None, "x"]],
        {"pid": 9, "status": 0},
    ),
    ("exit", [9, 4, "a.b", "why", []], {"pid": 9, "status": 4, "code": "a.b", "message": "why"}),
]
LISTS = {"call": "args", "answer": "args", "message": "args", "exit": "values"}


@pytest.mark.parametrize(("kind", "array", "fields"), EVENTS)
def test_pull_builds_each_event(
    machine: Machine, kind: str, array: list[Any], fields: dict[str, Any]
) -> None:
    """Every event is a table of exactly the fields of its type; lists carry their length."""
    values = machine.values(
        """
        local event, list = sys.pull(100), nil
        local copy = {}
        for key, value in pairs(event) do
          if type(value) == 'table' then list = value else copy[key] = value end
        end
        if list then return copy, list.n, list[1], list[2], list[3] end
        return copy
        """,
        answer=lambda _call: [0, [], kind, *array],
    )
    assert values[0] == {"type": kind, **fields}
    if kind in LISTS:
        args = next(cast("list[Any]", item) for item in array if isinstance(item, list))
        assert values[1:] == [len(args), *args, *[None] * (3 - len(args))]


def test_pull_asks_with_its_timeout(machine: Machine) -> None:
    """[0, "pull", timeout, []]; an empty answer is nil, a refusal nil and what was said."""
    ran = machine.run("return sys.pull(250), sys.pull()")
    assert ran.calls == [[0, "pull", 250, []], [0, "pull", None, []]]
    assert ran.values == [None, None]
    ran = machine.run("return sys.pull()", answer=lambda _call: [9, [], "a.b", "no"])
    assert ran.values == [None, 9, "a.b", "no"]


def test_pull_gives_contexts_of_answers(machine: Machine) -> None:
    """Contexts in an answer event are numbers of the receiver."""
    values = machine.values(
        "local e = sys.pull() return e.args[1], e.args[2].x",
        answer=lambda _call: [0, [11, 12], "answer", 1, 0, [context(1), {"x": context(0)}]],
    )
    assert values == [12, 11]


# ---- values ----

ROUND_TRIP: list[Any] = [
    *(True, False, 0, 1, -1, 127, 128, -32, -33, 255, 256, 65535, 65536, 2**31 - 1, 2**31),
    *(2**32, -(2**31), -(2**31) - 1, 2**53, -(2**53), 0.5, -1.25, 1e300),
    *("", "text", "\u20ac\U0001f600", b"\xff\xfe", "x" * 40, "x" * 300, "x" * 70_000),
    *([1, [2, ["three"]]], {"a": {"b": [1.5]}}, [None, 1, None], {"a": None}),
    *({"k" * 40: 1}, list(range(20)), {f"k{i:02}": i for i in range(20)}),
]


def test_values_come_back_equal(machine: Machine) -> None:
    """What a program is given and gives back is the same, in type too."""
    for value in ROUND_TRIP:
        given = machine.values("return (...)", value)[0]
        assert given == value, value
        assert type(given) is type(value), value


def test_integers_of_64_bits_are_exact(modern: Machine) -> None:
    """From 5.3 on integers are integers, and floats stay floats."""
    values = [2**63 - 1, -(2**63), 2**53 + 1, 3.0, -0.0]
    assert modern.values("return ...", *values) == values
    assert [type(value) for value in modern.values("return ...", 3, 3.0)] == [int, float]
    assert modern.values("return math.type(...)", 3) == ["integer"]


def test_numbers_of_early_versions_are_doubles(early: Machine) -> None:
    """5.1 and 5.2: whole doubles within 2^53 go out as integers, others as floats."""
    given = early.values("return ..., 2^53, 2^53 * 2, -2^53, 7 / 2, 6 / 2, -0", 2**63 - 1)
    assert given == [float(2**63 - 1), 2**53, float(2**54), -(2**53), 3.5, 3, given[-1]]
    assert [type(value) for value in given[:6]] == [float, int, float, int, float, int]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("sys.call", "a function is not a value"),
        ("coroutine.create(function() end)", "a thread is not a value"),
        ("0/0", "NaN is not a value"),
        ("1/0", "infinity is not a value"),
        ("{1, x = 2}", "a table is a list or a map, not both"),
        ("{[1] = 1, [3] = 3}", "a list has the keys 1..n without holes"),
        ("{[true] = 1}", "keys are text, or the integers 1..n of a list"),
        ("{[0] = 1}", "keys are text, or the integers 1..n of a list"),
        ("{[1.5] = 1}", "keys are text, or the integers 1..n of a list"),
        ("{['\\255'] = 1}", "keys are valid UTF-8 text"),
        ("(function() local t = {} t[1] = t return t end)()", "contains itself is not a value"),
        (
            "(function() local t = {} for i = 1, 64 do t = {t} end return t end)()",
            "values nest at most 64 levels deep",
        ),
    ],
)
def test_what_is_no_value_raises(machine: Machine, value: str, problem: str) -> None:
    """A call with something that cannot travel raises and sends nothing; the program goes on."""
    ran = machine.run(f"local ok, e = pcall(sys.call, 'x', 1, {value}) sys.call('y') return e")
    assert ran.values is not None
    assert problem in ran.values[0]
    assert ran.values[0].startswith("argument[2]") or ": argument[2]" in ran.values[0]
    assert ran.calls == [[0, "y", []]]


def test_values_made_by_lithox_travel(machine: Machine) -> None:
    """`lithox.null`, `lithox.list`, `lithox.bytes` mean what they mean for handlers."""
    ran = machine.run(
        "sys.call('x', lithox.null, lithox.list{}, {}, lithox.bytes('hi'), {lithox.null})"
    )
    assert ran.calls[0][2:-1] == [None, [], {}, b"hi", [None]]


def test_63_levels_come_in(machine: Machine) -> None:
    """Values as deep as the bound are read; deeper ones are malformed and raise."""
    deep: Any = 1
    for _ in range(64):
        deep = [deep]
    text = (
        "local _, t = sys.call('x') local n = 0 while type(t) == 'table' do t = t[1] n = n + 1 end"
    )
    assert machine.values(f"{text} return n", answer=lambda _call: [0, [], deep]) == [64]
    assert "malformed" in machine.error(text, answer=lambda _call: [0, [], [deep]])


# ---- malformed answers ----

MALFORMED: list[bytes] = [
    b"",
    b"\xc1",
    b"\x00",
    b"\x90",
    b"\x91\x00",
    b"\x92\x00\x00",
    b"\x92\xa1x\x90",
    b"\x92\x00\x91\xa1x",
    b"\x93\x00\x90",
    b"\x93\x00\x90\xdd\xff\xff\xff\xff",
    b"\x93\x00\x90\xdf\xff\xff\xff\xff",
    b"\x93\x00\x90\xdb\xff\xff\xff\xff",
    b"\x93\x00\x90\x81\x01\x02",
    b"\x93\x00\x90\xd6\x01\x00\x00\x00\x00",
    b"\x93\x00\x91\x05\xd6\x01\x00\x00\x00\x01",
    b"\x93\x00\x91\x05\xd6\x02\x00\x00\x00\x00",
    b"\x93\x00\x90\xd4\x01\x00",
    b"\xdd\xff\xff\xff\xff\x00\x90",
    b"\x92\x00\xdd\xff\xff\xff\xff",
    b"\x93\x00\x90" + b"\x91" * 70 + b"\x01",
]
CALLS = {"call": "sys.call('x')", "invoke": "sys.invoke('x')", "pull": "sys.pull()"}


@pytest.mark.parametrize("call", CALLS)
def test_malformed_answers_raise(machine: Machine, call: str) -> None:
    """No bytes of an answer crash the guest: it raises, and the next call works."""
    text = f"local ok, e = pcall(function() return {CALLS[call]} end) sys.call('y') return ok, e"
    for answer in MALFORMED:
        ran = machine.run(text, answer=lambda c, a=answer: a if c[1] != "y" else NOTHING)
        assert ran.values is not None, (answer, ran)
        assert ran.values[0] is False, answer
        assert "malformed message from the host" in ran.values[1]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_answer_is_survived(machine: Machine, data: st.DataObject) -> None:
    """Whatever bytes an answer has, the guest finishes by itself."""
    base = msgspec.msgpack.encode([0, [1], "call", 1, 2, "n", 3, [1, {"a": [None]}]])
    answer = bytearray(data.draw(st.one_of(st.binary(max_size=40), st.just(base))))
    for _ in range(data.draw(st.integers(0, 3))):
        if answer:
            at = data.draw(st.integers(0, len(answer) - 1))
            answer[at] = data.draw(st.integers(0, 255))
    text = "pcall(sys.call, 'x') pcall(sys.pull) return collectgarbage('count') > 0"
    ran = machine.run(text, answer=lambda _call: bytes(answer))
    assert ran.step.kind is StepKind.FINISHED, ran.step
    assert ran.values == [True]


# ---- time and chance ----


def test_clock_and_time(machine: Machine) -> None:
    """`os.time` is the start, `os.clock` the fuel time that `usage` says."""
    values = machine.values(
        "return os.time(), os.clock(), os.date('!%Y')",
        answer=lambda _call: [0, [], {"used": {"fuel": 6_000_000_000}}],
    )
    assert values == [NOW_MS // 1000, 1.5, "2026"]


def test_randomness_follows_the_seed(machine: Machine) -> None:
    """Runs of one seed draw the same numbers, runs of another seed others."""
    text = "local t = {} for i = 1, 5 do t[i] = math.random(1000000) end return t"
    first, again = machine.values(text, seed=5), machine.values(text, seed=5)
    assert first == again != machine.values(text, seed=6)

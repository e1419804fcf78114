"""os.call and its kin: which system call each makes, and what it returns."""

from __future__ import annotations

import re

import pytest

from lithox.errors import TABLE
from tests.unit.runtimes.fake_world import Exited, FakeWorld

DONE = (0, True)
CLOSED = (52, "context.closed", "its owner has closed it")


@pytest.mark.parametrize(
    ("code", "call", "answer", "returned"),
    [
        ("os.context()", ("context", ()), (0, 4), 4),
        ("os.close(4)", ("close", (4,)), DONE, True),
        ("os.revoke(4)", ("revoke", (4, None)), (0, 2), 2),
        ("os.revoke(4, 9)", ("revoke", (4, 9)), (0, 1), 1),
        ("os.bind(4, 'a*')", ("bind", (4, "a*")), DONE, True),
        ("os.unbind(4, 'a')", ("unbind", (4, "a")), DONE, True),
        ("os.call(4, 'n', 1, nil, 'x')", ("call", (4, "n", None, [1, None, "x"])), (0, 11), 11),
        ("os.call_within(250, 4, 'n')", ("call", (4, "n", 250, [])), (0, 12), 12),
        ("os.call_within(0.5, 4, 'n')", ("call", (4, "n", 1, [])), (0, 12), 12),
        ("os.answer(3, 0, 'v', nil)", ("answer", (3, 0, None, ["v", None])), DONE, True),
        ("os.push(4, 'q', 1)", ("push", (4, "q", None, [1])), (0, 2, 1), [2, 1]),
        ("os.listen(4, 'q')", ("listen", (4, "q", None, None)), DONE, True),
        (
            "os.listen(4, 'q', {limit = 2, overflow = 'drop_newest'})",
            ("listen", (4, "q", 2, "drop_newest")),
            DONE,
            True,
        ),
        ("os.unlisten(4, 'q')", ("unlisten", (4, "q")), DONE, True),
        ("os.sleep(7)", ("sleep", (7,)), (0,), True),
        ("os.kill(9)", ("kill", (9, None)), DONE, True),
        ("os.kill(9, 'old')", ("kill", (9, "old")), DONE, True),
        ("os.info()", ("info", (None,)), (0, {"pid": 7}), {"pid": 7}),
        ("os.info(9)", ("info", (9,)), (0, {"pid": 9}), {"pid": 9}),
        ("os.usage()", ("usage", ()), (0, {"used": 1}), {"used": 1}),
    ],
)
def test_function_makes_its_system_call(
    world: FakeWorld,
    code: str,
    call: tuple[str, object],
    answer: tuple[object, ...],
    returned: object,
) -> None:
    """Each function sends exactly its arguments and returns the answer's values."""
    world.answers[call[0]] = lambda *_: answer
    assert world.run(f"return {code}") == returned
    assert world.calls == [call]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("os.context()", "context"),
        ("os.close(4)", "close"),
        ("os.call(4, 'n')", "call"),
        ("os.answer(3, 0)", "answer"),
        ("os.push(4, 'q')", "push"),
        ("os.get_program('x')", "request"),
        ("os.run_code('return 1')", "run"),
    ],
)
def test_refusal_is_nil_status_message(world: FakeWorld, code: str, name: str) -> None:
    """What the node refuses is returned as nil, the status and the message."""
    world.answers[name] = lambda *_: CLOSED
    assert world.run(f"return {code}") == [None, 52, "its owner has closed it"]


def test_request_returns_the_status_first(world: FakeWorld) -> None:
    """A request's answer is its status and values, whatever the status is."""
    world.answers["request"] = lambda *_: (1001, "sold out", None, 3)
    assert world.run("return os.request(1, 'buy', 2)") == [1001, "sold out", None, 3]
    world.answers["request"] = lambda *_: CLOSED
    assert world.run("return os.request_within(10, 1, 'buy')") == list(CLOSED)
    assert world.asked("request") == [(1, "buy", None, [2]), (1, "buy", 10, [])]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("os.call('1', 'n')", "bad argument #1 to 'os.call' (number expected, got string)"),
        ("os.call(1)", "bad argument #2 to 'os.call' (string expected, got nil)"),
        ("os.request({}, 'n')", "bad argument #1 to 'os.request' (number expected, got table)"),
        ("os.answer(1)", "bad argument #2 to 'os.answer' (number expected, got nil)"),
        ("os.pull('x')", "bad argument #1 to 'os.pull' (number expected, got string)"),
        ("os.sleep()", "bad argument #1 to 'os.sleep' (number expected, got nil)"),
        (
            "os.revoke(1, 'x')",
            "bad argument #2 to 'os.revoke' (number or nil expected, got string)",
        ),
        ("os.share()", "bad argument #1 to 'os.share' (number expected, got nil)"),
        ("os.run(1)", "bad argument #1 to 'os.run' (string or function expected, got number)"),
        ("os.run('a', {arg = {}})", "bad argument #2 to 'os.run' (unknown option 'arg')"),
        (
            "os.run_code('a', {args = 1})",
            "bad argument #2 to 'os.run_code' (option 'args': table expected, got number)",
        ),
        (
            "os.listen(1, 'q', {overflow = 1})",
            "bad argument #3 to 'os.listen' (option 'overflow': string expected, got number)",
        ),
        ("os.exit(70000)", None),
        ("os.exit(1.5)", None),
        ("os.call_within(-1, 1, 'n')", None),
        ("os.pull(0/0)", None),
        ("task.spawn(1)", "bad argument #1 to 'task.spawn' (function expected, got number)"),
        ("task.join(1)", "bad argument #1 to 'task.join' (task expected, got number)"),
        ("task.pull(1)", None),
    ],
)
def test_wrong_type_raises_at_the_programs_line(
    world: FakeWorld, code: str, message: str | None
) -> None:
    """An argument of a wrong type is an error that names function, place and line."""
    said = world.run(f"local ok, said = pcall(function()\nlocal x = {code}\nend) return said")
    assert said.startswith("main:2: bad argument #")
    if message is not None:
        assert said == f"main:2: {message}"
    assert world.calls == []


def test_status_numbers_are_the_error_table(world: FakeWorld) -> None:
    """os.status has every code under its name in capitals, and status_name goes back."""
    for code, row in TABLE.items():
        name = re.sub(r"\.", "_", code).upper()
        assert world.run(f"return os.status.{name}, os.status_name({row.guest_status})") == [
            row.guest_status,
            code,
        ]
    assert world.run("return os.status.OK, os.status_name(0)") == [0, "ok"]
    assert world.run("return os.status_name(1001), os.status_name(999)") == ["app.1001", None]


def test_process_knows_its_number_and_contexts(world: FakeWorld) -> None:
    """os.pid and os.contexts are there when main runs, arguments as they were given."""
    assert world.run("return os.pid, os.contexts.store, select('#', ...), ...", 1, None, "x") == [
        7, 3, 3, 1, None, "x",
    ]  # fmt: skip


def test_pull_returns_the_event_as_it_is(world: FakeWorld) -> None:
    """Without tasks os.pull is the guest's own pull: the event's table, or nil in the end."""
    world.add_event("call", cid=5, ctx=1, name="hello", pid=2, args=[1, None])
    assert world.run("local e = os.pull() return e.type, e.cid, e.args.n, e.args[1]") == [
        "call", 5, 2, 1,
    ]  # fmt: skip
    assert world.run("return os.pull(20)") is None
    assert world.asked("pull") == [(None,), (20,)]


def test_endless_time_is_no_time(world: FakeWorld) -> None:
    """math.huge means the same as nothing said."""
    world.add_event("open", ctx=1, pid=2)
    assert world.run("return os.pull(math.huge).type") == "open"
    assert world.asked("pull") == [(None,)]


def test_shared_context_reaches_the_answer(world: FakeWorld) -> None:
    """What os.share makes is passed on untouched among the values."""
    world.run("os.answer(1, 0, os.share(4), 4)")
    assert world.asked("answer") == [(1, 0, None, [{"shared": 4}, 4])]


@pytest.mark.parametrize(
    ("code", "status", "values"),
    [
        ("os.exit()", 0, []),
        ("os.exit(true)", 0, []),
        ("os.exit(false)", 1, []),
        ("os.exit(3, 'a', nil)", 3, ["a", "null"]),
    ],
)
def test_exit_gives_status_and_values(
    world: FakeWorld, code: str, status: int, values: object
) -> None:
    """os.exit sends its status, and its values with their nils kept."""
    with pytest.raises(Exited) as exited:
        world.run(code)
    assert exited.value.args == (status, values)


def test_starters_run_around_main_first_outermost() -> None:
    """The first runtime's starter wraps the second's, and the last one is given main itself."""
    world = FakeWorld()
    seen = "return function(main, ...) print('{0}', ...) return '{0}', main(...) end"
    starters = tuple(world.compile(seen.format(name)) for name in ("base", "top"))
    assert world.run("return ...", 1, starters=starters) == ["base", "top", 1]
    assert world.printed() == "base\t1\ntop\t1\n"

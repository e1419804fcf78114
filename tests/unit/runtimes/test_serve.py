"""os.serve and the library daemon: calls become functions, their values answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.runtimes.fake_world import FakeWorld, WouldWaitForEver


def call(world: FakeWorld, name: str, *args: Any, cid: int = 1, ctx: int = 4, after_ms: int = 0):
    """Lets a call come."""
    world.add_event("call", cid=cid, ctx=ctx, name=name, pid=9, args=list(args), after_ms=after_ms)


def serve(world: FakeWorld, handlers: str, options: str = "") -> None:
    """Serves context 4 until nothing more comes."""
    with pytest.raises(WouldWaitForEver):
        world.run(f"os.serve(4, {handlers}{options})")


def test_values_are_the_answer(world: FakeWorld) -> None:
    """A handler is given the request and the arguments; what it returns is answered with OK."""
    call(world, "add", 1, 2, cid=5)
    serve(world, "{add = function(r, a, b) return a + b, nil, r.pid, r.ctx, r.cid, r.name end}")
    assert world.asked("bind") == [(4, "add")]
    assert world.asked("answer") == [(5, 0, None, [3, None, 9, 4, 5, "add"])]


def test_error_is_answered_with_its_text(world: FakeWorld) -> None:
    """A handler that raises answers guest.raised; the next call is served."""
    call(world, "bad", cid=1)
    call(world, "good", cid=2)
    serve(world, "{bad = function() error('oh') end, good = function() return 1 end}")
    assert world.asked("answer") == [
        (1, 30, None, ["guest.raised", "main:1: oh"]),
        (2, 0, None, [1]),
    ]


def test_error_with_a_status_is_that_status(world: FakeWorld) -> None:
    """error{status=, message=} answers the program's own status."""
    call(world, "buy")
    serve(world, "{buy = function() error({status = 1001, message = 'sold out'}) end}")
    assert world.asked("answer") == [(1, 1001, None, ["app.1001", "sold out"])]


def test_names_with_a_star_take_what_begins_so(world: FakeWorld) -> None:
    """An exact name comes first, then the longest beginning; others are answered no_such_name."""
    for cid, name in enumerate(["a.b.c", "a.b", "a.x", "z"], 1):
        call(world, name, cid=cid)
    call(world, "a.b", cid=9, ctx=7)
    serve(
        world,
        "{['a.*'] = function(r) return 'a', r.name end, ['a.b.*'] = function() return 'ab' end,"
        " ['a.b'] = function() return 'exact' end}",
    )
    assert world.asked("answer") == [
        (1, 0, None, ["ab"]),
        (2, 0, None, ["exact"]),
        (3, 0, None, ["a", "a.x"]),
        (4, 53, None, ["context.no_such_name", "nobody answers this call"]),
        (9, 53, None, ["context.no_such_name", "nobody answers this call"]),
    ]


def test_longest_beginning_wins_whatever_the_order(world: FakeWorld) -> None:
    """Of many beginnings that fit, the longest one's handler is called."""
    for cid, name in enumerate(["a!", "ab!", "abc!", "abcd!", "abcde!", "abcdef!"], 1):
        call(world, name, cid=cid)
    serve(
        world,
        "(function() local t = {} for i = 1, 6 do"
        " t[('abcdef'):sub(1, i) .. '*'] = function() return i end end return t end)()",
    )
    assert [values for _, _, _, values in world.asked("answer")] == [[i] for i in range(1, 7)]


def test_request_can_be_answered_by_hand(world: FakeWorld) -> None:
    """request:answer counts, and what the handler returns or raises afterwards does not."""
    call(world, "n")
    serve(world, "{n = function(r) r:answer(1002, 'mine') error('after') end}")
    assert world.asked("answer") == [(1, 1002, None, ["mine"])]
    assert world.printed("err") == "os.serve: 'n' failed after its answer: main:1: after\n"


def test_deferred_request_is_answered_later(world: FakeWorld) -> None:
    """After request:defer nothing is answered until the program does."""
    call(world, "wait", cid=1)
    call(world, "go", cid=2)
    serve(
        world,
        "{wait = function(r) w = r r:defer() end,"
        " go = function() w:answer(0, 'now') return 'ok' end}",
    )
    assert world.asked("answer") == [(1, 0, None, ["now"]), (2, 0, None, ["ok"])]


def test_answer_that_is_refused_becomes_an_error(world: FakeWorld) -> None:
    """Values the node does not carry are told to the caller instead of leaving it waiting."""
    answers: list[Any] = []

    def answer(cid: int, status: int, timeout: Any, values: list[Any]) -> tuple[Any, ...]:
        answers.append((cid, status, values))
        return (12, "request.too_large", "too much") if status == 0 else (0, True)

    world.answers["answer"] = answer
    call(world, "n")
    serve(world, "{n = function() return 'x' end}")
    assert answers == [(1, 0, ["x"]), (1, 30, ["guest.raised", "too much"])]


def test_other_events_end_the_serving(world: FakeWorld) -> None:
    """on_event gets what is no call of the context; what it returns ends os.serve."""
    world.add_event("open", ctx=4, pid=9)
    world.add_event("close", ctx=4, pid=9)
    assert (
        world.run("""
      return os.serve(4, {}, {
        on_event = function(e) print(e.type) return e.type == 'close' and 5 end
      })
    """)
        == 5
    )
    assert world.printed() == "open\nclose\n"


def test_start_comes_after_the_binding(world: FakeWorld) -> None:
    """on_start is called when every name is bound, so whoever it starts may call at once."""
    with pytest.raises(WouldWaitForEver):
        world.run("os.serve(4, {n = print}, {on_start = function() os.run_code('') end})")
    assert [name for name, _ in world.calls] == ["bind", "run", "pull"]


def test_handlers_as_tasks_do_not_hold_each_other_up(world: FakeWorld) -> None:
    """With tasks, a handler that waits lets a later call be answered first."""
    call(world, "slow", cid=1)
    call(world, "fast", cid=2, after_ms=10)
    with pytest.raises(WouldWaitForEver):
        world.run("""
          os.serve(4, {
            slow = function() task.sleep(100) return 'slow' end,
            fast = function() return 'fast' end,
          }, {tasks = true})""")
    assert world.asked("answer") == [(2, 0, None, ["fast"]), (1, 0, None, ["slow"])]


def test_refused_bind_ends_serve(world: FakeWorld) -> None:
    """A context of somebody else cannot be served."""
    world.answers["bind"] = lambda *_: (54, "context.not_owner", "not yours")
    assert world.run("return os.serve(4, {n = print})") == [None, 54, "not yours"]


def test_handlers_are_functions(world: FakeWorld) -> None:
    """Anything else in the table is an error."""
    said = world.run("return select(2, pcall(os.serve, 4, {n = 1}))")
    assert said.endswith("bad argument #2 to 'os.serve' (table of functions expected, got number)")


def test_daemon_serves_its_tree(world: FakeWorld) -> None:
    """The library daemon answers the names of daemon.rpc, trees as dotted names."""
    call(world, "fs.open", "x")
    with pytest.raises(WouldWaitForEver):
        world.run("""
          local daemon = require 'daemon'
          daemon.rpc.fs = {open = function(request, path) return 'open ' .. path end}
          function daemon.rpc.clock() return 1 end
          daemon.run(4)""")
    assert sorted(world.asked("bind")) == [(4, "clock"), (4, "fs.open")]
    assert world.asked("answer") == [(1, 0, None, ["open x"])]


def test_daemon_client_calls_by_field(world: FakeWorld) -> None:
    """A client's fields are calls of its context; a refusal is nil, status, message."""
    world.names["fs.open"] = lambda path: (0, 0, "opened", path)
    assert world.run("""
      local rpc = require('daemon').client(4)
      return rpc.fs.open('x')""") == ["opened", "x"]
    assert world.run("return require('daemon').client(4).clock()") == [None, 53, "no call clock"]
    assert world.asked("request")[0] == (4, "fs.open", None, ["x"])

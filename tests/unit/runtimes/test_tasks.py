"""Tasks: who runs when, who gets which event, how they end."""

from __future__ import annotations

import pytest

from tests.unit.runtimes.fake_world import START_MS, FakeWorld, WouldWaitForEver


def test_join_returns_what_the_function_did(world: FakeWorld) -> None:
    """A joined task gives true and all its values; joining it again gives them again."""
    assert world.run("""
      local t = task.spawn(function(...) return select('#', ...), ... end, 'a', nil)
      assert(t.state == 'alive' and t:join() == true and t.state == 'ended')
      return task.join(t)""") == [True, 2, "a", None]


def test_tasks_run_beside_each_other(world: FakeWorld) -> None:
    """Two tasks that sleep take as long as the longer one, and wake in the order of time."""
    world.run("""
      local start = os.time_ms()
      for i, ms in ipairs {300, 100, 200} do
        task.spawn(function() task.sleep(ms) print(i, os.time_ms() - start) end)
      end
      task.run()""")
    assert world.printed() == "2\t100\n3\t200\n1\t300\n"


def test_many_timers_fire_in_order(world: FakeWorld) -> None:
    """However they were set and taken away, sleeps end in the order of their times."""
    world.run("""
      local t = {}
      for i = 1, 200 do
        local ms = (i * 7919) % 1009
        t[i] = task.spawn(function() task.sleep(ms) print(ms) end)
      end
      task.yield()
      for i = 3, 200, 3 do t[i]:cancel() end
      task.run()""")
    times = [int(line) for line in world.printed().split()]
    expected = [i * 7919 % 1009 for i in range(1, 201) if i % 3]
    assert times == sorted(expected)


def test_waiting_task_does_not_poll(world: FakeWorld) -> None:
    """While all wait, the process is in one pull until the earliest time: nothing spins."""
    world.run("task.spawn(function() task.sleep(5000) end) task.run()")
    assert world.asked("pull") == [(5000,)]


def test_request_lets_others_go_on(world: FakeWorld) -> None:
    """While one task waits for its answer another works, and each gets its own answer."""
    world.names["slow"] = lambda value: (100, 0, value, None)
    world.names["fast"] = lambda value: (10, 1001, value)
    world.run("""
      task.spawn(function() print('slow', task.request(1, 'slow', 'a')) end)
      task.spawn(function() print('fast', task.request(1, 'fast', 'b')) end)
      task.run()""")
    assert world.printed() == "fast\t1001\tb\nslow\t0\ta\tnil\n"
    assert world.asked("request") == []


def test_request_alone_is_a_plain_request(world: FakeWorld) -> None:
    """With no other task in the process it is one system call."""
    world.names["n"] = lambda: (10, 0, "v")
    assert world.run("return task.request(1, 'n')") == [0, "v"]
    assert [name for name, _ in world.calls] == ["request"]


def test_request_within_has_its_deadline(world: FakeWorld) -> None:
    """The call carries the deadline, and its answer says that it has passed."""
    world.names["slow"] = lambda: (1000, 0)
    assert world.run("""
      task.spawn(function() task.sleep(1) end)
      return task.request_within(50, 1, 'slow')""") == [18, "request.deadline_passed", "too late"]
    assert world.now_ms == START_MS + 50


def test_refused_request_returns_at_once(world: FakeWorld) -> None:
    """A call that is refused gives status, code and message like os.request."""
    assert world.run("""
      task.spawn(function() task.sleep(1) end)
      return task.request(1, 'nix')""") == [53, "context.no_such_name", "no call nix"]


def test_turns_are_fair(world: FakeWorld) -> None:
    """Tasks that give way take turns in the order in which they were made."""
    world.run("""
      for _, name in ipairs {'a', 'b'} do
        task.spawn(function() for i = 1, 3 do io.write(name) task.yield() end end)
      end
      task.run()""")
    assert world.printed() == "ababab"


def test_own_yield_of_a_task_gives_way(world: FakeWorld) -> None:
    """coroutine.yield outside of any coroutine of the task's own is the same as task.yield."""
    world.run("""
      for _, name in ipairs {'a', 'b'} do
        task.spawn(function() for i = 1, 2 do io.write(name) coroutine.yield(i) end end)
      end
      task.run()""")
    assert world.printed() == "abab"


def test_busy_tasks_do_not_starve_events(world: FakeWorld) -> None:
    """Events are looked for after every round, though somebody can always run."""
    world.add_event("message", ctx=1, queue="q", pid=2, args=["hi"], missed=0)
    assert (
        world.run("""
      local is_over = false
      task.spawn(function() while not is_over do task.yield() end end)
      local event = task.pull('message')
      is_over = true
      return event.args[1]""")
        == "hi"
    )


def test_busy_tasks_do_not_starve_timers(world: FakeWorld) -> None:
    """A sleep ends though somebody can always run."""
    assert (
        world.run("""
      local is_over = false
      task.spawn(function() while not is_over do os.sleep(1) task.yield() end end)
      task.sleep(20)
      is_over = true
      return os.time_ms()""")
        >= START_MS + 20
    )


@pytest.mark.parametrize(
    "filter_",
    [
        "'message'",
        "{type = 'message'}",
        "{queue = 'b', ctx = 4}",
        "function(event) return event.queue == 'b' end",
    ],
)
def test_pull_takes_what_fits(world: FakeWorld, filter_: str) -> None:
    """A filter is a type, fields, or a function; what does not fit is kept for another pull."""
    world.add_event("open", ctx=9, pid=3)
    world.add_event("message", ctx=4, queue="b", pid=2, args=["hi"], missed=0)
    assert world.run(f"""
      local event = task.pull({filter_})
      return event.args[1], task.pull().type, task.pull(nil, 10)""") == ["hi", "open", None]


def test_longest_waiting_task_gets_the_event(world: FakeWorld) -> None:
    """Of two that wait for the same, the first to wait is first."""
    world.add_event("message", ctx=1, queue="q", pid=2, args=[1], missed=0, after_ms=5)
    world.add_event("message", ctx=1, queue="q", pid=2, args=[2], missed=0, after_ms=6)
    world.run("""
      for _, name in ipairs {'a', 'b'} do
        task.spawn(function() print(name, task.pull('message').args[1]) end)
      end
      task.run()""")
    assert world.printed() == "a\t1\nb\t2\n"


def test_pull_ends_when_its_time_is_up(world: FakeWorld) -> None:
    """A pull with a time returns nil then, and takes no event afterwards."""
    world.add_event("open", ctx=9, pid=3, after_ms=30)
    assert world.run("""
      local a = task.pull('open', 10)
      local b = task.pull('open', 30)
      return a, b.ctx""") == [None, 9]


def test_failing_filter_ends_its_own_wait_only(world: FakeWorld) -> None:
    """A filter that raises raises in the task it belongs to; the event goes to the next."""
    world.add_event("open", ctx=9, pid=3, after_ms=1)
    world.run("""
      local bad = task.spawn(function() task.pull(function() error('oh', 0) end) end)
      local good = task.spawn(function() return task.pull('open').ctx end)
      print(bad:join())
      print(good:join())""")
    assert world.printed() == "nil\t30\toh\toh\ntrue\t9\n"


def test_events_nobody_waits_for_go_to_the_handler(world: FakeWorld) -> None:
    """task.on_event runs its function as a task for each, so it may wait."""
    world.add_event("open", ctx=1, pid=2)
    world.add_event("close", ctx=1, pid=2, after_ms=1)
    world.run("""
      local start = os.time_ms()
      task.on_event(function(event) task.sleep(10) print(event.type, os.time_ms() - start) end)
      task.sleep(50)""")
    assert world.printed() == "open\t10\nclose\t11\n"


def test_events_nobody_waits_for_are_kept_bounded(world: FakeWorld) -> None:
    """Without a handler 1024 are kept; a further call is answered, others dropped with one word."""
    for number in range(1024):
        world.add_event("message", ctx=1, queue="q", pid=2, args=[number], missed=0)
    world.add_event("call", cid=77, ctx=1, name="n", pid=2, args=[])
    world.add_event("open", ctx=1, pid=2)
    world.add_event("open", ctx=1, pid=3)
    assert world.run("""
      task.spawn(function() end)
      task.pull('exit', 5)
      local count, last = 0
      while true do
        local event = os.pull(0)
        if not event then return count, last end
        count, last = count + 1, event.args[1]
      end""") == [1024, 1023]
    assert world.asked("answer") == [
        (77, 19, None, ["request.overloaded", "the process keeps as many events as it may"])
    ]
    assert world.printed("err").count("events were dropped") == 1


def test_os_pull_leaves_awaited_events_to_their_tasks(world: FakeWorld) -> None:
    """os.pull in the middle of tasks returns what nobody waits for, and delivers the rest."""
    world.names["n"] = lambda: (10, 0, "answer")
    world.add_event("open", ctx=5, pid=2, after_ms=20)
    world.run("""
      local t = task.spawn(function() return task.request(1, 'n') end)
      task.yield()
      print(os.pull().type)
      print(os.pull(5))
      print(t:join())""")
    assert world.printed() == "open\nnil\ntrue\t0\tanswer\n"


def test_failed_task_is_told_to_who_joins_it(world: FakeWorld) -> None:
    """Join returns guest.raised, the text and the error itself; nothing is printed."""
    assert world.run("""
      local t = task.spawn(function() task.yield() error({code = 'mine'}) end)
      local ok, status, message, problem = t:join()
      return ok, status, problem.code, t.state""") == [None, 30, "mine", "failed"]
    assert world.printed("err") == ""


def test_failed_task_nobody_joins_is_printed(world: FakeWorld) -> None:
    """Its error and traceback go to the error stream, and the process goes on."""
    assert (
        world.run("""
      local t = task.spawn(function()
        error('oh no')
      end)
      task.yield()
      return (select(3, t:join()))""")
        == "main:3: oh no"
    )
    assert world.printed("err").startswith("task failed: main:3: oh no\nstack traceback:\n")
    assert "main:3: in " in world.printed("err")


def test_join_has_a_deadline(world: FakeWorld) -> None:
    """A task that has not ended in time goes on and may be joined again."""
    assert world.run("""
      local t = task.spawn(function() task.sleep(50) return 'late' end)
      local ok, status = t:join(10)
      return ok, status, select(2, t:join())""") == [None, 18, "late"]


def test_cancelled_task_can_clean_up_but_not_go_on(world: FakeWorld) -> None:
    """The wait raises task.CANCELLED, every later one again; join says request.cancelled."""
    world.run("""
      local t = task.spawn(function()
        local ok, why = pcall(task.sleep, 1000)
        print(ok, why == task.CANCELLED, tostring(why))
        task.sleep(1)
        print('never')
      end)
      task.yield()
      print(t:cancel(), t.state)
      print(t:join())
      print(t:cancel(), t.state)""")
    assert world.printed() == (
        "true\talive\nfalse\ttrue\tthe task was cancelled\n"
        "nil\t20\tthe task was cancelled\nfalse\tcancelled\n"
    )
    assert world.now_ms == START_MS


@pytest.mark.parametrize(
    "wait",
    ["task.sleep(1000)", "task.request(1, 'n')", "task.pull('open')", "task.join(other)",
     "task.run()", "task.yield()"],
)  # fmt: skip
def test_cancel_ends_every_kind_of_wait(world: FakeWorld, wait: str) -> None:
    """Whatever the task waits for, it ends at once, and nothing of the wait is left."""
    world.names["n"] = lambda: (500, 0)
    assert world.run(f"""
      local other = task.spawn(function() task.sleep(2000) end)
      local t = task.spawn(function() {wait} print('never') end)
      task.yield()
      t:cancel()
      local _, status = t:join()
      other:cancel()
      other:join()
      task.sleep(3000)
      return status, t.state""") == [20, "cancelled"]
    assert world.printed() == ""


def test_answer_to_a_cancelled_request_reaches_nobody(world: FakeWorld) -> None:
    """The answer still comes, and is neither kept nor given to another task's pull."""
    world.names["n"] = lambda: (50, 0, "late")
    assert (
        world.run("""
      local t = task.spawn(function() task.request(1, 'n') end)
      task.yield()
      t:cancel()
      return task.pull('answer', 100)""")
        is None
    )


def test_cancelled_before_its_first_turn_never_runs(world: FakeWorld) -> None:
    """A task that has not begun does not begin."""
    world.run("""
      local t = task.spawn(function() print('never') end)
      print(t:cancel(), t.state)
      task.run()
      print((select(2, t:join())))""")
    assert world.printed() == "true\tcancelled\n20\n"


def test_tasks_that_wait_for_each_other_are_told(world: FakeWorld) -> None:
    """When only joins are left no event can help: main's wait ends with call.deadlock."""
    assert world.run("""
      local a, b
      a = task.spawn(function() b:join() end)
      b = task.spawn(function() a:join() end)
      return select(2, a:join()), (select(2, task.run()))""") == [59, 59]


def test_task_that_joins_itself_is_told(world: FakeWorld) -> None:
    """Joining oneself is call.deadlock at once."""
    assert (
        world.run("""
      local t
      t = task.spawn(function() return (select(2, t:join())) end)
      return (select(2, t:join()))""")
        == 59
    )


def test_waiting_for_an_event_that_never_comes_waits(world: FakeWorld) -> None:
    """A pull is no deadlock, since somebody outside may still send something."""
    with pytest.raises(WouldWaitForEver):
        world.run("task.pull('open')")


def test_number_of_tasks_is_bounded(world: FakeWorld) -> None:
    """The 4097th is refused with a status, and there is room again after one has ended."""
    assert world.run("""
      local first
      for i = 1, 4096 do
        local t = assert(task.spawn(function() task.sleep(1) end))
        first = first or t
      end
      local ok, status = task.spawn(print)
      first:cancel()
      return ok, status, task.spawn(print) ~= nil""") == [None, 19, True]


def test_coroutine_inside_a_task_may_wait(world: FakeWorld) -> None:
    """A generator that requests hands its own values on, while other tasks go on."""
    world.names["n"] = lambda i: (10, 0, i * i)
    world.run("""
      local ticks = 0
      task.spawn(function() for i = 1, 3 do task.sleep(9) ticks = ticks + 1 end end)
      local t = task.spawn(function()
        local squares = coroutine.wrap(function()
          for i = 1, 3 do coroutine.yield((select(2, task.request(1, 'n', i)))) end
        end)
        while true do
          local square = squares()
          if not square then break end
          print(square, ticks)
        end
      end)
      print(t:join())""")
    assert world.printed() == "1\t1\n4\t2\n9\t3\ntrue\n"


def test_coroutine_of_main_may_wait(world: FakeWorld) -> None:
    """Main's coroutines wait as well, whether made before the first task or after."""
    world.run("""
      local early = coroutine.create(function() task.sleep(5) coroutine.yield('early') end)
      task.spawn(function() task.sleep(3) print('other') end)
      print(coroutine.resume(early))
      print(coroutine.wrap(function() task.sleep(1) return 'late', nil end)())""")
    assert world.printed() == "other\ntrue\tearly\nlate\tnil\n"


def test_coroutines_stay_what_they_are(world: FakeWorld) -> None:
    """After tasks exist, resume and wrap still pass values and errors as before."""
    world.run("""
      task.spawn(function() end)
      task.run()
      local co = coroutine.create(function(...)
        print(select('#', ...), ...)
        print(coroutine.yield())
        error('oh', 0)
      end)
      print(select('#', coroutine.resume(co, 1, nil)))
      print(coroutine.resume(co, 'x'))
      print(coroutine.resume(co))
      print(pcall(coroutine.resume, 1))
      print(pcall(coroutine.wrap(function() error({}) end)))""")
    lines = world.printed().splitlines()
    assert lines[:4] == ["2\t1\tnil", "1", "x", "false\toh"]
    assert lines[4].startswith("false\tcannot resume dead coroutine")
    assert lines[5].endswith("bad argument #1 to 'resume' (coroutine expected, got number)")
    assert lines[6].startswith("false\ttable: ")


def test_task_may_wait_inside_pcall(world: FakeWorld) -> None:
    """A pcall around a wait works, catches what is raised after it, and passes values."""
    world.run("""
      local t = task.spawn(function()
        print(pcall(function(a) task.sleep(5) return a, nil end, 'v'))
        print(pcall(function() task.sleep(5) error('after', 0) end))
        print(xpcall(function() task.sleep(5) error('x', 0) end, function(e) return e .. '!' end))
      end)
      local u = task.spawn(function() task.sleep(7) print('other') end)
      print(t:join())""")
    assert world.printed() == "true\tv\tnil\nother\nfalse\tafter\nfalse\tx!\ntrue\n"


@pytest.mark.parametrize("version", ["5.2", "5.3", "5.4", "5.5"])
def test_task_may_wait_inside_an_iterator(version: str) -> None:
    """A for loop over a coroutine that waits goes on while other tasks do."""
    world = FakeWorld(version)
    world.run("""
      task.spawn(function() task.sleep(5) print('other') end)
      task.spawn(function()
        for i in coroutine.wrap(function() task.sleep(9) coroutine.yield(1) end) do print(i) end
      end)
      task.run()""")
    assert world.printed() == "other\n1\n"


@pytest.mark.parametrize("version", ["5.3", "5.4", "5.5"])
def test_task_may_wait_inside_a_callback_of_c(version: str) -> None:
    """Inside a comparator, where Lua cannot yield, the wait works too, and others go on."""
    world = FakeWorld(version)
    world.run("""
      task.spawn(function()
        local list = {3, 1, 2}
        table.sort(list, function(a, b) task.sleep(10) return a < b end)
        print(table.concat(list, ','))
      end)
      task.spawn(function() task.sleep(1) print('other') end)
      task.run()""")
    assert world.printed() == "other\n1,2,3\n"


def test_event_comes_before_main_ends(world: FakeWorld) -> None:
    """Main's end is the process's end: tasks that are left never go on."""
    assert (
        world.run("task.spawn(function() task.sleep(1) print('never') end) return 'end'") == "end"
    )
    assert world.printed() == ""

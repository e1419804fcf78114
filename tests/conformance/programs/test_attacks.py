"""What a hostile program tried and must not get: each case was a way in once."""

from __future__ import annotations

import asyncio

import pytest

from lithox.dispatch.programs.sessions import Session
from lithox.model.limits import Limits
from tests.conformance.programs.benches import Bench, in_both_modes

RAW = """
-- The guest's primitives are within a program's reach, so Lua's own checks are no border.
local sys
for i = 1, 60 do
  local name, value = debug.getupvalue(os.close, i)
  if name == nil then break end
  if name == "call" then sys = value end
end
assert(sys, "no primitive found")
"""


@in_both_modes
async def test_a_program_has_not_the_account_of_init(bench: Bench) -> None:
    """What people run is charged to who asked, and nothing it starts is an administrator's."""
    pid = await bench.node.run_program(code="os.pull() ", name="sleeper")
    frame = bench.node.program_side.programs.find(pid)
    assert frame is not None
    assert frame.caller.account == "operator"
    assert not frame.caller.is_admin
    init = bench.node.program_side.programs.find(bench.node.program_side.init.pid or 0)
    assert init is not None
    assert init.caller.account == "init"
    bench.node.program_side.kill(pid)


@in_both_modes
async def test_a_full_account_leaves_init_and_other_programs_alone(bench: Bench) -> None:
    """A program that fills its account's mailboxes is refused; another account's run starts."""
    pid = await bench.node.run_program(
        code="""
        local ctx = os.context()
        for i = 1, 20 do
          assert(os.run_code([[
            os.listen(0, "q", { limit = 1024 })
            os.sleep(3600000)
          ]], { context = ctx }))
        end
        os.sleep(50)
        local text, refused = ("x"):rep(900000), 0
        for i = 1, 20 do
          local delivered, lost = os.push(ctx, "q", text)
          if not delivered or lost > 0 then refused = refused + 1 end
        end
        print(refused > 0)
        os.sleep(3600000)
        """,
        name="greedy",
    )
    page = await bench.node.read_output(pid, wait_ms=20_000)
    assert page["chunks"][0]["data"] == b"true\n"
    assert (await bench.run("return 1")).values == [1]
    bench.node.program_side.kill(pid)


@in_both_modes
async def test_a_text_too_hard_to_compile_is_refused_and_ends_nobody(bench: Bench) -> None:
    """The asker of such a program gets a status; init and others go on."""
    labels = " ".join(f"goto l{i} ::l{i}::" for i in range(20_000))
    with pytest.raises(Exception, match="cannot be loaded"):
        await bench.node.run_program(code=labels, name="labels")
    ran = await bench.run(
        "local text = ... local ok, status = os.run_code(text)\n"
        "return ok == nil, os.status_name(status)",
        labels,
    )
    assert ran.values == [True, "guest.compile_failed"]
    assert (await bench.run("return 1")).values == [1]


@in_both_modes
async def test_a_runtime_that_loops_is_refused(bench: Bench) -> None:
    """A runtime's endless loop ends by its own bound, not by the asker's fuel."""
    bench.node.code.set("runtime", "loops", b"while true do end", by="me", on_done=lambda _: None)
    ran = await bench.run(
        "local ok, status = os.run_code('return', { runtime = 'loops' })\n"
        "return ok == nil, os.status_name(status)",
        limits=Limits(fuel=50_000_000),
    )
    assert ran.values == [True, "guest.compile_failed"]


@in_both_modes
async def test_a_program_may_not_choose_to_hold_the_processor(bench: Bench) -> None:
    """Cooperative mode is for operators to give; where it is the node's, nothing changes."""
    ran = await bench.run(
        "local ok, status = os.run_code('return', { mode = 'cooperative' })\n"
        "return ok == nil, ok == nil and os.status_name(status) or 'ok'"
    )
    expected = (
        [False, "ok"]
        if bench.node.config.is_cooperative
        else [
            True,
            "request.not_permitted",
        ]
    )
    assert ran.values == expected


@in_both_modes
async def test_refused_starts_cost_their_parent_nothing(bench: Bench) -> None:
    """Fifty starts that fail leave the fuel and calls they had reserved."""
    ran = await bench.run(
        """
        for i = 1, 50 do
          assert(not os.run_code("return 1", { contexts = { x = 999 } }))
        end
        local usage = os.usage()
        assert(os.run_code("return 1"))
        os.pull()
        return usage.used.fuel < 50000000
        """,
        limits=Limits(fuel=200_000_000, calls=10_000),
    )
    assert ran.values == [True]


@in_both_modes
async def test_memory_and_output_are_one_allowance_for_a_family(bench: Bench) -> None:
    """A parent and its child together stay within what the parent was given."""
    ran = await bench.run(
        """
        assert(os.run_code("os.pull()", { limits = { memory = 10 * 1048576 } }))
        local kept, ok = {}, pcall(function()
          for i = 1, 7 do kept[i] = ("x"):rep(1048576) .. i end
        end)
        return ok
        """,
        limits=Limits(memory_bytes=16 << 20),
    )
    assert ran.exit["code"] == "guest.out_of_memory" or ran.values == [False]
    ran = await bench.run(
        """
        io.write(("a"):rep(600))
        assert(os.run_code("io.write(('b'):rep(300))", { limits = { output = 300 } }))
        os.pull()
        io.write(("c"):rep(200))
        """,
        limits=Limits(output_bytes=1000),
    )
    assert ran.exit["code"] == "guest.out_of_output"


@in_both_modes
async def test_nothing_of_the_dead_waits_at_a_terminal(bench: Bench) -> None:
    """Writers and readers that were killed leave no call behind, and their output never comes."""
    session = Session(bytes_max=1000)
    ran = await bench.run(
        """
        for i = 1, 20 do
          local child = assert(os.run_code("io.read()"))
          os.sleep(1)
          os.kill(child)
          os.pull()
        end
        """
    )
    assert ran.exit["status"] == 0
    assert len(session._readable) == 0
    first = session.when_writable(lambda: None)
    assert len(session._writable) == 1
    first()
    assert len(session._writable) == 0


@in_both_modes
async def test_wrong_types_below_lua_are_bad_arguments(bench: Bench) -> None:
    """A program that speaks the system calls itself is refused, and is not our bug."""
    for call in (
        'sys("run", "return", "x", { output = "abc" }, lithox.list{})',
        'sys("run", "return", "x\\27[2J", {}, lithox.list{})',
        'sys("run", "return", "", {}, lithox.list{})',
        'sys("run", "return", "x", { account = "other" }, lithox.list{})',
        'sys("log", "CRITICAL", "forged")',
        'sys("call", 0, "\\255", nil, lithox.list{})',
        'sys("sleep", 1e300)',
        'sys("no such call")',
        'sys("answer", "x", 0, nil, lithox.list{})',
        'sys("write", "out", 5)',
    ):
        ran = await bench.run(RAW + f"local status, code = {call} return status ~= 0, code")
        is_refused, code = ran.values
        assert is_refused
        assert code in {"request.bad_arguments", "request.not_permitted"}, (call, code)
    assert bench.node.dispatcher.counters.internal_errors == 0


@in_both_modes
async def test_an_error_code_is_a_word_or_nothing(bench: Bench) -> None:
    """What a program puts into an error's code cannot break a line or a table."""
    ran = await bench.run("error({ code = 'a\\0\\nb', message = 'x' })")
    assert ran.exit["code"] == "guest.raised"


@in_both_modes
async def test_poisoned_libraries_of_init_are_set_aside(bench: Bench) -> None:
    """An init that fails on libraries of the store comes back on the package's own."""
    assert (await bench.run("return 1")).values == [1]
    node = bench.node
    node.code.set("library", "init.supervisor", b"error('poison')", by="me", on_done=lambda _: None)
    init = node.program_side.init
    assert init.pid is not None
    node.program_side.programs.kill(init.pid, "request.cancelled")
    for _ in range(3):  # The kill is done in the next turns of the loop.
        await asyncio.sleep(0)
    assert not init.is_ready
    await asyncio.wait_for(init.wait_ready(), 30)
    ran = await bench.run("return 2")
    assert ran.values == [2]

"""Limits flow down a tree of programs, ends flow up it, and nobody outlives a parent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lithox import Node, NodeConfig
from lithox.errors import LithoxError, NotPermitted
from lithox.model.ids import AccountName, Identity
from lithox.model.limits import Limits
from lithox.model.request import Caller
from tests.conformance.programs.benches import Bench, in_both_modes

ENDLESS = {
    "loop": "while true do end",
    "pcall": "while true do pcall(function() while true do end end) end",
    "comparator": "table.sort({3,2,1,5,4,9,8}, function() while true do end end)",
    "gsub": "string.gsub('aaaa', 'a', function() while true do end end)",
    "pattern": "local s = ('a'):rep(40); while true do s:find(('a*'):rep(14) .. 'b') end",
    "coroutine": "coroutine.wrap(function() while true do end end)()",
    "metamethod": (
        "local t = setmetatable({}, {__index = function() while true do end end}); return t.x"
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
@in_both_modes
async def test_an_endless_loop_anywhere_is_killable_and_disturbs_nobody(
    bench: Bench, name: str
) -> None:
    """A loop inside any construct is ended by kill, and other programs get their answer first."""
    pid = await bench.node.run_program(code=ENDLESS[name], name="loop")
    loops = asyncio.create_task(bench.follow(pid))
    if not bench.node.config.is_cooperative:
        # In cooperative mode a loop without system calls keeps the processor: that is what it is.
        assert (await bench.run("return 1 + 1")).values == [2]
    bench.node.program_side.kill(pid)
    ran = await loops
    assert ran.exit["code"] == "request.cancelled"
    assert (await bench.run("return 2 + 2")).values == [4]


@in_both_modes
async def test_fuel_ends_a_program_and_nothing_catches_it(bench: Bench) -> None:
    """A program that wraps everything in pcall still ends at its fuel."""
    ran = await bench.run(ENDLESS["pcall"], limits=Limits(fuel=5_000_000))
    assert ran.exit["code"] == "guest.out_of_fuel"


@in_both_modes
async def test_children_share_their_parents_fuel(bench: Bench) -> None:
    """A tree of loops burns no more than the one limit it was given."""
    ran = await bench.run(
        """
        local usage = os.usage()
        local first = assert(os.run_code("while true do end", { limits = { fuel = 3000000 } }))
        local after = os.usage()
        local event = os.pull()
        local back = os.usage()
        return event.code, usage.allowed.fuel, after.used.fuel - usage.used.fuel >= 3000000
        """,
        limits=Limits(fuel=40_000_000),
    )
    code, allowed, is_charged = ran.values
    assert code == "guest.out_of_fuel"
    assert allowed == 40_000_000
    assert is_charged


@in_both_modes
async def test_what_a_child_did_not_use_comes_back(bench: Bench) -> None:
    """A thousand short children with half of the rest each do not starve their parent."""
    ran = await bench.run(
        """
        for i = 1, 60 do
          local pid, status, message = os.run_code("return " .. i)
          assert(pid, message)
          local event = os.pull()
          assert(event.status == 0, event.message)
        end
        local usage = os.usage()
        return usage.used.fuel < 90000000
        """,
        limits=Limits(fuel=200_000_000),
    )
    assert ran.values == [True]


@in_both_modes
async def test_a_parent_with_nothing_left_starts_nobody(bench: Bench) -> None:
    """Giving away more calls than there are is refused with the limit's own status."""
    ran = await bench.run(
        """
        local pid, status, message = os.run_code("return 1", { limits = { calls = 5 } })
        assert(pid)
        os.pull()
        local grants = 0
        while true do
          local pid, status = os.run_code("os.pull()", { limits = { calls = 40 } })
          if not pid then return os.status_name(status), grants > 0 end
          grants = grants + 1
        end
        """,
        limits=Limits(calls=300),
    )
    assert ran.exit["code"] in {"", "guest.out_of_calls"}


@in_both_modes
async def test_a_process_takes_its_children_with_it(bench: Bench) -> None:
    """Grandchildren end when the root does, whatever it ends by."""
    for end in ("return", "error('x')", "os.exit(3)", "os.exit(0)"):
        await bench.run(
            """
            assert(os.run_code([[
              assert(os.run_code("while true do os.pull(60000) end"))
              os.push(0, "none")
              while true do os.pull(60000) end
            ]]))
            os.sleep(1)
            """
            + end
        )
        await bench.until_gone()


@in_both_modes
async def test_exits_carry_status_code_message_and_values(bench: Bench) -> None:
    """A parent hears how each child ended."""
    ran = await bench.run(
        """
        local heard = {}
        local function child(code, options)
          assert(os.run_code(code, options))
          local event = os.pull()
          heard[#heard + 1] = event.type .. " " .. event.status .. " " .. event.code
            .. " " .. tostring(event.values[1])
        end
        child("return 'well'")
        child("os.exit(7, 'seven')")
        child("pcall(os.exit, 9) while true do end")
        child("error({ code = 'sold_out', message = 'none left' })")
        child("error('plain')")
        child("while true do end", { limits = { fuel = 1000000 } })
        child("os.sleep(60000)", { limits = { wall_ms = 1 } })
        child("local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
          { limits = { memory = 1048576 } })
        return table.unpack(heard)
        """
    )
    assert ran.values == [
        "exit 0  well",
        "exit 7 process.exited seven",
        "exit 9 process.exited nil",
        "exit 30 app.sold_out nil",
        "exit 30 guest.raised nil",
        "exit 34 guest.out_of_fuel nil",
        "exit 36 guest.out_of_wall nil",
        "exit 35 guest.out_of_memory nil",
    ]


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ("os.run_code('return ((')", "guest.compile_failed"),
        ("os.run_code('return', { runtime = 'none-such' })", "request.not_found"),
        ("os.run_program('none-such')", "request.not_found"),
        ("os.run_program('../x')", "request.bad_arguments"),
        ("os.run_code('return', { context = 99 })", "context.invalid"),
        ("os.run_code('return', { contexts = { a = 99 } })", "context.invalid"),
        ("os.run_code('return', { priority = 9 })", "request.not_permitted"),
        ("os.run_code('return', { limits = { fuel = -1 } })", "request.bad_arguments"),
        ("os.run_code('return', { limits = { fule = 1 } })", "request.bad_arguments"),
        ("os.run_code('return', { mode = 'sometimes' })", "request.bad_arguments"),
        ("os.kill(1)", "request.not_found"),
        ("os.kill(os.pid)", "request.not_found"),
        ("os.kill(123456)", "request.not_found"),
        ("os.info(1)", "request.not_found"),
    ],
)
@in_both_modes
async def test_a_refused_act_has_its_status_and_leaves_nothing(
    bench: Bench, call: str, status: str
) -> None:
    """What cannot be done is answered with a status, and no process stays."""
    ran = await bench.run(f"local ok, status = {call}; return ok == nil, os.status_name(status)")
    assert ran.values == [True, status]
    await bench.until_gone()


@in_both_modes
async def test_a_runtime_that_fails_to_load_names_itself(bench: Bench) -> None:
    """The error of a runtime's chunk says which runtime and which line."""
    bench.node.code.set(
        "runtime", "broken", b"\nlocal x = nil + 1", by="me", on_done=lambda _: None
    )
    ran = await bench.run(
        "local ok, status, message = os.run_code('return', { runtime = 'broken' })\n"
        "return ok == nil, os.status_name(status), message"
    )
    is_refused, status, message = ran.values
    assert (is_refused, status) == (True, "guest.compile_failed")
    assert message.startswith("broken:2:")


@in_both_modes
async def test_a_running_program_keeps_its_code(bench: Bench) -> None:
    """Setting a program while it runs changes what the next run gets, not this one."""
    store = bench.node.code
    store.set("program", "served", b"os.pull() return 1", by="me", on_done=lambda _: None)
    pid = await bench.node.run_program(program="served")
    store.set("program", "served", b"return 2", by="me", on_done=lambda _: None)
    second = await bench.node.run_program(program="served")
    assert (await bench.follow(second)).values == [2]
    bench.node.program_side.kill(pid)
    assert (await bench.follow(pid)).exit["code"] == "request.cancelled"


@in_both_modes
async def test_only_an_administrator_runs_programs(bench: Bench) -> None:
    """A caller without that right is refused, on the record."""
    stranger = Caller(identity=Identity("eve"), account=AccountName("eve"))
    with pytest.raises(NotPermitted):
        await bench.node.run_program(code="return 1", name="x", caller=stranger)
    with pytest.raises(LithoxError):
        await bench.node.read_output(1, caller=stranger)


KILLS = """
local function ended(...)
  local pid = assert(os.run_code("os.pull()"))
  assert(os.kill(pid, ...))
  local event
  repeat event = os.pull() until event.type == "exit" and event.pid == pid
  return event.code, event.message
end
local code, plain = ended()
local _, told = ended("it was late")
local _, long = ended(("x"):rep(100000))
return os.pid, code, plain, told, long
"""


@in_both_modes
async def test_who_waits_for_the_end_sees_who_ended_it_and_why(bench: Bench) -> None:
    """The reason of os.kill stands in the exit event's message, up to 200 characters of it."""
    pid, code, plain, told, long = (await bench.run(KILLS)).values
    assert code == "request.cancelled"
    assert plain == f"process {pid} ended it"
    assert told == f"process {pid} ended it: it was late"
    assert long == f"process {pid} ended it: {'x' * 200}"


TWICE = """
local pid = assert(os.run_code("os.pull()"))
assert(os.kill(pid, "first"))
os.kill(pid, "second")
local event = os.pull()
return event.message:match("[^ ]+$")
"""


@in_both_modes
async def test_the_first_kills_reason_stands(bench: Bench) -> None:
    """A second kill, before or after the end, changes nothing of what is told."""
    assert (await bench.run(TWICE)).values == ["first"]


@in_both_modes
async def test_an_operators_kill_is_told_as_one(bench: Bench) -> None:
    """What ends without a reason of a program's has the message of its code."""
    pid = await bench.node.run_program(code="os.pull()", name="waits")
    bench.node.program_side.kill(pid)
    assert (await bench.follow(pid)).exit["message"] == "an operator ended the run"


def test_no_program_gets_more_than_the_node_allows(tmp_path: Path) -> None:
    """program_limits bound each program that init starts with all it starts; init has no bound."""
    asyncio.run(_play_with_limits(tmp_path))


async def _play_with_limits(tmp_path: Path) -> None:
    config = NodeConfig(program_limits=Limits(fuel=5_000_000, memory_bytes=2 << 20))
    async with Node(tmp_path / "data", config=config) as node:
        bench = Bench(node)
        loop = await bench.run(ENDLESS["pcall"], limits=Limits(fuel=1 << 40))
        assert loop.exit["code"] == "guest.out_of_fuel"
        asked = "local used = os.usage() return used.allowed.fuel, used.allowed.memory"
        assert (await bench.run(asked)).values == [5_000_000, 2 << 20]
        lower = await bench.run(asked, limits=Limits(fuel=4_000_000))
        assert lower.values == [4_000_000, 2 << 20]
        programs = node.program_side.programs
        (pid,) = (row["pid"] for row in programs.describe_all() if row["name"] == "init")
        init = programs.find(pid)
        assert init is not None
        assert init.total == Limits()

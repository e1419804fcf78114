"""Rows 11 to 15: what programs cost: calls, messages, starts, deadlines, fairness.

Every row runs real programs in a node of this process; time is taken outside them. The yardstick
of the first three is the system call of the same guest that neither wakes nor waits for anybody
(the clock); the others are shares, which need none.

Usage: python -m bench.programs [calls|starts|deadlines|fairness] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import Any, Final

import lithox
from bench.counter import data_directory
from bench.figures import ROUNDS_DEFAULT, Series, ratio_of, report, say

CALL_MAX_US: Final = 60.0
PUSH_MAX_US: Final = 15.0
START_MAX_US: Final = 120.0
DEADLINES: Final = 10_000
LOOPS: Final = 100
FAIR_SECONDS: Final = 10.0

CLOCK: Final = "local n = ...; for i = 1, n do os.time() end"
EMPTY: Final = ""
SERVER: Final = """
local ctx = os.context()
os.bind(ctx, "echo")
local child = assert(os.run_code([[
  local n = ...
  for i = 1, n do
    local status = os.request(0, "echo", i)
    if status ~= 0 then error("status " .. status) end
  end
]], { context = ctx, args = { (...) } }))
local event = os.pull()
while event.type == "call" do
  event = os.reply(event.cid, 0, event.args[1])
end
os.exit(event.status)
"""
PUSHER: Final = """
local ctx = os.context()
os.bind(ctx, "ready")
local n = ...
local child = assert(os.run_code([[
  os.listen(0, "q", { limit = 1024 })
  os.request(0, "ready")
  local n, got = ..., 0
  while got < n do
    local event = os.pull()
    got = got + 1 + event.missed
  end
]], { context = ctx, args = { n } }))
local ready = os.pull()
os.answer(ready.cid, 0)
for i = 1, n do os.push(ctx, "q", i) end
while os.pull().type ~= "exit" do end
"""
PUSH_ONLY: Final = """
local ctx = os.context()
local n = ...
os.bind(ctx, "ready")
local child = assert(os.run_code([[
  os.listen(0, "q", { limit = 8 })
  os.request(0, "ready")
  os.request_within(3600000, 0, "ready")
]], { context = ctx }))
os.answer(os.pull().cid, 0)
os.pull()
for i = 1, n do os.push(ctx, "q", i) end
"""
SPAWNER: Final = """
local n = ...
for i = 1, n do
  assert(os.run_code("return"))
  os.pull()
end
"""
SLEEPER: Final = "while true do os.pull(1000) end"
SLEEPERS: Final = """
for i = 1, ... do assert(os.run_code("while true do os.pull(1000) end")) end
print("started")
while true do os.pull() end
"""
LOOPERS: Final = """
for i = 1, ... do assert(os.run_code("while true do end", { priority = 4 })) end
print("started")
while true do os.pull() end
"""


WAKER: Final = """
local worst, late = 0, {}
for i = 1, 100 do
  local started = os.time_ms()
  os.sleep(10)
  late[i] = os.time_ms() - started - 10
end
table.sort(late)
return late[50], late[100]
"""
QUANTUM_MS: Final = 2.0
"""The shortest quantum of a loop: 8,000,000 fuel at 4,000 a microsecond (kernel/policy.py)."""


async def run_timed(node: lithox.Node, code: str, *args: Any) -> float:
    """Runs a program to its end; returns its seconds."""
    started = time.perf_counter()
    await run_whole(node, code, *args)
    return time.perf_counter() - started


async def run_whole(
    node: lithox.Node, code: str, *args: Any, priority: int | None = None
) -> list[Any]:
    """Runs a program to its end; returns the values of its main code."""
    pid = await node.run_program(code=code, name="bench", args=args, priority=priority)
    after, said = 0, b""
    while True:
        output = await node.read_output(pid, after=after, wait_ms=30_000)
        after = output["next"]
        said += b"".join(chunk["data"] for chunk in output["chunks"])
        if output["exit"] is not None:
            break
    if output["exit"]["status"] != 0:
        raise SystemExit(f"the program ended with {output['exit']}: {said.decode()[:2000]}")
    return output["exit"]["values"]


async def measure_calls(rounds: int) -> None:
    """Prints rows 11 and 12."""
    call = Series(name="call and answer between two processes", unit="us")
    push = Series(name="push that is not received", unit="us")
    both = Series(name="push and its receiving", unit="us")
    clock = Series(name="system call that reads the clock", unit="us")
    count = 5_000
    with data_directory() as data:
        async with lithox.Node(data) as node:
            for code in (EMPTY, CLOCK, SERVER, PUSHER, PUSH_ONLY):
                await run_timed(node, code, 10)
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                idle = await run_timed(node, EMPTY, 0)
                for series, code in (
                    (clock, CLOCK),
                    (call, SERVER),
                    (push, PUSH_ONLY),
                    (both, PUSHER),
                ):
                    seconds = await run_timed(node, code, count)
                    series.add((seconds - idle) / count * 1e6)
    report(
        row=11,
        what="programs: call and answer between two processes",
        figure=call,
        yardstick=clock,
        ratio=ratio_of(call, clock),
        reach="at most 60 us (15,000/s on one core)",
        is_reached=call.median <= CALL_MAX_US,
    )
    report(
        row=12,
        what="programs: push to a listener",
        figure=push,
        yardstick=clock,
        ratio=ratio_of(push, clock),
        reach="at most 15 us",
        is_reached=push.median <= PUSH_MAX_US,
        beside=[both],
    )


async def measure_starts(rounds: int) -> None:
    """Prints row 13."""
    start = Series(name="spawn, run `return`, hear of its end", unit="us")
    clock = Series(name="system call that reads the clock", unit="us")
    count = 2_000
    with data_directory() as data:
        async with lithox.Node(data) as node:
            for code in (EMPTY, CLOCK, SPAWNER):
                await run_timed(node, code, 10)
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                idle = await run_timed(node, EMPTY, 0)
                clock.add((await run_timed(node, CLOCK, 5_000) - idle) / 5_000 * 1e6)
                start.add((await run_timed(node, SPAWNER, count) - idle) / count * 1e6)
    report(
        row=13,
        what="programs: spawn, run `return`, reap",
        figure=start,
        yardstick=clock,
        ratio=ratio_of(start, clock),
        reach="at most 120 us",
        is_reached=start.median <= START_MAX_US,
    )


async def _until_started(node: lithox.Node, code: str, count: int) -> int:
    pid = await node.run_program(code=code, name="bench", args=[count])
    output: dict[str, Any] = {"chunks": [], "exit": None}
    while not output["chunks"]:
        output = await node.read_output(pid, wait_ms=60_000)
        if output["exit"] is not None:
            raise SystemExit(f"the program ended with {output['exit']}")
    return pid


async def measure_deadlines(rounds: int) -> None:
    """Prints row 14: processor time of 10,000 processes that wake once a second each."""
    share = Series(name="of one core", unit="")
    with data_directory() as data:
        from lithox.kernel.policy import Policy

        policy = lithox.NodeConfig(policy=Policy(processes_per_account_max=DEADLINES + 1_000))
        async with lithox.Node(data, config=policy) as node:
            say(f"starting {DEADLINES} processes")
            await _until_started(node, SLEEPERS, DEADLINES)
            await asyncio.sleep(2)
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                cpu, wall = time.process_time(), time.perf_counter()
                await asyncio.sleep(3)
                spent = time.process_time() - cpu
                share.add(spent / (time.perf_counter() - wall))
            say("ending them")
    report(
        row=14,
        what="programs: 10,000 processes, each with one deadline a second",
        figure=share,
        reach="at most half a core",
        is_reached=share.median <= 0.5,
    )


async def measure_fairness(rounds: int) -> None:
    """Prints row 15: how far the shares of 100 endless loops lie apart."""
    apart = Series(name="largest distance of a share from the mean", unit="")
    late = Series(name="a priority-9 process wakes late by, median of 100", unit="ms")
    latest = Series(name="the same, latest of 100", unit="ms")
    with data_directory() as data:
        async with lithox.Node(data) as node:
            await _until_started(node, LOOPERS, LOOPS)
            await asyncio.sleep(2)  # Until each has sunk to the level of a loop.
            for number in range(min(rounds, 3)):
                say(f"round {number + 1} of {min(rounds, 3)}: {FAIR_SECONDS:.0f} s")
                before = _fuel(node)
                await asyncio.sleep(FAIR_SECONDS)
                after = _fuel(node)
                used = [after[pid] - before[pid] for pid in before if pid in after]
                mean = statistics.mean(used)
                apart.add(max(abs(one - mean) for one in used) / mean)
                median, most = await run_whole(node, WAKER, priority=9)
                late.add(median)
                latest.add(most)
    report(
        row=15,
        what=f"programs: shares of {LOOPS} endless loops over {FAIR_SECONDS:.0f} s",
        figure=apart,
        reach="within 0.05",
        is_reached=apart.median <= 0.05,
    )
    report(
        row=15,
        what=f"programs: waking beside {LOOPS} endless loops, in quanta of {QUANTUM_MS:.0f} ms",
        figure=Series(
            name="late", unit="quanta", values=[one / QUANTUM_MS for one in latest.values]
        ),
        reach="within 2 quanta",
        is_reached=latest.median <= 2 * QUANTUM_MS,
        beside=[late, latest],
    )


def _fuel(node: lithox.Node) -> dict[int, int]:
    """Returns fuel by PID of every looping program; `code` is what LOOPERS calls its children."""
    rows = node.program_side.programs.describe_all()
    return {row["pid"]: row["fuel"] for row in rows if row["name"] == "code"}


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    measures = {
        "calls": measure_calls,
        "starts": measure_starts,
        "deadlines": measure_deadlines,
        "fairness": measure_fairness,
    }
    parser.add_argument("what", choices=sorted(measures))
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    options = parser.parse_args()
    asyncio.run(measures[options.what](options.rounds))


if __name__ == "__main__":
    main()

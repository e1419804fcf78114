"""Row 7: 10,000 live processes, each stopped in mid run: memory of the node, and mappings.

Through a whole node, not the sandbox alone: 10,000 requests to 10,000 entities of 100 accounts, to
a handler that never ends. Each has had its first slice and waits for its next one in the middle of
its loop. What is counted is the whole process, interpreter, store and all. `bench/sandbox.py live`
has the same for bare guests. Every round is a process of its own, since memory that was used once
is not given back.

Usage: python -m bench.live_processes [--rounds 5] [--processes 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import uvloop

import lithox
from bench.counter import ROOT, data_directory
from bench.figures import ROUNDS_DEFAULT, Series, ratio_of, report, say
from lithox.model.ids import AccountName, Identity
from lithox.model.limits import Limits

BUNDLE: Final = ROOT / "bench" / "bundles" / "neighbours"
ACCOUNTS: Final = 100
ALLOWED_MB: Final = 1536
BEGIN_SECONDS_MAX: Final = 120.0
POLL_S: Final = 0.2
WALL_NS: Final = 600 * 1_000_000_000


def resident_mb() -> float:
    """Returns the memory this process really occupies (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("/proc/self/status says nothing about VmRSS")


def mappings() -> int:
    """Returns how many mappings this process has."""
    return len(Path("/proc/self/maps").read_text().splitlines())


async def hold(data: Path, count: int) -> dict[str, Any]:
    """Returns what `count` live processes of one node cost."""
    config = lithox.NodeConfig(limits=Limits(fuel=1 << 40, memory_bytes=64 << 20, wall_ns=WALL_NS))
    async with lithox.Node(data, config=config) as node:
        await node.deploy(BUNDLE)
        await node.call("counter/warm", "increment")
        operator = node.identify(None, is_loopback=True)
        empty_mb, empty_mappings = resident_mb(), mappings()
        begun = time.perf_counter()
        calls: list[asyncio.Task[Any]] = []
        for index in range(count):
            name = f"tenant-{index % ACCOUNTS}"
            caller = lithox.Caller(identity=Identity(name), account=AccountName(name))
            call = node.call(f"endless/{index}", "loop", caller=caller)
            calls.append(asyncio.ensure_future(call))
        while True:
            await asyncio.sleep(POLL_S)
            live = [row for row in node.processes(operator) if row["memory"] and row["fuel"]]
            if len(live) == count:
                break
            if time.perf_counter() - begun > BEGIN_SECONDS_MAX or any(one.done() for one in calls):
                raise SystemExit(f"only {len(live)} of {count} processes live")
        found = {
            "resident_mb": resident_mb(),
            "empty_mb": empty_mb,
            "mappings": mappings(),
            "empty_mappings": empty_mappings,
            "begin_s": time.perf_counter() - begun,
            "memory_mb": sum(row["memory"] for row in live) / (1 << 20),
        }
        for row in live:
            node.kill(row["pid"], operator)
        await asyncio.gather(*calls, return_exceptions=True)
        return found


def measure(rounds: int, count: int) -> None:
    """Prints row 7."""
    whole = Series(name=f"memory of a node with {count:,} live processes", unit="MB")
    plain = Series(name="guest memory they have, added up", unit="MB")
    empty = Series(name="memory of the node before", unit="MB")
    maps = Series(name="mappings", unit="mappings")
    begin = Series(name="time until all had their first slice", unit="s")
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        command = [sys.executable, "-m", "bench.live_processes", "--hold", str(count)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"the node failed: {done.stderr[-1000:]}")
        found: dict[str, float] = json.loads(done.stdout)
        whole.add(found["resident_mb"])
        plain.add(found["memory_mb"])
        empty.add(found["empty_mb"])
        maps.add(found["mappings"])
        begin.add(found["begin_s"])
    limit = Path("/proc/sys/vm/max_map_count").read_text().strip()
    report(
        row=7,
        what=f"{count:,} live processes: memory",
        figure=whole,
        yardstick=plain,
        ratio=ratio_of(whole, plain),
        reach="at most 1.5 GB",
        is_reached=whole.median <= ALLOWED_MB,
        beside=[empty, maps, begin],
        note=f"vm.max_map_count is {limit}",
    )


def main() -> None:
    """Reads the command line; `--hold` is how the parent starts each round."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--processes", type=int, default=10_000)
    parser.add_argument("--hold", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hold is None:
        measure(options.rounds, options.processes)
        return
    with data_directory() as data:
        print(json.dumps(uvloop.run(hold(data, options.hold))))


if __name__ == "__main__":
    main()

"""Where does the time of one durable run go? Row 1 again, under three kinds of glass.

1. No glass: wall time per run, processor time per run of the loop's thread and of all others. What
   is wall but not processor time is waiting (for the writer, for the lock, for a processor).
2. py-spy, if it is installed: samples of every thread from outside, which slow nothing evenly or
   unevenly; self time by room and by function, in microseconds per run.
3. cProfile: every call of the loop's thread, which is exact in counts and inflates small functions.
   Built-in functions are given to the room that calls them. Its microseconds are scaled so that
   they add up to the loop thread's processor time of part 1.

Usage: python bench/profile.py [--seconds 3] [--top 30] [--one] [--only spy|calls]
"""

# This file has the name of a module of the standard library that cProfile imports, so its folder
# must not be on the path; the checkout's own must, for `bench`.
# ruff: noqa: E402
from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:] = [str(_HERE.parent), *(one for one in sys.path if Path(one or ".").resolve() != _HERE)]

import argparse
import asyncio
import cProfile
import pstats
import re
import shutil
import tempfile
import time
from collections import defaultdict
from typing import Any, Final

import uvloop

import lithox
from bench.counter import CALLERS, data_directory, increment, prepare
from bench.figures import say
from bench.loads import Load, closed_loop

SAMPLES_A_SECOND: Final = 500
SPY_EDGE_S: Final = 1.0
ROOM: Final = re.compile(r"lithox[/.](\w+)[/.]")
PACKAGE: Final = re.compile(r"site-packages/(\w+)")
SPY_FRAME: Final = re.compile(r"^(?P<name>.+) \((?P<file>.+?)(?::(?P<line>\d+))?\)$")


def room_of(file: str) -> str:
    """Returns the room of src/lithox, package or part of Python that `file` belongs to."""
    for pattern in (ROOM, PACKAGE):
        found = pattern.search(file)
        if found is not None:
            return found[1]
    if "/bench/" in file or file.startswith("bench/"):
        return "(the load itself)"
    if "asyncio" in file:
        return "asyncio"
    return Path(file).stem or file


def short(file: str) -> str:
    """Returns the end of a path that tells where it is."""
    _, mark, rest = file.rpartition("lithox/")
    return rest if mark else "/".join(Path(file).parts[-2:])


def print_table(title: str, rows: list[tuple[str, float]], whole_us: float, top: int) -> None:
    """Prints names with microseconds per run, greatest first."""
    print(f"\n{title}\n  {'us/run':>8}  {'share':>5}")
    for name, used_us in sorted(rows, key=lambda row: -row[1])[:top]:
        if used_us >= 0.05:
            print(f"  {used_us:8.2f}  {used_us / whole_us:5.1%}  {name}")


class Glass:
    """One node under load, looked at in several ways."""

    def __init__(self, node: lithox.Node, options: argparse.Namespace) -> None:
        self._node = node
        self._options = options
        self._callers = 1 if options.one else CALLERS
        self._spy_seconds = max(1, round(options.seconds))
        self.loop_cpu_us = 0.0

    async def _load(self, seconds: float) -> Load:
        node = self._node
        return await closed_loop(
            lambda n: increment(node, n), callers=self._callers, seconds=seconds
        )

    async def look_bare(self) -> None:
        """Part 1."""
        before = self._node.statistics()
        thread, process = time.thread_time(), time.process_time()
        load = await self._load(self._options.seconds)
        runs = load.rate * self._options.seconds
        self.loop_cpu_us = (time.thread_time() - thread) * 1e6 / runs
        others_us = (time.process_time() - process) * 1e6 / runs - self.loop_cpu_us
        wall_us = 1e6 / load.rate
        after = self._node.statistics()
        batches = after["store_batches"] - before["store_batches"]
        print(
            f"{load.rate:,.0f} runs/s, {self._callers} callers: {wall_us:.1f} us wall a run\n"
            f"  {self.loop_cpu_us:8.1f} us  loop's thread on a processor\n"
            f"  {others_us:8.1f} us  other threads (the writer)\n"
            f"  {wall_us - self.loop_cpu_us:8.1f} us  loop's thread not on a processor\n"
            f"  latency p50 {load.p50_us:,.0f} us, p99 {load.p99_us:,.0f} us; "
            f"{(after['store_commits'] - before['store_commits']) / max(1, batches):.1f} "
            "commits a batch"
        )

    async def look_spy(self) -> None:
        """Part 2."""
        program = shutil.which("py-spy") or shutil.which("py-spy", path=Path(sys.executable).parent)
        if program is None:
            print("\npy-spy is not installed: pip install py-spy shows all threads, undisturbed")
            return
        with tempfile.TemporaryDirectory() as folder:
            found = Path(folder) / "stacks"
            spy = await asyncio.create_subprocess_exec(
                *(program, "record", "--pid", str(_own_pid()), "--format", "raw", "--threads"),
                *("--nonblocking", "--rate", str(SAMPLES_A_SECOND), "--output", str(found)),
                *("--duration", str(self._spy_seconds)),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            # It takes part of a second to attach, and looks at the load for less than it lasts.
            load = await self._load(SPY_EDGE_S + self._spy_seconds)
            _, words = await spy.communicate()
            if not found.exists():
                print(f"\npy-spy could not look: {words.decode().strip()[-200:]}")
                return
            self._print_spy(found.read_text().splitlines(), load)

    def _print_spy(self, lines: list[str], load: Load) -> None:
        threads: dict[str, float] = defaultdict(float)
        rooms: dict[tuple[str, str], float] = defaultdict(float)
        functions: dict[str, float] = defaultdict(float)
        places: dict[str, float] = defaultdict(float)
        us_each = 1e6 / SAMPLES_A_SECOND / (load.rate * self._spy_seconds)
        for line in lines:
            stack, _, count = line.rpartition(" ")
            frames = stack.split(";")
            thread = frames[0].rpartition(": ")[2].rstrip(")") or frames[0]
            used_us = int(count) * us_each
            found = SPY_FRAME.match(frames[-1])
            name, file = (found["name"], found["file"]) if found else (frames[-1], "?")
            threads[thread] += used_us
            rooms[thread, room_of(file)] += used_us
            functions[f"{short(file)}: {name}  [{thread}]"] += used_us
            places[f"{short(file)}:{found['line'] if found else '?'}  [{thread}]"] += used_us
        whole = sum(threads.values()) or 1.0
        print(f"\npy-spy at {load.rate:,.0f} runs/s (active threads only)")
        print_table("by thread", list(threads.items()), whole, 10)
        by_room = [(f"{room:24} [{thread}]", used) for (thread, room), used in rooms.items()]
        print_table("by room, self time", by_room, whole, self._options.top)
        print_table("by function, self time", list(functions.items()), whole, self._options.top)
        print_table("by line, self time", list(places.items()), whole, self._options.top // 2)

    async def look_calls(self) -> None:
        """Part 3."""
        profile = cProfile.Profile()
        profile.enable()
        load = await self._load(self._options.seconds)
        profile.disable()
        runs = load.rate * self._options.seconds
        stats: dict[Any, Any] = vars(pstats.Stats(profile))["stats"]
        own: dict[Any, float] = {key: row[2] for key, row in stats.items()}
        rooms: dict[str, float] = defaultdict(float)
        for key, (_, _, own_s, _, callers) in stats.items():
            if key[0] != "~":
                rooms[room_of(key[0])] += own_s
                continue
            for caller, (_, _, part_s, _) in callers.items():
                room = room_of(caller[0]) if caller[0] != "~" else "(built in)"
                rooms[room] += part_s
        whole_s = sum(own.values())
        scale = self.loop_cpu_us / whole_s
        print(
            f"\ncProfile at {load.rate:,.0f} runs/s; scaled to {self.loop_cpu_us:.1f} us of the "
            f"loop's thread; {sum(row[1] for row in stats.values()) / runs:.0f} calls a run"
        )
        by_room = [(name, used * scale) for name, used in rooms.items()]
        print_table("by room (with the built-ins it calls)", by_room, self.loop_cpu_us, 30)
        functions = [
            (f"{short(file)}:{line} {name}  x{stats[file, line, name][1] / runs:.1f}", used * scale)
            for (file, line, name), used in own.items()
        ]
        print_table("by function, self time", functions, self.loop_cpu_us, self._options.top)


def _own_pid() -> int:
    return int(Path("/proc/self").resolve().name)


async def look(data: Path, options: argparse.Namespace) -> None:
    """Opens a node, warms it and looks."""
    async with lithox.Node(data) as node:
        await prepare(node)
        glass = Glass(node, options)
        await closed_loop(lambda n: increment(node, n), callers=CALLERS, seconds=1)
        say("without a profiler")
        await glass.look_bare()
        if options.only != "calls":
            say("py-spy")
            await glass.look_spy()
        if options.only != "spy":
            say("cProfile")
            await glass.look_calls()


def main() -> None:
    """Reads the command line and looks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3, help="of each part")
    parser.add_argument("--top", type=int, default=30, help="lines of each table")
    parser.add_argument("--one", action="store_true", help="one caller instead of 64")
    parser.add_argument("--only", choices=("spy", "calls"))
    options = parser.parse_args()
    with data_directory() as data:
        uvloop.run(look(data, options))


if __name__ == "__main__":
    main()

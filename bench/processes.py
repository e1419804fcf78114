"""All cores: durable runs over HTTP for a second of processor time, two processes beside one.

With one process every request is served where it arrives. With two and all entities spread, half of
them arrive where they do not live and are handed over. What that costs is seen in runs for each
second of processor time of the node processes (user and system time of all their threads), which
other work on the machine disturbs less than it does the rate. Rounds of one and two are
interleaved; while one server is measured the other is idle.

Usage: python -m bench.processes [--rounds 5] [--seconds 2]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import serving
from bench.counter import CALLERS, ENTITIES, HANDLER, data_directory
from bench.figures import ROUNDS_DEFAULT, Series, ratio_of, report, say

PROCESSES = 2
SPREAD = "counter/*"
REACH = 0.85


def pids_of(served: serving.Served, processes: int) -> list[int]:
    """Returns the node processes of a server: itself, or what its parent has started."""
    pid = served.process.pid
    if processes == 1:
        return [pid]
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Rounds:
    """The series of one number of processes."""

    def __init__(self, processes: int) -> None:
        name = f"{processes} process{'' if processes == 1 else 'es'}"
        self.processes = processes
        self.per_cpu = Series(name=f"{name}: runs for a second of processor time", unit="runs/s")
        self.rate = Series(name=f"{name}: rate, {CALLERS} connections", unit="runs/s")
        self.p99 = Series(name=f"{name}: p99 latency", unit="us")

    def measure(self, served: serving.Served, script: Path, seconds: int) -> None:
        """Adds one round. Blocks for `seconds`."""
        pids = pids_of(served, self.processes)
        before_s = sum(serving.cpu_seconds(pid) for pid in pids)
        found = serving.load(served, script, connections=CALLERS, seconds=seconds)
        used_s = sum(serving.cpu_seconds(pid) for pid in pids) - before_s
        self.per_cpu.add(found.rate * seconds / used_s)
        self.rate.add(found.rate)
        self.p99.add(found.p99_us)


def measure(data: Path, *, rounds: int, seconds: int) -> None:
    """Prints the row."""
    script = serving.write_script(data / "post.lua")
    one, two = Rounds(1), Rounds(PROCESSES)
    shared = [*serving.serve_command(data / "two", processes=PROCESSES), "--spread", SPREAD]
    with (
        serving.serving(serving.serve_command(data / "one")) as alone,
        serving.serving(shared) as both,
    ):
        for served in (alone, both):
            serving.deploy(served)
            for index in range(ENTITIES):
                served.request(f"/v1/entities/counter/e{index}:{HANDLER}")
            serving.load(served, script, connections=CALLERS, seconds=1)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            one.measure(alone, script, seconds)
            two.measure(both, script, seconds)
    ratio = ratio_of(two.per_cpu, one.per_cpu)
    report(
        row=23,
        what="durable runs for a second of processor time, two processes, all entities spread",
        figure=two.per_cpu,
        yardstick=one.per_cpu,
        ratio=ratio,
        reach=f"ratio at least {REACH}",
        is_reached=ratio >= REACH,
        beside=[two.rate, one.rate, two.p99, one.p99],
    )


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--seconds", type=int, default=2, help="of each part of a round")
    options = parser.parse_args()
    with data_directory() as data:
        measure(data, rounds=options.rounds, seconds=options.seconds)


if __name__ == "__main__":
    main()

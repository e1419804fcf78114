"""Row 2: durable handler runs over HTTP keep-alive, wrk in a process of its own.

With a = the rate of the same runs in process (row 1, measured here again) and b = the rate of the
same server around an empty handler (bench/empty_server.py), both on this machine in this minute,
one thread that does both jobs for each request would reach 1/(1/a + 1/b). The goal is 0.8 of that.
Rounds of a, b and the figure are interleaved; while one is measured the others are idle.

Usage: python -m bench.over_http [--rounds 5] [--seconds 2]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvloop

import lithox
from bench import serving
from bench.counter import CALLERS, ENTITIES, HANDLER, data_directory, increment, prepare
from bench.figures import ROUNDS_DEFAULT, Series, ratio_of, report, say
from bench.loads import closed_loop


class Rounds:
    """All series of row 2."""

    def __init__(self) -> None:
        self.http = Series(name="durable runs over HTTP, 64 connections", unit="runs/s")
        self.inner = Series(name="a: in process", unit="runs/s")
        self.empty = Series(name="b: the server, empty handler", unit="requests/s")
        self.bound = Series(name="1/(1/a + 1/b)", unit="runs/s")
        self.p50 = Series(name="median latency over HTTP", unit="us")
        self.p99 = Series(name="p99 latency over HTTP", unit="us")
        self.cpu = Series(name="processor time of the server process", unit="us/request")
        self.empty_cpu = Series(name="the same with the empty handler", unit="us/request")

    def add(self, inner: float, empty: serving.WrkLoad, http: serving.WrkLoad) -> None:
        """Adds one round."""
        self.inner.add(inner)
        self.empty.add(empty.rate)
        self.empty_cpu.add(empty.server_cpu_us)
        self.http.add(http.rate)
        self.p50.add(http.p50_us)
        self.p99.add(http.p99_us)
        self.cpu.add(http.server_cpu_us)
        self.bound.add(1 / (1 / inner + 1 / empty.rate))

    def report(self) -> None:
        """Prints the row."""
        ratio = ratio_of(self.http, self.bound)
        report(
            row=2,
            what="durable handler runs, over HTTP",
            figure=self.http,
            yardstick=self.bound,
            ratio=ratio,
            reach="ratio at least 0.8",
            is_reached=ratio >= 0.8,
            beside=[self.inner, self.empty, self.p50, self.p99, self.cpu, self.empty_cpu],
        )


async def measure(data: Path, *, rounds: int, seconds: int) -> None:
    """Prints row 2."""
    script = serving.write_script(data / "post.lua")
    found = Rounds()
    empty_command = [sys.executable, "-m", "bench.empty_server"]
    async with lithox.Node(data / "inner") as node:
        await prepare(node)
        with (
            serving.serving(serving.serve_command(data / "served")) as served,
            serving.serving(empty_command) as empty,
        ):
            serving.deploy(served)
            for index in range(ENTITIES):
                served.request(f"/v1/entities/counter/e{index}:{HANDLER}")
            for one in (served, empty):
                serving.load(one, script, connections=CALLERS, seconds=1)
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                inner = await closed_loop(
                    lambda n: increment(node, n), callers=CALLERS, seconds=seconds
                )
                found.add(
                    inner.rate,
                    serving.load(empty, script, connections=CALLERS, seconds=seconds),
                    serving.load(served, script, connections=CALLERS, seconds=seconds),
                )
    found.report()


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--seconds", type=int, default=2, help="of each part of a round")
    options = parser.parse_args()
    with data_directory() as data:
        uvloop.run(measure(data, rounds=options.rounds, seconds=options.seconds))


if __name__ == "__main__":
    main()

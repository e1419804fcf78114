"""Rows 20, 21 and 22: what transactions cost beside a durable run of one entity in the same run.

Row 20, a warm handler that only reads; row 21, everybody on one entity; row 22, a call that joins
the transaction of its caller, two entities in one commit. The yardstick of all three is the same
handler's write on 256 entities by 64 callers, in rounds that alternate with the figure's.

Usage: python -m bench.transactions [reads|hot|joined] [--rounds 5] [--seconds 1.5] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

import lithox
from bench.counter import CALLERS, ENTITIES, ROOT, data_directory
from bench.figures import ROUNDS_DEFAULT, Series, ratio_of, report, say
from bench.loads import closed_loop

BUNDLE: Final = ROOT / "bench" / "bundles" / "transfers"
WARM_S: Final = 0.7
PROFILE_LINES: Final = 40
_draw: Final = random.Random(7)
ORDER: Final = [_draw.randrange(ENTITIES) for _ in range(4096)]

Call = Callable[[lithox.Node, int], Awaitable[object]]


def spread(node: lithox.Node, number: int) -> Awaitable[object]:
    """A write on one of many entities."""
    return node.call(f"purse/e{ORDER[number % len(ORDER)]}", "add", 1)


def look(node: lithox.Node, number: int) -> Awaitable[object]:
    """A read of one of many entities."""
    return node.call(f"purse/e{ORDER[number % len(ORDER)]}", "look")


def hot(node: lithox.Node, number: int) -> Awaitable[object]:
    """A write on the one entity everybody writes."""
    del number
    return node.call("purse/hot", "add", 1)


def give(node: lithox.Node, number: int) -> Awaitable[object]:
    """Writes on two entities, in one transaction."""
    giver = ORDER[number % len(ORDER)]
    return node.call(f"purse/e{giver}", "give", f"purse/e{(giver + 1) % ENTITIES}", 1)


class Case(NamedTuple):
    """One row."""

    row: int
    what: str
    figure: str
    call: Call
    least: float


CASES: Final = {
    "reads": Case(20, "warm read-only handler, in process", "reads, 64 callers", look, 1.5),
    "hot": Case(21, "hot entity: one counter for all", "writes of one key, 64 callers", hot, 0.7),
    "joined": Case(22, "joined call, two entities", "runs over two entities", give, 0.4),
}


async def measure(data: Path, case: Case, *, rounds: int, seconds: float) -> None:
    """Prints one row."""
    figure = Series(name=case.figure, unit="runs/s")
    yardstick = Series(name="durable writes, 256 entities, 64 callers", unit="runs/s")
    reads = Series(name="reads of the database while it was measured", unit="")
    attempts = Series(name="attempts per run", unit="")
    async with lithox.Node(data / "node") as node:
        await node.deploy(BUNDLE)
        for index in range(ENTITIES):
            await node.call(f"purse/e{index}", "add", 1_000_000)
        for call in (spread, case.call):
            await closed_loop(lambda n, c=call: c(node, n), callers=CALLERS, seconds=WARM_S)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            load = await closed_loop(lambda n: spread(node, n), callers=CALLERS, seconds=seconds)
            yardstick.add(load.rate)
            before = node.statistics()
            load = await closed_loop(lambda n: case.call(node, n), callers=CALLERS, seconds=seconds)
            after = node.statistics()
            figure.add(load.rate)
            runs = after["requests_succeeded_total"] - before["requests_succeeded_total"]
            lost = after["conflicts_total"] - before["conflicts_total"]
            attempts.add((runs + lost) / runs)
            reads.add(after["store_reads"] - before["store_reads"])
    ratio = ratio_of(figure, yardstick)
    report(
        row=case.row,
        what=case.what,
        figure=figure,
        yardstick=yardstick,
        ratio=ratio,
        reach=f"ratio at least {case.least}",
        is_reached=ratio >= case.least,
        beside=[attempts, reads],
    )


async def profile(data: Path, case: Case, *, seconds: float) -> None:
    """Prints where the time of the figure's calls goes, on stderr."""
    async with lithox.Node(data / "node") as node:
        await node.deploy(BUNDLE)
        for index in range(ENTITIES):
            await node.call(f"purse/e{index}", "add", 1_000_000)
        await closed_loop(lambda n: case.call(node, n), callers=CALLERS, seconds=WARM_S)
        profiler = cProfile.Profile()
        profiler.enable()
        await closed_loop(lambda n: case.call(node, n), callers=CALLERS, seconds=seconds)
        profiler.disable()
    pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(PROFILE_LINES)


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=tuple(CASES), default="reads")
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each part of a round")
    parser.add_argument("--profile", action="store_true", help="say where the time goes instead")
    options = parser.parse_args()
    case = CASES[options.what]
    with data_directory() as data:
        if options.profile:
            uvloop.run(profile(data, case, seconds=options.seconds))
        else:
            uvloop.run(measure(data, case, rounds=options.rounds, seconds=options.seconds))


if __name__ == "__main__":
    main()

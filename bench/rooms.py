"""Rows 4, 5 and 6: what single rooms cost, from their own benchmarks.

`bench/sandbox.py` and `bench/kernel.py` belong to their rooms and print one line a figure. Here
each is run once a round, in a process of its own, so that the rounds have a spread.

Usage: python -m bench.rooms [guest|kernel] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.counter import ROOT, data_directory
from bench.figures import ROUNDS_DEFAULT, Series, ratio_of, report, say

START_MAX_US: Final = 60.0
SYSTEM_CALL_MAX_US: Final = 15.0
FACT_MAX_US: Final = 5.0


def run(arguments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the lines a benchmark printed, by name."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} ended badly: {done.stderr[-1000:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["name"]: line for line in lines}


def collect(rounds: Sequence[dict[str, dict[str, Any]]], name: str, unit: str) -> Series:
    """Returns one figure over all rounds."""
    return Series(name=name, unit=unit, values=[one[name]["figure"] for one in rounds])


def measure_guest(rounds: int, cache: Path) -> None:
    """Prints rows 4 and 5."""
    arguments = ["bench.sandbox", "costs", "--rounds", "1", "--cache", str(cache)]
    run(arguments)  # Fills the cache of compiled modules.
    found: list[dict[str, dict[str, Any]]] = []
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        found.append(run(arguments))

    def yardstick(key: str, words: str) -> Series:
        values = [one["start_new"]["yardstick"][key] for one in found]
        return Series(name=words, unit="us", values=values)

    copy = yardstick("image_copy_us", "one copy of the guest's memory image")
    for name, words in (
        ("start_recycled", "of a guest on memory used before"),
        ("start_new", "of a guest on new memory"),
    ):
        figure = collect(found, name, "us")
        report(
            row=4,
            what=f"start {words}, to its first instruction",
            figure=figure,
            yardstick=copy,
            ratio=ratio_of(figure, copy),
            reach="at most 60 us",
            is_reached=figure.median <= START_MAX_US,
        )
    whole = collect(found, "run_nothing", "us")
    report(
        row=4,
        what="start, run and end of an empty handler, one after another",
        figure=whole,
        yardstick=copy,
        ratio=ratio_of(whole, copy),
        reach="at most 60 us",
        is_reached=whole.median <= START_MAX_US,
        beside=[collect(found, "run_counter", "us")],
        note="an upper bound of the start alone, in memory that the processor has at hand; the "
        "two rows above start hundreds before the first of them runs",
    )
    figure = collect(found, "system_call", "us")
    call = yardstick("empty_c_call_us", "one empty call into C")
    report(
        row=5,
        what="system call that suspends and resumes",
        figure=figure,
        yardstick=call,
        ratio=ratio_of(figure, call),
        reach="at most 15 us",
        is_reached=figure.median <= SYSTEM_CALL_MAX_US,
    )


def measure_kernel(rounds: int) -> None:
    """Prints row 6: the slowest of the kernel's cases, the others beside it."""
    found: list[dict[str, dict[str, Any]]] = []
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        found.append(run(["bench.kernel", "--quick"]))
    cases = sorted(
        (collect(found, name, "us") for name in found[0]), key=lambda one: one.median, reverse=True
    )
    slowest = cases[0]
    first = found[0][slowest.name]
    yardstick = Series(
        name=str(first["yardstick_name"]).removesuffix(", us"),
        unit="us",
        values=[one[slowest.name]["yardstick"] for one in found],
    )
    report(
        row=6,
        what="kernel: one fact to its effects, slowest case",
        figure=slowest,
        yardstick=yardstick,
        ratio=ratio_of(slowest, yardstick),
        reach="at most 5 us",
        is_reached=slowest.median <= FACT_MAX_US,
        beside=cases[1:],
        note=f"the slowest case: {slowest.name}",
    )


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("guest", "kernel"), default="guest")
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    options = parser.parse_args()
    if options.what == "kernel":
        measure_kernel(options.rounds)
        return
    with data_directory() as cache:
        measure_guest(options.rounds, cache)


if __name__ == "__main__":
    main()

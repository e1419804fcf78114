"""`python -m lithox.testing.simulate`: simulations from the command line, behind `make sim`.

For each seed it makes two: runs that are scheduled (`simulator`) and programs that talk to each
other (`talking`). Without a seed it draws one from the operating system, prints it first, and so
can always be repeated. The exit status is 1 when a law was broken, and the message names seed and
command.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from typing import Final

from lithox.testing.simulator import SimulationFailed, SimulationReport, Simulator
from lithox.testing.talking import TalkSimulator

SEED_BITS: Final = 32
RUNS_DEFAULT: Final = 20


def _describe(report: SimulationReport) -> str:
    ends = ", ".join(
        f"{name.removeprefix('ended ')} {count}"
        for name, count in report.counts.items()
        if name.startswith("ended ")
    )
    others = ", ".join(
        f"{name} {count}"
        for name, count in report.counts.items()
        if not name.startswith(("ended ", "refused ")) and name != "end"
    )
    waits = ", ".join(f"{lane.name} {wait}" for lane, wait in report.longest_wait_ns.items())
    waited = f"  longest wait, ns: {waits}\n" if waits else ""
    return (
        f"seed {report.seed}: {report.events} events in {report.simulated_ns} simulated ns\n"
        f"  facts: {others}\n  ends:  {ends}\n{waited}  trace: {report.trace_digest}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the simulations asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lithox.testing.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one, and print what it did")
    parser.add_argument(
        "--runs", type=int, default=RUNS_DEFAULT, help="how many seeds when none is given"
    )
    options = parser.parse_args(arguments)
    first = secrets.randbits(SEED_BITS) if options.seed is None else options.seed
    count = options.runs if options.seed is None else 1
    try:
        for seed in range(first, first + count):
            sys.stdout.write(_describe(TalkSimulator(seed).run()) + "\n")
            sys.stdout.write(_describe(Simulator(seed).run()) + "\n")
    except SimulationFailed as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

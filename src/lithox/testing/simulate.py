"""`python -m lithox.testing.simulate`: simulations from the command line, behind `make sim`.

There are four kinds: a whole `node` over a disk that fails (`node_simulator`), nodes with `volumes`
of their own and bad links (`volumes_simulator`), the `kernel` with runs that are scheduled
(`simulator`), and programs that `talk` to each other (`talking`). For a seed it makes one of each;
for many seeds a node for each and the others for one seed in ten, since they take longer or have
less to meet. Without a seed it draws one from the operating
system, prints it first, and so can always be repeated. The exit status is 1 when a law was broken,
and the message names seed and command.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Final, TextIO

from lithox.testing.node_simulator import NodeSimulator
from lithox.testing.simulator import SimulationFailed, SimulationReport, Simulator
from lithox.testing.talking import TalkSimulator
from lithox.testing.volumes_simulator import VolumesSimulator

SEED_BITS: Final = 32
RUNS_DEFAULT: Final = 1_000
"""Three minutes on two cores."""
RUNS_NIGHTLY: Final = 20_000
"""What `make sim NIGHTLY=1` makes: an hour or two on two cores."""
RUNS_SHOWN_MAX: Final = 20
"""With more runs than this only their sum is printed."""
OTHERS_ONE_IN: Final = 10
CHUNK: Final = 10
"""Seeds one process takes at a time."""
KINDS: Final[dict[str, Callable[[int], SimulationReport]]] = {
    "node": lambda seed: NodeSimulator(seed).run(),
    "volumes": lambda seed: VolumesSimulator(seed).run(),
    "talk": lambda seed: TalkSimulator(seed).run(),
    "kernel": lambda seed: Simulator(seed).run(),
}


def _describe(kind: str, report: SimulationReport) -> str:
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
    ended = f"  ends:  {ends}\n" if ends else ""
    waited = f"  longest wait, ns: {waits}\n" if waits else ""
    return (
        f"seed {report.seed}, {kind}: {report.events} events in {report.simulated_ns} simulated "
        f"ns\n  facts: {others}\n{ended}{waited}  trace: {report.trace_digest}"
    )


def run_seed(seed: int, kinds: tuple[str, ...]) -> list[tuple[str, SimulationReport]]:
    """Returns (kind, report) of every kind for one seed.

    Raises:
        SimulationFailed: a law was broken.
    """
    return [(kind, KINDS[kind](seed)) for kind in kinds]


def _run_quietly(
    seed: int, kinds: tuple[str, ...]
) -> tuple[str | None, list[tuple[str, SimulationReport]]]:
    """Returns (failure, reports) of one seed; a worker's exceptions are told as text."""
    try:
        return None, run_seed(seed, kinds)
    except SimulationFailed as failure:
        return str(failure), []


def _kinds_of(seed: int, chosen: tuple[str, ...], *, is_many: bool) -> tuple[str, ...]:
    if is_many and seed % OTHERS_ONE_IN and "node" in chosen:
        return ("node",)
    return chosen


def run_many(seeds: range, chosen: tuple[str, ...], *, jobs: int, out: TextIO) -> list[str]:
    """Makes the simulations of `seeds` in `jobs` processes; returns the failures.

    Prints the sum of what happened and, for a few runs, each of them. Blocks until all are done.
    """
    is_many = len(seeds) > RUNS_SHOWN_MAX
    kinds = [_kinds_of(seed, chosen, is_many=is_many) for seed in seeds]
    failures: list[str] = []
    sums: dict[str, Counter[str]] = {kind: Counter() for kind in chosen}
    for seed, (failure, reports) in zip(seeds, _results(seeds, kinds, jobs), strict=True):
        if failure is not None:
            failures.append(failure)
            out.write(f"seed {seed}: failed\n")
        for kind, report in reports:
            sums[kind].update({"simulations": 1, "events": report.events, **report.counts})
            if not is_many:
                out.write(_describe(kind, report) + "\n")
    if is_many:
        for kind, counts in sums.items():
            facts = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            out.write(f"{kind}: {facts}\n")
        out.write(f"{len(seeds)} seeds from {seeds[0]}: {len(failures)} failed\n")
    return failures


def _results(
    seeds: range, kinds: list[tuple[str, ...]], jobs: int
) -> Iterator[tuple[str | None, list[tuple[str, SimulationReport]]]]:
    if jobs == 1:
        yield from map(_run_quietly, seeds, kinds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_run_quietly, seeds, kinds, chunksize=CHUNK)


def main(arguments: list[str] | None = None) -> int:
    """Runs the simulations asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lithox.testing.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one, and print what it did")
    parser.add_argument("--runs", type=int, help="how many seeds, from --seed or a drawn one on")
    parser.add_argument("--nightly", action="store_true", help=f"{RUNS_NIGHTLY} seeds")
    parser.add_argument("--kind", choices=tuple(KINDS), help="only this kind of simulation")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args(arguments)
    first = secrets.randbits(SEED_BITS) if options.seed is None else options.seed
    count = options.runs or (RUNS_NIGHTLY if options.nightly else 0)
    count = count or (RUNS_DEFAULT if options.seed is None else 1)
    chosen = (options.kind,) if options.kind else tuple(KINDS)
    jobs = 1 if count <= CHUNK else max(1, options.jobs)
    failures = run_many(range(first, first + count), chosen, jobs=jobs, out=sys.stdout)
    for failure in failures:
        sys.stderr.write(f"{failure}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

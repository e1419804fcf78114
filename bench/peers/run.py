"""Measures every peer there is, in interleaved rounds, and writes one JSON file with all of it.

Phases: start what can be started and name what cannot; loads in rounds, A B C A B C; syncs counted
by strace, 10,000 first touches and known clients as a check, one peer after another; then each peer
alone on fresh data (bench.peers.alone). A peer that breaks in one measurement, or whose load
generator does (FAILURES), has failed in that one, with its words, and in no other.

Usage: python -m bench.peers.run OUTPUT [--only redis,lithox] [--workloads counter,read]
           [--seconds 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench.counter import DATA_PARENT
from bench.figures import say
from bench.peers import alone, checks, limits
from bench.peers.loading import FAILURES, Loader
from bench.peers.packages import Packages
from bench.peers.peer import Peer, Road
from bench.peers.peers import MAKERS, chosen
from bench.peers.processes import SyncTrace, memory_mb
from bench.peers.workloads import (
    CALLERS,
    INCREMENTS,
    SIDE_CALLERS,
    TOUCHED,
    WORKLOADS,
    Workload,
    touches,
)

WARM_S: Final = 1.0
FIRST_S_MAX: Final = 60.0
TOUCH_S_MAX: Final = 5.0
TRACE_S: Final = 1.0
TRACE_HTTP_S: Final = 3.0
"""Longer, since the slowest peers are among them and strace slows them further."""
MIXED_S: Final = 12.0
MIXED_INTERVAL_S_MAX: Final = 10.0
MIXED_INTERVALS: Final = 12
WITH_GOALS: Final = ("counter", "flight")
"""Workloads that goals speak of, at more than one caller."""
PARTS: Final = ("syncs", "touch", "checks", *alone.ALONE, "mixed")
"""What is measured beside the loads of WORKLOADS; `--workloads` takes names of both."""


class Run:
    """One run over some peers; `result` is what is written."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self.packages = Packages(options.packages)
        self.peers: list[Peer] = []
        self.loader = Loader(folder / "loader")
        self.result: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
            "rounds": options.rounds,
            "seconds": options.seconds,
            "peers": {},
            "loads": [],
            "limits": {},
        }

    def is_wanted(self, name: str) -> bool:
        """Returns whether `--workloads` names it, or nothing."""
        return not self._options.workloads or name in self._options.workloads.split(",")

    def start(self, stack: ExitStack) -> None:
        """Starts what can be started."""
        for name in chosen(self._options.only):
            say(f"starting {name}")
            peer = MAKERS[name](self.packages, self._folder / name)
            stack.callback(_stop, peer)
            about: dict[str, Any] = {"durability": peer.durability}
            begun = time.perf_counter()
            try:
                peer.start()
            except FAILURES as error:
                about["missing"] = str(error)[:300]
                say(f"  missing: {error}")
            else:
                self.peers.append(peer)
                about["started_s"] = time.perf_counter() - begun
            about |= {"version": peer.version, "settings": peer.settings, "cannot": peer.cannot}
            about["round_times"] = peer.round_times
            self.result["peers"][name] = about

    def _roads(self, workload: Workload) -> list[tuple[Peer, Road]]:
        return [
            (peer, road)
            for peer in self.peers
            if workload.name not in peer.cannot
            and (not workload.is_ours_alone or peer.name.startswith("lithox"))
            for road in peer.roads()
            if road.is_main or workload.is_for_all_roads
        ]

    def measure_loads(self) -> None:
        """Adds a row for each workload, road and number of callers, with all rounds."""
        for workload in WORKLOADS:
            if not self.is_wanted(workload.name):
                continue
            rows: list[dict[str, Any]] = []
            for peer, road in self._roads(workload):
                rows += self._prepare(workload, peer, road)
            for number in range(self._options.rounds):
                for row in rows:
                    self._add_round(number, workload, row)
                if workload.name == "flight":
                    self.result["limits"].setdefault("raw_log", []).append(
                        limits.raw_log(self._folder)
                    )
            for row in rows:
                del row["of"]
            self.result["loads"] += rows

    def _prepare(self, workload: Workload, peer: Peer, road: Road) -> list[dict[str, Any]]:
        """Makes what must be there, warms, and returns the workload's rows of this road.

        They have no rounds yet; or where this failed, its words as the only one.
        """
        failed: list[dict[str, Any]] = []
        try:
            self._warm(workload, peer, road)
        except FAILURES as error:
            say(f"  failed: {error}")
            failed = [{"failed_with": str(error)[:300]}]
        return [
            {
                "workload": workload.name,
                "title": workload.title,
                "peer": peer.name,
                "road": road.label,
                "shape": road.shape,
                "wire": road.wire.kind,
                "callers": callers,
                "seconds": seconds_of(self._options.seconds, workload, peer, callers),
                "rounds": list(failed),
                "of": None if failed else (peer, road),
            }
            for callers in workload.callers
            if road.is_main or callers in SIDE_CALLERS
        ]

    def _warm(self, workload: Workload, peer: Peer, road: Road) -> None:
        say(f"{workload.name}: warming {road.label}")
        if workload.first:
            made = self.loader.ask(
                road, workload.first, callers=CALLERS, seconds=FIRST_S_MAX, is_once=True
            )
            if made["failed"]:
                say(f"  {made['failed']} failed: {made['first_failure']}")
        self.loader.measure(peer, road, workload.actions, callers=CALLERS, seconds=WARM_S)

    def _add_round(self, number: int, workload: Workload, row: dict[str, Any]) -> None:
        if row["of"] is None:
            return
        peer, road = row["of"]
        say(f"{workload.name}, round {number + 1}: {road.label}, {row['callers']} callers")
        try:
            found = self.loader.measure(
                peer,
                road,
                workload.actions,
                callers=row["callers"],
                seconds=row["seconds"],
            )
        except FAILURES as error:
            row["rounds"].append({"failed_with": str(error)[:300]})
            return
        row["rounds"].append(found.to_json() | {"pss_mb": memory_mb(peer.pids())})

    def measure_syncs(self) -> None:
        """Counts syncs from outside while CALLERS callers increment."""
        found: dict[str, Any] = {}
        for peer in self.peers:
            for road in filter(lambda one: one.is_main, peer.roads()):
                say(f"syncs: {road.label}")
                try:
                    with SyncTrace(peer.pids()) as trace:
                        short_s = TRACE_S if road.wire.kind != "http" else TRACE_HTTP_S
                        seconds = peer.round_times * short_s
                        load = self.loader.ask(road, INCREMENTS, callers=CALLERS, seconds=seconds)
                except FAILURES as error:
                    found[road.label] = {"failed_with": str(error)[:300]}
                    continue
                syncs, answered = trace.result.total, load["answered"]
                found[road.label] = {
                    "peer": peer.name,
                    "calls": trace.result.calls,
                    "syncs": syncs,
                    "answered": answered,
                    "syncs_per_answer": syncs / answered if answered else None,
                    "answers_per_sync": answered / syncs if syncs else None,
                }
        self.result["syncs"] = found

    def measure_touches(self) -> None:
        """Adds how fast each peer makes entities that were not there."""
        found: dict[str, Any] = {}
        for peer in self.peers:
            road = peer.roads()[0]
            say(f"first touch: {road.label}")
            try:
                load = self.loader.ask(
                    road, touches(), callers=CALLERS, seconds=TOUCH_S_MAX, is_once=True
                )
            except FAILURES as error:
                found[road.label] = {"peer": peer.name, "failed_with": str(error)[:300]}
                continue
            is_whole = load["answered"] == TOUCHED
            del load["highest"]
            found[road.label] = load | {"peer": peer.name, "is_whole": is_whole}
        self.result["touch"] = found

    def run(self) -> None:
        """Does all phases."""
        names = chosen(self._options.only)
        with ExitStack() as stack:
            self.start(stack)
            self.measure_loads()
            if self.is_wanted("syncs"):
                self.measure_syncs()
            if self.is_wanted("touch"):
                self.measure_touches()
            if self.is_wanted("checks"):
                self.result["checks"] = checks.known_clients(self.peers)
        self.run_alone([name for name in names if "missing" not in self.result["peers"][name]])

    def run_alone(self, there: list[str]) -> None:
        """Measures each peer with the machine to itself."""
        wanted = {name for name in alone.ALONE if self.is_wanted(name)}
        where = self._folder / "alone"
        self.result["alone"] = alone.measure(self.packages, where, there, wanted)
        if self.is_wanted("mixed"):
            self.result["mixed"] = {
                name: self._measure_mixed(where / f"{name}-mixed", name)
                for name in there
                if name in alone.OURS
            }

    def _measure_mixed(self, folder: Path, name: str) -> dict[str, Any]:
        seconds = float(self._options.mixed_seconds)
        interval_s = min(MIXED_INTERVAL_S_MAX, seconds / MIXED_INTERVALS)
        try:
            return alone.mixed_load(
                self.packages, folder, name, seconds=seconds, interval_s=interval_s
            )
        except FAILURES as error:
            return {"failed_with": str(error)[:300]}


def seconds_of(whole: float, workload: Workload, peer: Peer, callers: int) -> float:
    """Returns how long a round is: half of `whole` where no goal stands, longer for slow peers."""
    has_goal = workload.name in WITH_GOALS and callers > 1
    return peer.round_times * (whole if has_goal else max(1.0, whole / 2))


def _stop(peer: Peer) -> None:
    """Ends a peer; that it cannot be ended in good order is no other peer's trouble."""
    try:
        peer.stop()
    except FAILURES as error:
        say(f"  {peer.name} did not end well: {error}")


WORKLOAD_NAMES: Final = ", ".join([*[one.name for one in WORKLOADS], *PARTS])


def parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("output", type=Path)
    made.add_argument("--only", default="", help="peers by name, comma between")
    made.add_argument("--workloads", default="", help=f"of {WORKLOAD_NAMES}; comma between")
    made.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--mixed-seconds", type=float, default=MIXED_S)
    made.add_argument("--packages", type=Path, help="keep packages here for the next run")
    return made


def parse() -> argparse.Namespace:
    """Returns the options of the command line, of names that there are."""
    taken = parser()
    options = taken.parse_args()
    chosen(options.only)
    unknown = set(filter(None, options.workloads.split(","))) - set(WORKLOAD_NAMES.split(", "))
    if unknown:
        there = ", ".join(sorted(unknown))
        taken.error(f"there is no workload {there}; there are {WORKLOAD_NAMES}")
    return options


def main() -> None:
    """Measures in one temporary folder beside our own data, and removes it."""
    options = parse()
    # Ended from outside, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    DATA_PARENT.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="peers-", dir=DATA_PARENT))
    # A server that does not run as root has its folder in ours.
    folder.chmod(0o755)
    # Peers have working directories of their own.
    options.packages = (options.packages or folder / "packages").absolute()
    begun = time.monotonic()
    run = Run(options, folder)
    try:
        run.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        run.result["took_s"] = time.monotonic() - begun
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(run.result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What is measured of each peer with the machine to itself, on fresh data each time.

Idle entities, SIGKILL, a failing handler, a loop, a memory eater; and for lithox the mixed load,
which is also what `make bench-mixed` does for half an hour.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.figures import say
from bench.peers import harm
from bench.peers.loading import FAILURES, Loader
from bench.peers.packages import Packages
from bench.peers.peer import ONE, Peer, Road
from bench.peers.peers import MAKERS
from bench.peers.processes import memory_mb
from bench.peers.workloads import CALLERS, IDLE, INCREMENTS, WORKLOADS, idlers, mixed

IDLE_CALLERS: Final = 256
IDLE_S_MAX: Final = 10.0
"""For peers; those that answer each call with a sync of its own make fewer in any case."""
IDLE_S_MAX_OURS: Final = 120.0
IDLE_REST_S: Final = 1.0
HARM_S: Final = 4.0
EAT_S: Final = 2.0
"""Shorter: no goal speaks of the rate beside a memory eater."""
OUR_ROUNDS: Final = {"loop": 3}
"""Where our figure is a goal and others' is not, ours is the median of this many fresh nodes."""
OURS: Final = ("lithox-1", "lithox-2")
LEFT_OUT: Final = {"lithox-postgres": ("idle", "loop", "eat")}
"""Its entities lie on a server, and no goal speaks of that server's memory; what stands between a
harmful handler and the others is lithox-1's."""
RATE_KEPT: Final = 0.9
P99_GROWN: Final = 1.5
MEMORY_GROWN: Final = 1.1

Measure = Callable[[Loader, Peer, Road], dict[str, Any]]


@contextmanager
def fresh(packages: Packages, folder: Path, name: str) -> Iterator[Peer]:
    """Gives a started peer on a new folder, and ends it."""
    peer = MAKERS[name](packages, folder)
    try:
        peer.start()
        yield peer
    finally:
        peer.stop()


def idle(loader: Loader, peer: Peer, _road: Road) -> dict[str, Any]:
    """Returns the memory of a peer after as many entities as there is time for, up to IDLE."""
    empty_mb = memory_mb(peer.pids())
    seconds = IDLE_S_MAX_OURS if peer.name.startswith("lithox") else IDLE_S_MAX
    road = fast_road(peer)
    found = loader.ask(road, idlers(), callers=IDLE_CALLERS, seconds=seconds, is_once=True)
    time.sleep(IDLE_REST_S)
    pids = peer.pids()
    return {
        "entities": found["answered"],
        "is_whole": found["answered"] == IDLE,
        "rate": found["rate"],
        "pss_mb": memory_mb(pids),
        "rss_mb": memory_mb(pids, "Rss"),
        "empty_pss_mb": empty_mb,
        "failed": found["failed"],
        "first_failure": found["first_failure"],
    }


def _loop(loader: Loader, peer: Peer, road: Road) -> dict[str, Any]:
    return harm.beside(loader, peer, road, "loop", seconds=HARM_S)


def _eat(loader: Loader, peer: Peer, road: Road) -> dict[str, Any]:
    return harm.beside(loader, peer, road, "eat", seconds=EAT_S)


def _spoil(_loader: Loader, _peer: Peer, road: Road) -> dict[str, Any]:
    return harm.spoil(road)


ALONE: Final[dict[str, Measure]] = {
    "idle": idle,
    "spoil": _spoil,
    "kill": harm.kill_and_restart,
    "loop": _loop,
    "eat": _eat,
}


def measure(packages: Packages, folder: Path, names: list[str], wanted: set[str]) -> dict[str, Any]:
    """Returns {workload: {peer: what was found, or {"failed_with": why}}}."""
    found: dict[str, Any] = {name: {} for name in ALONE if name in wanted}
    for name in names:
        for workload, rows in found.items():
            if workload in LEFT_OUT.get(name, ()):
                continue
            say(f"{name}: {workload}")
            where = folder / f"{name}-{workload}"
            try:
                rows[name] = _measure_rounds(packages, where, name, workload)
            except FAILURES as error:
                rows[name] = {"failed_with": str(error)[:300]}
    return found


def _measure_rounds(packages: Packages, where: Path, name: str, workload: str) -> dict[str, Any]:
    """Returns what one fresh peer showed, or the middle of several by what was kept."""
    count = OUR_ROUNDS.get(workload, 1) if name in OURS else 1
    found: list[dict[str, Any]] = []
    for number in range(count):
        folder = where / f"round-{number}"
        with fresh(packages, folder, name) as peer:
            loader = Loader(folder / "loader")
            found.append(ALONE[workload](loader, peer, peer.roads()[0]))
    if count == 1:
        return found[0]
    found.sort(key=lambda one: one["kept"])
    return found[count // 2] | {"kept_rounds": [one["kept"] for one in found]}


def fast_road(peer: Peer) -> Road:
    """Returns the pipelined road of a peer that has one, else its first."""
    return next((road for road in peer.roads() if road.shape == ONE), peer.roads()[0])


def mixed_load(
    packages: Packages, folder: Path, name: str, *, seconds: float, interval_s: float
) -> dict[str, Any]:
    """Returns throughput, p99 and memory of each interval of the mixed load, and if they are flat.

    Blocks for `seconds`.
    """
    with fresh(packages, folder, name) as peer:
        loader = Loader(folder / "loader")
        road = fast_road(peer)
        big = next(one for one in WORKLOADS if one.name == "big")
        for first in (INCREMENTS, big.first):
            loader.ask(road, first, callers=CALLERS, seconds=60.0, is_once=True)
        loader.ask(road, mixed(), callers=CALLERS, seconds=2.0)
        rows: list[dict[str, float]] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            load = loader.ask(road, mixed(), callers=CALLERS, seconds=interval_s)
            rows.append(
                {
                    "rate": load["rate"],
                    "p99_us": load["p99_us"] or 0.0,
                    "failed": load["failed"],
                    "pss_mb": memory_mb(peer.pids()),
                }
            )
            say(f"{name}, mixed: {load['rate']:,.0f}/s, {rows[-1]['pss_mb']:.0f} MB")
        return {"road": road.label, "interval_s": interval_s, "rows": rows, **flatness(rows)}


def flatness(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Returns the medians of the first and the last third, and whether they are alike."""
    third = max(1, len(rows) // 3)
    first = {key: statistics.median(row[key] for row in rows[:third]) for key in rows[0]}
    last = {key: statistics.median(row[key] for row in rows[-third:]) for key in rows[0]}
    is_flat = (
        last["rate"] >= RATE_KEPT * first["rate"]
        and last["p99_us"] <= P99_GROWN * first["p99_us"]
        and last["pss_mb"] <= MEMORY_GROWN * first["pss_mb"]
    )
    return {"first_third": first, "last_third": last, "is_flat": is_flat}

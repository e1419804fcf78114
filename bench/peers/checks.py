"""A client that anybody knows, beside our own generator: redis-benchmark, on every RESP road.

If the two disagree by much, one of them measures itself.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any, Final

from bench.figures import say
from bench.peers.peer import ONE, Peer, Road
from bench.peers.wires import Action
from bench.peers.workloads import CALLERS

REQUESTS: Final = 40_000
SECONDS_MAX: Final = 60.0
ENTITIES: Final = 256
ANY_NUMBER: Final = "__rand_int__"


def command_of(program: str, road: Road) -> list[str]:
    """Returns redis-benchmark's command for the counter, CALLERS callers in the road's shape."""
    callers = ["-c", "1", "-P", str(CALLERS)] if road.shape == ONE else ["-c", str(CALLERS)]
    words = road.wire.words(Action("increment", f"e{ANY_NUMBER}"))
    where = ["-h", road.wire.host, "-p", str(road.wire.port)]
    return [program, *where, *callers, "-n", str(REQUESTS), "-r", str(ENTITIES), "--csv", *words]


def rate_in(text: str) -> float:
    """Returns requests/s of redis-benchmark's CSV.

    Raises:
        ValueError: there is none.
    """
    rows = [row for row in csv.reader(text.splitlines()) if len(row) > 1]
    for row in rows:
        if row[0] != "test":
            return float(row[1])
    raise ValueError(f"unexpected words from redis-benchmark: {text[-200:]}")


def known_clients(peers: Sequence[Peer]) -> dict[str, Any]:
    """Returns {road: {"rate": requests/s}}, or why there is none."""
    program = shutil.which("redis-benchmark")
    found: dict[str, Any] = {}
    for peer in peers:
        for road in peer.roads():
            if road.wire.kind != "resp":
                continue
            say(f"redis-benchmark: {road.label}")
            if program is None:
                program, _ = peer.packages.find_command("redis-benchmark", "redis-tools")
            try:
                done = subprocess.run(
                    command_of(program, road),
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=SECONDS_MAX,
                )
                found[road.label] = {"rate": rate_in(done.stdout)}
            except (OSError, ValueError, subprocess.TimeoutExpired) as error:
                found[road.label] = {"failed_with": str(error)[:200]}
    return found

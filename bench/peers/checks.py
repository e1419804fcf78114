"""Clients that anybody knows, beside our own generator: redis-benchmark and Tarantool's net.box.

If one of them and ours disagree by much, one of the two measures itself.
"""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Sequence
from typing import Any, Final

from bench.figures import say
from bench.peers.packages import APPS
from bench.peers.peer import ONE, Peer, Road
from bench.peers.processes import MissingError
from bench.peers.wires import Action
from bench.peers.workloads import CALLERS

REQUESTS: Final = 20_000
SECONDS_MAX: Final = 60.0
NET_BOX_S: Final = 2
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


def net_box(peer: Peer, road: Road) -> float:
    """Returns calls/s of CALLERS fibres of Tarantool's own client. Raises ValueError, OSError."""
    program, environment = peer.packages.find_command("tarantool", "tarantool")
    script = str(APPS / "tarantool" / "load.lua")
    words = [program, script, str(road.wire.port), str(CALLERS), str(NET_BOX_S)]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
        env={**os.environ, **environment},
    )
    return float(done.stdout)


def redis_benchmark(peer: Peer, road: Road) -> float:
    """Returns calls/s of redis-benchmark on a RESP road. Raises ValueError, OSError."""
    program, _ = peer.packages.find_command("redis-benchmark", "redis-tools")
    done = subprocess.run(
        command_of(program, road),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )
    return rate_in(done.stdout)


def known_clients(peers: Sequence[Peer]) -> dict[str, Any]:
    """Returns {road: {"client", "rate": calls/s}}, or why there is none."""
    found: dict[str, Any] = {}
    for peer in peers:
        for road in peer.roads():
            if road.wire.kind == "resp":
                client, ask = "redis-benchmark", redis_benchmark
            elif road.wire.kind == "iproto" and road.shape == ONE:
                client, ask = "net.box", net_box
            else:
                continue
            say(f"{client}: {road.label}")
            try:
                found[road.label] = {"client": client, "rate": ask(peer, road)}
            except (MissingError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                found[road.label] = {"client": client, "failed_with": str(error)[:200]}
    return found

"""What does a call cost on each road into a node? HTTP and RESP, over sockets, beside no run.

A gateway of its own process serves a node that answers every call in the next turn of its loop.
Each road is loaded in turn, in interleaved rounds, by a program that is faster than the gateway:
wrk, redis-benchmark, and `lithox.Client` for the road of one shared connection. Told are calls per
second and the processor time of the serving process a call, which other load on the machine hardly
moves: the median of the rounds.

Usage: python -m bench.roads [--rounds 3] [--calls 60000]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import uvloop

import lithox
from bench.resp import Still
from lithox.gateway.serve import serve
from lithox.gateway.settings import GatewaySettings
from lithox.model.request import Answer, Request

CALLERS: Final = 64
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
SCRIPT: Final = """
wrk.method = "POST"
wrk.body = '{"args":[1]}'
wrk.headers["Content-Type"] = "application/json"
wrk.path = "/v1/entities/counter/a:increment"
"""


class Served(Still):
    """A node that runs nothing, with what a gateway asks besides."""

    def submit(self, request: Request) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.submit_to(request, future.set_result)
        return future

    def statistics(self) -> dict[str, float]:
        return {}

    def info(self) -> dict[str, Any]:
        return {"version": "bench"}

    def release_waiting(self) -> None:
        """Nobody waits for news."""


def _serve(told: Connection) -> None:
    """Runs in a process of its own until that is ended."""

    async def whole() -> None:
        node: Any = Served(asyncio.get_running_loop(), is_at_once=False)
        await serve(
            node,
            GatewaySettings(port=0),
            stop=asyncio.Event(),
            on_ready=lambda address: told.send(address.port),
        )

    uvloop.run(whole())


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _wrk(port: int, calls: int) -> int:
    seconds = max(1, calls // 20_000)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        script.flush()
        said = _said(
            *("wrk", "-t1", f"-c{CALLERS}", f"-d{seconds}s", "-s", script.name),
            f"http://127.0.0.1:{port}",
        )
    found = re.search(r"(\d+) requests in", said)
    if found is None or "Non-2xx" in said:
        raise SystemExit(f"unexpected words from wrk:\n{said}")
    return int(found[1])


def _redis(*more: str) -> Callable[[int, int], int]:
    def load(port: int, calls: int) -> int:
        words = ("-p", str(port), "-n", str(calls), "-q", *more)
        _said("redis-benchmark", *words, "CALL", "counter/a", "increment", "1")
        return calls

    return load


def _client(scheme: str) -> Callable[[int, int], int]:
    def load(port: int, calls: int) -> int:
        async def whole() -> None:
            async with lithox.Client(f"{scheme}://127.0.0.1:{port}") as client:

                async def caller() -> None:
                    for _ in range(calls // CALLERS):
                        await client.call("counter/a", "increment", 1)

                await asyncio.gather(*(caller() for _ in range(CALLERS)))

        uvloop.run(whole())
        return calls // CALLERS * CALLERS

    return load


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


ROADS: Final[dict[str, Callable[[int, int], int]]] = {
    "HTTP, 64 connections (wrk)": _wrk,
    "RESP, 64 connections (redis-benchmark)": _redis("-c", "64"),
    "RESP, 4 connections, 16 in each pipeline": _redis("-c", "4", "-P", "16"),
    "lithox.Client, http://, 64 callers": _client("http"),
    "lithox.Client, lithox://, 64 callers": _client("lithox"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=60_000)
    arguments = parser.parse_args()
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    child.start()
    port = here.recv()
    assert child.pid is not None
    rates: dict[str, list[float]] = {name: [] for name in ROADS}
    costs: dict[str, list[float]] = {name: [] for name in ROADS}
    for _ in range(arguments.rounds):
        for name, load in ROADS.items():
            spent, began = _processor_s(child.pid), time.monotonic()
            done = load(port, arguments.calls)
            rates[name].append(done / (time.monotonic() - began))
            costs[name].append((_processor_s(child.pid) - spent) / done * 1e6)
    child.terminate()
    child.join()
    print("| road | calls/s | processor time of the gateway a call |")
    print("|---|---|---|")
    for name in ROADS:
        rate, cost = statistics.median(rates[name]), statistics.median(costs[name])
        print(f"| {name} | {rate:,.0f} | {cost:.1f} us |")


if __name__ == "__main__":
    main()

"""Row 8: what do two handlers that loop for ever cost everybody else?

The others are 64 callers of counters (one account). The two that loop belong to two accounts of
their own and are called again whenever a limit has ended them. Each round measures the others
alone and then beside the loops, in two ways: saturated (a closed loop of 64 callers) and at 70 %
of the rate they had just reached alone (an open loop, latency from when each request was due).
Goals: 90 % of the throughput saturated, all of it at 70 %, p99 at most three times; the yardstick
is always the same load alone, in the same round.

`--way in` measures through `lithox.Node` in this process, `--way http` against `lithox serve` with
three tenants that have tokens, loaded by processes of their own.

Usage: python -m bench.neighbours [--way in|http] [--rounds 5] [--seconds 1.5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvloop

import lithox
from bench import serving
from bench.counter import CALLERS, ENTITIES, HANDLER, ORDER, ROOT, data_directory
from bench.figures import ROUNDS_DEFAULT, Series, ratio_of, report, say
from bench.loads import closed_loop, open_loop
from lithox.model.ids import AccountName, Identity

BUNDLE: Final = ROOT / "bench" / "bundles" / "neighbours"
LOOPERS: Final = 2
SHARE: Final = 0.7
SETTLE_S: Final = 0.3
"""How long the loops run before others are measured beside them: past their first slices."""
KEPT_AT_SHARE: Final = 0.99
"""All of an offered rate, but for the requests that are on their way when a round ends."""


@dataclass(slots=True)
class Seen:
    """Rate and p99 of one load, however it was made."""

    rate: float
    p99_us: float


@dataclass(slots=True)
class Case:
    """One way of loading, alone and beside the loops."""

    title: str
    throughput_min: float
    alone: list[Seen] = field(default_factory=list[Seen])
    beside: list[Seen] = field(default_factory=list[Seen])

    def report(self, where: str) -> None:
        """Prints two rows: throughput kept, and p99."""
        for name, unit, reach in (
            ("throughput", "/s", f"ratio at least {self.throughput_min:.2f}"),
            ("p99", "us", "ratio at most 3"),
        ):
            is_rate = name == "throughput"
            series = [
                Series(
                    name=f"{name} {which}",
                    unit=unit,
                    values=[one.rate if is_rate else one.p99_us for one in seen],
                )
                for which, seen in (("beside two loops", self.beside), ("alone", self.alone))
            ]
            ratio = ratio_of(*series)
            report(
                row=8,
                what=f"neighbours of two loops, {where}, {self.title}: {name}",
                figure=series[0],
                yardstick=series[1],
                ratio=ratio,
                reach=reach,
                is_reached=ratio >= self.throughput_min if is_rate else ratio <= 3,
            )


class Way:
    """One way in: how to load, and how to start and end the loops."""

    saturate: Callable[[], Awaitable[Seen]]
    offer: Callable[[float], Awaitable[Seen]]
    begin_loops: Callable[[], Awaitable[None]]
    end_loops: Callable[[], Awaitable[None]]


async def measure(way: Way, where: str, rounds: int) -> None:
    """Makes all rounds and prints four rows."""
    full = Case("saturated", 0.9)
    part = Case("at 70 %", KEPT_AT_SHARE)
    await way.saturate()
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        full.alone.append(await way.saturate())
        offered = full.alone[-1].rate * SHARE
        part.alone.append(await way.offer(offered))
        await way.begin_loops()
        await asyncio.sleep(SETTLE_S)
        full.beside.append(await way.saturate())
        part.beside.append(await way.offer(offered))
        await way.end_loops()
    full.report(where)
    part.report(where)


class InProcess(Way):
    """Through `lithox.Node`; load and node share a thread, as in an embedding program."""

    def __init__(self, node: lithox.Node, seconds: float) -> None:
        self._node = node
        self._seconds = seconds
        self._others = lithox.Caller(identity=Identity("others"), account=AccountName("others"))
        self._loops: list[asyncio.Task[None]] = []

    def _call(self, number: int) -> Awaitable[object]:
        return self._node.call(ORDER[number % len(ORDER)], HANDLER, caller=self._others)

    async def saturate(self) -> Seen:
        found = await closed_loop(self._call, callers=CALLERS, seconds=self._seconds)
        return Seen(found.rate, found.p99_us)

    async def offer(self, rate: float) -> Seen:
        found = await open_loop(self._call, rate=rate, seconds=self._seconds)
        return Seen(found.rate, found.p99_us)

    async def _loop(self, index: int) -> None:
        name = f"loops-{index}"
        caller = lithox.Caller(identity=Identity(name), account=AccountName(name))
        while True:
            with contextlib.suppress(lithox.LithoxError):
                await self._node.call(f"endless/{index}", "loop", caller=caller)

    async def begin_loops(self) -> None:
        self._loops = [asyncio.create_task(self._loop(index)) for index in range(LOOPERS)]

    async def end_loops(self) -> None:
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        # Cancelling who waits ends no run: the operator does.
        operator = self._node.identify(None, is_loopback=True)
        for row in self._node.processes(operator):
            self._node.kill(row["pid"], operator)
        while self._node.processes(operator):  # noqa: ASYNC110 - nobody tells when they are gone
            await asyncio.sleep(0.01)


class OverHttp(Way):
    """Against `lithox serve`, with a token for each tenant."""

    def __init__(self, served: serving.Served, data: Path, seconds: float) -> None:
        self._served = served
        self._seconds = max(1, round(seconds))
        self._script = serving.write_script(data / "others.lua", token="others")
        self._loops: list[threading.Thread] = []
        self._is_looping = threading.Event()

    async def saturate(self) -> Seen:
        found = await asyncio.to_thread(
            serving.load,
            self._served,
            self._script,
            connections=CALLERS,
            seconds=self._seconds,
        )
        return Seen(found.rate, found.p99_us)

    async def offer(self, rate: float) -> Seen:
        host, port = self._served.address
        command = [sys.executable, "-m", "bench.http_load", host, str(port), "--token", "others"]
        command += ["--rate", f"{rate:.1f}", "--seconds", str(self._seconds)]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"the open loop failed: {done.stderr[-500:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        return Seen(found["rate"], found["p99_us"])

    def _loop(self, index: int) -> None:
        """Calls the endless handler again and again; an error is the only answer there is."""
        headers = {"Authorization": f"Bearer loops-{index}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(*self._served.address, timeout=60)
        while self._is_looping.is_set():
            connection.request("POST", f"/v1/entities/endless/{index}:loop", "{}", headers)
            connection.getresponse().read()
        connection.close()

    async def begin_loops(self) -> None:
        self._is_looping.set()
        self._loops = [
            threading.Thread(target=self._loop, args=(index,), daemon=True)
            for index in range(LOOPERS)
        ]
        for thread in self._loops:
            thread.start()

    async def end_loops(self) -> None:
        self._is_looping.clear()
        await asyncio.to_thread(self._kill_loops)
        for thread in self._loops:
            await asyncio.to_thread(thread.join)

    def _kill_loops(self) -> None:
        """Ends what runs, as an operator does; a run's own limits would take seconds."""
        headers = {"Authorization": "Bearer operator"}
        connection = http.client.HTTPConnection(*self._served.address, timeout=60)
        connection.request("GET", "/v1/processes", headers=headers)
        for row in json.loads(connection.getresponse().read())["processes"]:
            connection.request("DELETE", f"/v1/processes/{row['pid']}", headers=headers)
            connection.getresponse().read()
        connection.close()


@contextmanager
def serving_tenants(data: Path) -> Iterator[serving.Served]:
    """Gives a server that knows an administrator and three tenants; a token is its own name."""
    config = data / "node.toml"
    lines: list[str] = []
    for name in ("operator", "others", *(f"loops-{index}" for index in range(LOOPERS))):
        digest = hashlib.sha256(name.encode()).hexdigest()
        admin = "true" if name == "operator" else "false"
        lines += ["[[identity]]", f'name = "{name}"', f'token_sha256 = "{digest}"']
        lines += [f"admin = {admin}", ""]
    config.write_text("\n".join(lines))
    with serving.serving(serving.serve_command(data / "served", config)) as served:
        serving.deploy(served, token="operator", bundle=BUNDLE)
        for index in range(ENTITIES):
            served.request(f"/v1/entities/counter/e{index}:{HANDLER}", token="others")
        yield served


async def measure_in(data: Path, options: argparse.Namespace) -> None:
    """Rows through `lithox.Node`."""
    async with lithox.Node(data / "node") as node:
        await node.deploy(BUNDLE)
        await measure(InProcess(node, options.seconds), "in process", options.rounds)


async def measure_http(data: Path, options: argparse.Namespace) -> None:
    """Rows over HTTP."""
    with serving_tenants(data) as served:
        await measure(OverHttp(served, data, options.seconds), "over HTTP", options.rounds)


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--way", choices=("in", "http"), default="in")
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each part of a round")
    options = parser.parse_args()
    measure_way = measure_in if options.way == "in" else measure_http
    with data_directory() as data:
        uvloop.run(measure_way(data, options))


if __name__ == "__main__":
    main()

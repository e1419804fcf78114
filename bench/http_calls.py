"""How much of a node's own rate arrives over HTTP?

Measures, in interleaved rounds on the same machine: a = durable handler runs per second through
`lithox.Node` in one process (64 callers, 256 entities), b = requests per second of the chosen HTTP
server around an empty handler (bench/http_server.py), c = the same calls over HTTP to a real
`lithox serve`, loaded by wrk with 64 kept connections. The goal is c >= 0.8 / (1/a + 1/b).

Usage: python bench/http_calls.py [--rounds 5] [--seconds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

import lithox

sys.path.insert(0, str(Path(__file__).parent))
import http_server

CALLERS = 64
ENTITIES = 256
COUNTER = Path(__file__).parent.parent / "examples" / "counter"
GOAL = 0.8
SCRIPT = f"""
wrk.method = "POST"
wrk.body = '{{"args":[1]}}'
wrk.headers["Content-Type"] = "application/json"
local n = 0
request = function()
  n = (n + 1) % {ENTITIES}
  return wrk.format(nil, "/v1/entities/counter/e" .. n .. ":increment")
end
"""


async def _in_process(data: str, seconds: float) -> float:
    """Returns calls per second of 64 callers inside one process."""
    async with lithox.Node(data) as node:
        await node.deploy(COUNTER)
        done = 0
        end = time.monotonic() + seconds

        async def caller(first: int) -> None:
            nonlocal done
            number = first
            while time.monotonic() < end:
                await node.call(f"counter/e{number % ENTITIES}", "increment", 1)
                number += CALLERS
                done += 1

        began = time.monotonic()
        await asyncio.gather(*(caller(first) for first in range(CALLERS)))
        return done / (time.monotonic() - began)


def _wrk(url: str, script: Path, seconds: float) -> float:
    text = subprocess.run(
        ["wrk", "-t1", f"-c{CALLERS}", f"-d{int(seconds)}s", "-s", str(script), url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", text)
    if rate is None or "Non-2xx" in text:
        raise SystemExit(f"unexpected words from wrk:\n{text}")
    return float(rate[1])


def _start_node(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Returns a served node, deployed to, and its URL."""
    command = [sys.executable, "-m", "lithox.cli.main", "serve", "--data", str(folder / "served")]
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", "--json"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]

    async def deploy() -> None:
        async with lithox.Client(url) as client:
            await client.deploy(COUNTER)

    asyncio.run(deploy())
    return process, url


def main() -> None:
    """Reads the command line, measures in interleaved rounds, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--in-process", metavar="DIR", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_process:
        print(uvloop.run(_in_process(arguments.in_process, arguments.seconds)))
        return
    rates: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "calls.lua"
        script.write_text(SCRIPT)
        port = http_server._free_port()
        empty = subprocess.Popen(
            [sys.executable, http_server.__file__, "--serve", "uvicorn-httptools", str(port)]
        )
        node, url = _start_node(folder)
        try:
            http_server._wait_ready(port)
            for number in range(arguments.rounds):
                own = subprocess.run(
                    [
                        sys.executable,
                        __file__,
                        "--seconds",
                        str(arguments.seconds),
                        "--in-process",
                        str(folder / f"own{number}"),
                    ],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                rates["a"].append(float(own.stdout))
                rates["b"].append(_wrk(f"http://127.0.0.1:{port}", script, arguments.seconds))
                rates["c"].append(_wrk(url, script, arguments.seconds))
        finally:
            for process in (empty, node):
                process.terminate()
                process.wait()
    a, b, c = (statistics.median(rates[name]) for name in "abc")
    bound = 1 / (1 / a + 1 / b)
    print(f"a, in process: {a:,.0f}/s   b, empty handler: {b:,.0f}/s   c, over HTTP: {c:,.0f}/s")
    print(f"c / (1 / (1/a + 1/b)) = {c / bound:.2f}   goal {GOAL}")


if __name__ == "__main__":
    main()

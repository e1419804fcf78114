"""Which HTTP server costs least around an empty handler, on the node's own event loop?

Every candidate runs in a process of its own (one asyncio loop on uvloop, no access log) and answers
`POST` with 120 bytes after reading a small JSON body. The same `wrk` process settings load each in
turn; rounds are interleaved so that other load on the machine meets all alike. The figure `b` of
the gateway's goal (docs/decisions/0004-http-server.md) is the median of the chosen one.

Usage: python bench/http_server.py [--rounds 5] [--seconds 3] [--connections 64]
           [--work-us 0] [--burners 0] [--only NAME]
Needs `wrk`; candidates whose package is not installed are listed as absent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

BODY = b'{"args":[5],"limits":{"fuel":1000000}}'
ANSWER = (
    json.dumps(
        {
            "request": None,
            "status": "ok",
            "value": 5,
            "usage": {"fuel": 12345, "cpu_us": 55, "ms": 0.9},
        }
    )
    .encode()
    .ljust(120)
)
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(ANSWER)).encode()),
]
PATH = "/v1/entities/counter/alice:increment"
READY_SECONDS_MAX = 15.0


WORK_US = int(os.environ.get("LITHOX_BENCH_WORK_US", "0"))


async def _work() -> None:
    """Stands for a run in the node: waits one turn of the loop, keeps the processor for a while."""
    if not WORK_US:
        return
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(done.set_result, None)
    await done
    end_ns = time.perf_counter_ns() + WORK_US * 1000
    while time.perf_counter_ns() < end_ns:
        pass


async def asgi_app(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Reads the whole body and answers; the least any ASGI gateway must do."""
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    await _work()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


async def rsgi_app(_scope: Any, protocol: Any) -> None:
    """The same over granian's own interface."""
    await protocol()
    await _work()
    protocol.response_bytes(
        200, [(name.decode(), value.decode()) for name, value in HEADERS], ANSWER
    )


def _burn_for_ever() -> None:
    """Keeps one processor without holding the interpreter lock, as a looping guest does."""
    while True:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 200_000)


async def _uvicorn(port: int, http: str) -> None:
    import uvicorn

    config = uvicorn.Config(
        asgi_app,
        port=port,
        http=http,
        access_log=False,
        log_level="error",
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
    )
    await uvicorn.Server(config).serve()


async def _granian(port: int, interface: str) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    target = rsgi_app if interface == "rsgi" else asgi_app
    server = Server(
        target,
        port=port,
        interface=Interfaces(interface),
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    )
    await server.serve()


async def _aiohttp(port: int) -> None:
    from aiohttp import web

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        await _work()
        return web.Response(body=ANSWER, content_type="application/json")

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


async def _hypercorn(port: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    await serve(asgi_app, config, mode="asgi")  # type: ignore[arg-type]


CANDIDATES: dict[str, Callable[[int], Awaitable[None]]] = {
    "uvicorn-httptools": lambda port: _uvicorn(port, "httptools"),
    "uvicorn-zttp": lambda port: _uvicorn(port, "zttp"),
    "uvicorn-h11": lambda port: _uvicorn(port, "h11"),
    "granian-embed-asgi": lambda port: _granian(port, "asginl"),
    "granian-embed-rsgi": lambda port: _granian(port, "rsgi"),
    "aiohttp": _aiohttp,
    "hypercorn": _hypercorn,
}


def _serve(name: str, port: int) -> None:
    """Runs one candidate in this process until it is killed."""
    import uvloop

    for _ in range(int(os.environ.get("LITHOX_BENCH_BURNERS", "0"))):
        threading.Thread(target=_burn_for_ever, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(CANDIDATES[name](port))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _wait_ready(port: int) -> bool:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.05)
    return False


class Round(NamedTuple):
    """One round of wrk against one server; `cpu_us` is the server's processor time a request."""

    rate: float
    p50: str
    p99: str
    cpu_us: float


def _cpu_seconds(pid: int) -> float:
    """Returns user and system time of all threads of `pid` (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _load(port: int, pid: int, script: Path, arguments: argparse.Namespace) -> Round:
    """Returns one round of wrk."""
    before = _cpu_seconds(pid)
    command = ["wrk", "-t1", f"-c{arguments.connections}", f"-d{arguments.seconds}s", "--latency"]
    text = subprocess.run(
        [*command, "-s", str(script), f"http://127.0.0.1:{port}{PATH}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", text)
    halves = re.search(r"50%\s+(\S+)[\s\S]*99%\s+(\S+)", text)
    if rate is None or halves is None or "Non-2xx" in text:
        raise SystemExit(f"unexpected words from wrk:\n{text}")
    cpu_us = (_cpu_seconds(pid) - before) * 1e6 / (float(rate[1]) * arguments.seconds)
    return Round(float(rate[1]), halves[1], halves[2], cpu_us)


def _measure(arguments: argparse.Namespace) -> None:
    """Starts every candidate, loads them in interleaved rounds, prints the table."""
    script = Path(tempfile.mkdtemp()) / "post.lua"
    script.write_text(
        'wrk.method = "POST"\n'
        f"wrk.body = '{BODY.decode()}'\n"
        'wrk.headers["Content-Type"] = "application/json"\n'
    )
    servers: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}
    found: dict[str, list[Round]] = {}
    try:
        for name in [arguments.only] if arguments.only else CANDIDATES:
            port = _free_port()
            process = subprocess.Popen([sys.executable, __file__, "--serve", name, str(port)])
            if not _wait_ready(port):
                process.kill()
                print(f"{name}: absent")
                continue
            servers[name] = (port, process)
        for _ in range(arguments.rounds):
            for name, (port, process) in servers.items():
                one = _load(port, process.pid, script, arguments)
                found.setdefault(name, []).append(one)
    finally:
        for _port, process in servers.values():
            process.kill()
            process.wait()
        shutil.rmtree(script.parent)
    print(f"| server | requests/s (median of {arguments.rounds}) | p50 | p99 | cpu us each |")
    print("|---|---|---|---|---|")
    for name, rounds in found.items():
        rate = statistics.median(one.rate for one in rounds)
        middle = min(rounds, key=lambda one: abs(one.rate - rate))
        print(f"| {name} | {rate:,.0f} | {middle.p50} | {middle.p99} | {middle.cpu_us:.0f} |")
    print(f"load average before the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def main() -> None:
    """Reads the command line; `--serve` is how the parent starts each candidate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--work-us", type=int, default=0, help="processor time of the handler")
    parser.add_argument("--burners", type=int, default=0, help="threads that loop beside it")
    parser.add_argument("--only", choices=CANDIDATES)
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "PORT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        _serve(arguments.serve[0], int(arguments.serve[1]))
    else:
        os.environ["LITHOX_BENCH_WORK_US"] = str(arguments.work_us)
        os.environ["LITHOX_BENCH_BURNERS"] = str(arguments.burners)
        _measure(arguments)


if __name__ == "__main__":
    main()

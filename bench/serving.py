"""Real `lithox serve` processes and the load that meets them: wrk, in a process of its own.

Every server started here listens on a free port of the loopback and is ended by its own process
id, also when the benchmark fails.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.counter import BUNDLE, ENTITIES, HANDLER, ROOT

READY_SECONDS_MAX: Final = 30.0
END_SECONDS_MAX: Final = 30.0
WRK_MISSING: Final = "wrk is not installed (apt-get install wrk)"
BODY: Final = "{}"
_UNIT_US: Final = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


@dataclass(slots=True, kw_only=True)
class Served:
    """A server that answers; `ready_s` is from its start to its ready line."""

    url: str
    process: subprocess.Popen[str]
    ready_s: float

    @property
    def address(self) -> tuple[str, int]:
        """(host, port)."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def request(self, path: str, body: str = BODY, token: str | None = None) -> Any:
        """Returns the value of one call over a new connection; raises SystemExit on a refusal."""
        connection = http.client.HTTPConnection(*self.address, timeout=READY_SECONDS_MAX)
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {text.decode()[:200]}")
        return json.loads(text)


def start(command: Sequence[str]) -> Served:
    """Starts a server that prints one JSON line with its "url" when it is ready."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait()
        raise SystemExit(f"ended before it was ready: {' '.join(command)}")
    return Served(url=json.loads(line)["url"], process=process, ready_s=time.perf_counter() - begun)


def serve_command(data: Path, config: Path | None = None, *, processes: int = 1) -> list[str]:
    """Returns the command of a node over HTTP on a free port."""
    command = [str(Path(sys.executable).parent / "lithox"), "serve", "--data", str(data)]
    command += ["--processes", str(processes)]
    command += ["--listen", "127.0.0.1:0", "--json", "--log-level", "warning"]
    return command if config is None else [*command, "--config", str(config)]


@contextmanager
def serving(command: Sequence[str]) -> Iterator[Served]:
    """Gives a started server and ends it afterwards."""
    served = start(command)
    try:
        yield served
    finally:
        served.process.terminate()
        try:
            served.process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            served.process.kill()
            served.process.wait()


def deploy(served: Served, token: str | None = None, bundle: Path = BUNDLE) -> None:
    """Publishes a bundle with the command line, as an operator does."""
    command = [str(Path(sys.executable).parent / "lithox"), "deploy", str(bundle)]
    environment = {**os.environ, "LITHOX_NODE": served.url}
    if token is not None:
        environment["LITHOX_TOKEN"] = token
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"deploying failed: {done.stdout}{done.stderr}")


def write_script(
    path: Path, *, entity_prefix: str = "counter/e", think_ms: float = 0, token: str | None = None
) -> Path:
    """Writes wrk's script: a POST to one of the entities by chance, after a pause by chance.

    Args:
        think_ms: mean of the pause before each request, exponentially distributed; 0 for none.
    """
    token_line = f'wrk.headers["Authorization"] = "Bearer {token}"\n' if token else ""
    pause = (
        f"function delay() return math.floor(-math.log(1 - math.random()) * {think_ms} + 0.5) end\n"
        if think_ms
        else ""
    )
    path.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{BODY}'\n"
        "wrk.headers['Content-Type'] = 'application/json'\n"
        f"{token_line}"
        f"local asked = {{}}\n"
        "function init(args)\n"
        f"  for i = 0, {ENTITIES - 1} do\n"
        f"    asked[i] = wrk.format(nil, '/v1/entities/{entity_prefix}' .. i .. ':{HANDLER}')\n"
        "  end\n"
        "end\n"
        f"function request() return asked[math.random(0, {ENTITIES - 1})] end\n"
        f"{pause}"
    )
    return path


@dataclass(slots=True, kw_only=True)
class WrkLoad:
    """What one run of wrk saw; times in microseconds."""

    rate: float
    p50_us: float
    p99_us: float
    server_cpu_us: float


def load(served: Served, script: Path, *, connections: int, seconds: int) -> WrkLoad:
    """Returns what wrk saw of `served`. Blocks for `seconds`."""
    before_s = cpu_seconds(served.process.pid)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    try:
        done = subprocess.run([*command, served.url], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise SystemExit(WRK_MISSING) from None
    text = done.stdout
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", text)
    if rate is None or "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"unexpected words from wrk:\n{text}")
    used_s = cpu_seconds(served.process.pid) - before_s
    return WrkLoad(
        rate=float(rate[1]),
        p50_us=_time_us(text, "50%"),
        p99_us=_time_us(text, "99%"),
        server_cpu_us=used_s * 1e6 / (float(rate[1]) * seconds),
    )


def _time_us(text: str, share: str) -> float:
    found = re.search(rf"{share}\s+([0-9.]+)([a-z]+)", text)
    if found is None:
        raise SystemExit(f"wrk said nothing about {share}:\n{text}")
    return float(found[1]) * _UNIT_US[found[2]]


def cpu_seconds(pid: int) -> float:
    """Returns user and system time of all threads of `pid` (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

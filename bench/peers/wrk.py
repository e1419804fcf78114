"""wrk as the load of HTTP: a script with every request made beforehand, and one line at its end."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.peers.processes import MissingError, children_cpu_seconds

_LINE: Final = re.compile(
    r"^PEERS requests=(\d+) us=(\d+) status=(\d+) socket=(\d+) p50=([0-9.]+) p99=([0-9.]+)$",
    re.MULTILINE,
)
SEED: Final = 7
END_S_MAX: Final = 30.0
"""How much longer than its time wrk may take before it is ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one run of a load generator saw. Latencies in microseconds, None without answers."""

    answered: int
    failed: int
    seconds: float
    p50_us: float | None
    p99_us: float | None
    client_cpu_s: float
    first_failure: str = ""

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0


def script_of(requests: Sequence[tuple[str, str]]) -> str:
    """Returns the script: a POST of one of `requests` (path, body) by chance."""
    lines = [f"math.randomseed({SEED})", "local asked = {}", "function init()"]
    lines.append('  local head = {["Content-Type"] = "application/json"}')
    lines += [
        f"  asked[{number}] = wrk.format('POST', '{path}', head, '{body}')"
        for number, (path, body) in enumerate(requests, start=1)
    ]
    lines += [
        "end",
        f"function request() return asked[math.random({len(requests)})] end",
        "function done(summary, latency)",
        "  local errors = summary.errors",
        "  io.write(string.format(",
        "    'PEERS requests=%d us=%d status=%d socket=%d p50=%.1f p99=%.1f\\n',",
        "    summary.requests, summary.duration, errors.status,",
        "    errors.connect + errors.read + errors.write + errors.timeout,",
        "    latency:percentile(50), latency:percentile(99)))",
        "end",
    ]
    return "\n".join(lines) + "\n"


def parse(text: str, *, client_cpu_s: float) -> Load:
    """Returns what wrk's output says.

    Raises:
        ValueError: the line of our script is not in it.
    """
    found = _LINE.search(text)
    if found is None:
        raise ValueError(f"unexpected words from wrk: {text[-300:]}")
    requests, us, status, sockets = (int(found[number]) for number in range(1, 5))
    return Load(
        answered=requests - status,
        failed=status + sockets,
        seconds=us / 1e6,
        p50_us=float(found[5]) if requests else None,
        p99_us=float(found[6]) if requests else None,
        client_cpu_s=client_cpu_s,
        first_failure=f"{status} answers were no success" if status else "",
    )


def run(script: Path, *, host: str, port: int, callers: int, seconds: float) -> Load:
    """Returns what wrk saw with `callers` kept connections. Blocks for whole seconds.

    Raises:
        MissingError: wrk is not installed.
        TimeoutExpired: it did not end.
    """
    whole = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{callers}", f"-d{whole}s", "--timeout", f"{whole + 5}s"]
    before_s = children_cpu_seconds()
    try:
        done = subprocess.run(
            [*command, "-s", str(script), f"http://{host}:{port}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=whole + END_S_MAX,
        )
    except FileNotFoundError:
        raise MissingError("wrk is not installed (apt-get install wrk)") from None
    return parse(done.stdout + done.stderr, client_cpu_s=children_cpu_seconds() - before_s)

"""All gates that need no running node, side by side: one line each, the output of those that fail.

A gate is a command that ends with 0 when it is content. The slow one (types) starts first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from places import CACHE, PYTHON, ROOT, tool

GATES_AT_ONCE_MAX = 4
GATE_SECONDS_MAX = 300


class Gate(NamedTuple):
    """One check: what it is called and the command that makes it."""

    name: str
    command: list[str]


class Verdict(NamedTuple):
    """How a gate ended."""

    gate: Gate
    is_open: bool
    seconds: float
    output: str


GATES = [
    Gate("types", [tool("basedpyright"), "--warnings", "--pythonpath", str(PYTHON)]),
    Gate("rules of the repository", [str(PYTHON), "-m", "pytest", "-q", "-n", "0", "tests/repo"]),
    Gate("layers", [tool("lint-imports"), "--config", "layers.toml", "--no-cache"]),
    Gate("lint", [tool("ruff"), "check", "--output-format=concise", "."]),
    Gate("format", [tool("ruff"), "format", "--check", "."]),
]


def check(gate: Gate) -> Verdict:
    """Returns how `gate` ends. Blocks until it does, at most GATE_SECONDS_MAX."""
    started = time.monotonic()
    # The layers are read from src itself, so that an unbuilt checkout can be checked too.
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"}
    try:
        done = subprocess.run(
            gate.command,
            cwd=ROOT,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=GATE_SECONDS_MAX,
            check=False,
        )
        status, output = done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired:
        status, output = 1, f"no verdict within {GATE_SECONDS_MAX} s"
    except OSError as error:
        status, output = 1, str(error)
    return Verdict(gate, status == 0, time.monotonic() - started, output)


def main(arguments: list[str]) -> int:
    """Checks the gates `arguments` names, or all; returns 0 when every one is open."""
    chosen = [gate for gate in GATES if not arguments or gate.name.split()[0] in arguments]
    if not chosen:
        names = ", ".join(gate.name.split()[0] for gate in GATES)
        print(f"no such gate; there are: {names}", file=sys.stderr)
        return 2
    CACHE.mkdir(exist_ok=True)
    refused: list[Verdict] = []
    with ThreadPoolExecutor(GATES_AT_ONCE_MAX) as pool:
        for verdict in pool.map(check, chosen):
            word = "ok" if verdict.is_open else "FAILED"
            print(f"  {verdict.gate.name:26} {word:7} {verdict.seconds:5.1f} s", flush=True)
            if not verdict.is_open:
                refused.append(verdict)
    for verdict in refused:
        print(f"\n--- {verdict.gate.name}: {' '.join(verdict.gate.command)}\n{verdict.output}")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

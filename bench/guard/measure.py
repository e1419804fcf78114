"""Measures the exact figures of the hot path in a process of its own, and prints them as JSON.

    python -m bench.guard.measure --cache FOLDER

Figures are by run (or request, or commit, as their names say) after a warm-up; less is better for
every one. Strings hash alike in each process (PYTHONHASHSEED=0, set by `exact`), so the same code
on the same Python gives the same numbers to the last digit; a test says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.guard.counting import (
    OWN,
    Calls,
    count_bytecodes,
    count_cyclic_garbage,
    measure_peak_bytes,
    total,
)
from bench.guard.house import IN_FLIGHT, Ask, House, open_lua, spread, transfers
from bench.guard.http import Connection
from bench.guard.listening import Heard, ListeningEngine
from bench.guard.resp import DEPTH, RespWire
from bench.guard.sqlite import BatchFigures
from lithox.sandbox.contract import Engine

ROOT: Final = Path(__file__).resolve().parent.parent.parent
CACHE: Final = ROOT / ".cache" / "guard"
RUNS: Final = 128
REQUESTS: Final = 32
SURROUNDINGS: Final = {"PYTHONHASHSEED": "0", "LITHOX_PURE": "1"}
"""Texts hash alike, and the sources run as they are: whether a checkout's compiled modules are
fresh is chance, and compiled code enters no function of Python."""
SECONDS_MAX: Final = 120
DIGITS: Final = 3

WORKS: Final[dict[str, Callable[[], list[Ask]]]] = {
    "write": lambda: spread(RUNS, "add", 1),
    "read": lambda: spread(RUNS, "look"),
    "transfer": lambda: transfers(RUNS),
}
"""What is counted, by name: a durable counter, a look at it, a joined call over two entities."""

Figures = dict[str, float]
Rooms = dict[str, dict[str, float]]


def _rooms(counts: Counter[str], count: int) -> dict[str, float]:
    return {name: round(n / count, DIGITS) for name, n in sorted(counts.items()) if name != OWN}


def _glass(name: str, work: Callable[[], object], count: int) -> tuple[Figures, Rooms]:
    """Looks at `count` pieces of work that happen each time `work` is called."""
    calls = Calls()
    calls.count(work)
    bytecodes = count_bytecodes(work)
    figures = {
        f"{name}.python_calls": total(calls.python) / count,
        f"{name}.c_calls": total(calls.c) / count,
        f"{name}.bytecodes": total(bytecodes) / count,
        f"{name}.cyclic_garbage": count_cyclic_garbage(work) / count,
    }
    rooms = {
        f"{name}.python_calls": _rooms(calls.python, count),
        f"{name}.c_calls": _rooms(calls.c, count),
        f"{name}.bytecodes": _rooms(bytecodes, count),
    }
    return figures, rooms


def measure_runs(engine: Engine) -> tuple[Figures, Rooms]:
    """Returns the figures of runs from `submit` to the answer, without loop, network and disk."""
    figures: Figures = {}
    rooms: Rooms = {}
    for name, make in WORKS.items():
        house, asks = House(engine), make()
        house.run(asks)
        house.run(asks)
        turns, syncs = house.turns, house.syncs
        house.run(asks)
        figures[f"{name}.turns"] = (house.turns - turns) / RUNS
        figures[f"{name}.syncs"] = (house.syncs - syncs) / RUNS
        peak = measure_peak_bytes(lambda house=house, asks=asks: house.run(asks[:IN_FLIGHT]))
        figures[f"{name}.peak_bytes"] = peak / IN_FLIGHT
        found, parts = _glass(name, lambda house=house, asks=asks: house.run(asks), RUNS)
        figures |= found
        rooms |= parts
        house.close()
        figures |= _hear(name, engine, asks)
    return figures, rooms


def _hear(name: str, engine: Engine, asks: list[Ask]) -> Figures:
    """Returns what passes between node and guests."""
    heard = Heard()
    house = House(ListeningEngine(engine, heard))
    house.run(asks)
    heard.clear()
    house.run(asks)
    house.close()
    return {
        f"{name}.steps": heard.steps / RUNS,
        f"{name}.system_calls": heard.system_calls / RUNS,
        f"{name}.bytes_to_guest": heard.bytes_in / RUNS,
        f"{name}.bytes_from_guest": heard.bytes_out / RUNS,
    }


def measure_wire(name: str, wire: Connection | RespWire, each: int) -> tuple[Figures, Rooms]:
    """Returns the figures of one request over `wire`, around a node that runs nothing.

    Args:
        name: of the figures.
        wire: a new one; it is closed.
        each: requests in one read.
    """
    count = REQUESTS * each
    wire.ask(REQUESTS)
    turns, writes = wire.loop.turns, wire.transport.writes
    wire.ask(REQUESTS)
    figures = {
        f"{name}.turns": (wire.loop.turns - turns) / count,
        f"{name}.writes": (wire.transport.writes - writes) / count,
    }
    found, rooms = _glass(name, lambda: wire.ask(REQUESTS), count)
    wire.close()
    return figures | found, rooms


def measure_sqlite() -> Figures:
    """Returns the figures of the store's writer for batches of commits."""
    with tempfile.TemporaryDirectory() as folder:
        batch = BatchFigures(Path(folder))
        found = batch.measure()
        batch.close()
    return {f"sqlite.{name}": figure for name, figure in found.items()}


def measure(cache: Path) -> dict[str, Any]:
    """Returns {"counts": figure by name, "rooms": the same split by room}. Blocks: seconds."""
    cache.mkdir(parents=True, exist_ok=True)
    engine = open_lua(cache)
    counts, rooms = measure_runs(engine)
    engine.close()
    for name, wire, each in (("http", Connection(), 1), ("resp", RespWire(), DEPTH)):
        found, parts = measure_wire(name, wire, each)
        counts |= found
        rooms |= parts
    counts |= measure_sqlite()
    return {
        "counts": {name: round(figure, DIGITS) for name, figure in counts.items()},
        "rooms": rooms,
    }


def exact(cache: Path = CACHE) -> dict[str, Any]:
    """Returns what `measure` finds in a fresh process, where nothing else has run before.

    Args:
        cache: where compiled interpreters are kept; seconds less when it holds Lua's.

    Raises:
        SystemExit: that process failed; its last words.

    Blocks: seconds.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.guard.measure", "--cache", str(cache)],
        cwd=ROOT,
        env={**os.environ, **SURROUNDINGS},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the guard could not measure:\n{done.stderr[-4000:]}")
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=CACHE)
    print(json.dumps(measure(parser.parse_args().cache)))


if __name__ == "__main__":
    main()

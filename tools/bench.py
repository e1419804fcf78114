"""`make bench`: every row of docs/benchmarks.md, each figure beside its yardstick, in one table.

Each row is a script of bench/ that prints JSON lines (bench/figures.py) on stdout and what it does
on stderr. Rows are measured one after another, so that they do not disturb each other. Results go
to bench/results/latest.json; with --only the rows measured replace the same ones there. No figure
fails the target; a script that breaks does.

    python tools/task.py bench [--only NAME]... [--rounds N] [--write-docs] [--list]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple

import bench_table
import system_packages
from console import Step
from places import PYTHON, ROOT

RESULTS = ROOT / "bench" / "results"
LATEST = RESULTS / "latest.json"
SECONDS_MAX = 240.0
"""A row that takes longer is broken, and is ended."""
WORDS_MAX = 4000


class Row(NamedTuple):
    """One script and the arguments that make it measure one row."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()


ROWS = [
    Row("runs", "bench.durable_runs", ("--row", "1")),
    Row("http", "bench.over_http"),
    Row("latency", "bench.durable_runs", ("--row", "3", "--seconds", "0.5")),
    Row("guest", "bench.rooms", ("guest",)),
    Row("kernel", "bench.rooms", ("kernel",)),
    Row("live", "bench.live_processes"),
    Row("neighbours", "bench.neighbours", ("--way", "in")),
    Row("neighbours-http", "bench.neighbours", ("--way", "http")),
    Row("restart", "bench.restart"),
    Row("big-state", "bench.big_state"),
    Row("programs-calls", "bench.programs", ("calls",)),
    Row("programs-starts", "bench.programs", ("starts",)),
    Row("programs-deadlines", "bench.programs", ("deadlines",)),
    Row("programs-fairness", "bench.programs", ("fairness",)),
    Row("transactions-reads", "bench.transactions", ("reads",)),
    Row("transactions-hot", "bench.transactions", ("hot",)),
    Row("transactions-joined", "bench.transactions", ("joined",)),
    Row("postgres", "bench.postgres"),
    Row("messages-hop", "bench.messages", ("hop",)),
    Row("timers-due", "bench.messages", ("due",)),
    Row("timers-idle", "bench.messages", ("idle",)),
    Row("languages", "bench.languages"),
    Row("processes", "bench.processes"),
]


def run_row(row: Row, rounds: int) -> list[dict[str, Any]] | None:
    """Returns the lines of one row, or None when its script broke; shows progress."""
    command = [str(PYTHON), "-m", row.module, *row.arguments, "--rounds", str(rounds)]
    commit = bench_table.commit()
    words: list[str] = []
    found: list[dict[str, Any]] = []
    with (
        Step(f"{row.name:16}") as step,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child,
    ):
        watch = threading.Timer(SECONDS_MAX, child.kill)
        watch.start()

        def listen() -> None:
            assert child.stderr is not None
            for line in child.stderr:
                words.append(line)
                step.say(line)

        listener = threading.Thread(target=listen)
        listener.start()
        assert child.stdout is not None
        found += [
            {"name": row.name, "at": now(), "commit": commit, "rounds": rounds, **json.loads(line)}
            for line in child.stdout
        ]
        listener.join()
        watch.cancel()
    if child.returncode == 0:
        return found
    print("".join(words)[-WORDS_MAX:], file=sys.stderr)
    print(f"  {row.name} ended with status {child.returncode}", file=sys.stderr)
    return None


def now() -> str:
    """Returns the time in UTC as text."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime())


def read_latest() -> dict[str, Any]:
    """Returns the last results, or none."""
    try:
        return dict(json.loads(LATEST.read_text()))
    except (OSError, ValueError):
        return {"rows": []}


def keep(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Writes the results; rows that were not measured now stay as they were."""
    measured = {row["name"] for row in rows}
    order = [row.name for row in ROWS]
    old = [row for row in read_latest()["rows"] if row["name"] not in measured]
    together = sorted([*old, *rows], key=lambda row: order.index(row["name"]))
    result = {"machine": bench_table.machine(ROOT), "rows": together}
    RESULTS.mkdir(parents=True, exist_ok=True)
    LATEST.write_text(json.dumps(result, indent=1))
    return result


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options of the command line."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=names, help="measure this row alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--list", action="store_true", help="list the rows")
    parser.add_argument(
        "--write-docs", action="store_true", help="put the table into docs/benchmarks.md"
    )
    parser.add_argument(
        "--show", action="store_true", help="measure nothing; print the last results"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measures the rows asked for and prints the table; 1 when a script broke."""
    options = parse(arguments)
    if options.list:
        print("\n".join(row.name for row in ROWS))
        return 0
    rows: list[dict[str, Any]] = []
    broken: list[str] = []
    begun = time.monotonic()
    if not options.show:
        system_packages.main(["bench"])
        load = os.getloadavg()[0]
        print(f"  load average before: {load:.2f} on {os.cpu_count()} processors", flush=True)
        for row in ROWS:
            if options.only and row.name not in options.only:
                continue
            found = run_row(row, options.rounds)
            if found is None:
                broken.append(row.name)
            else:
                rows += found
    result = keep(rows) if rows else read_latest()
    bench_table.show({**result, "rows": rows} if options.only else result)
    if not options.show:
        print(f"{time.monotonic() - begun:.0f} s; kept in {LATEST.relative_to(ROOT)}")
        print("make bench-compare shows what moved; WRITE=1 puts the ratios into the repository")
    if options.write_docs:
        bench_table.write_page(result)
    if broken:
        print(f"ended badly: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

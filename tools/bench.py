"""Runs every benchmark of bench/ one after another and keeps what they print.

A benchmark is a script that prints JSON lines {"name", "figure", "unit", "yardstick", "reach"?};
the yardstick is measured in the same run on the same machine, so figures from different machines
can be compared by their ratio. Nothing here is a test: no figure fails the target.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import system_packages
from places import PYTHON, ROOT

RESULTS = ROOT / "bench" / "results"


def run_script(script: Path, result: list[dict[str, object]]) -> int:
    """Runs one benchmark, prints and keeps its lines as they come; returns its status."""
    print(f"\n{script.stem}", flush=True)
    command = [str(PYTHON), str(script)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            try:
                found = json.loads(line)
                result.append({"script": script.stem, **found})
                print(f"  {_row(found)}", flush=True)
            except (ValueError, TypeError):
                print(f"  {line.rstrip()}", flush=True)
    return child.returncode


def _row(found: dict[str, object]) -> str:
    """Returns one printed line: name, figure, unit, and what stands beside it."""
    rest = {key: found[key] for key in found if key not in {"name", "figure", "unit"}}
    beside = "  ".join(f"{key} {_short(value)}" for key, value in rest.items())
    return (
        f"{found['name']!s:52} {_short(found['figure']):>12} {found.get('unit', '')!s:10} {beside}"
    )


def _short(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value}"


def main(arguments: list[str]) -> int:
    """Runs the benchmarks `arguments` names, or all; returns 0 when each of them ended well."""
    system_packages.main(["bench"])
    scripts = sorted((ROOT / "bench").glob("*.py"))
    if arguments:
        scripts = [script for script in scripts if script.stem in arguments]
    if not scripts:
        print("no such benchmark in bench/", file=sys.stderr)
        return 2
    result: list[dict[str, object]] = []
    bad = [script.stem for script in scripts if run_script(script, result) != 0]
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept = RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}.json"
    kept.write_text(json.dumps(result, indent=1))
    print(f"\n{len(result)} figures kept in {kept.relative_to(ROOT)}")
    if bad:
        print(f"ended badly: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

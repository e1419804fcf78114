"""Runs every benchmark of bench/ one after another and keeps what they print.

A benchmark prints JSON lines {"name" or "what", "figure", "yardstick", "reach"?, ...}, where figure
and yardstick are numbers or series {"name", "unit", "median", "low", "high"}. The yardstick is
measured in the same run on the same machine, so figures from different machines can be compared by
their ratio. Nothing here is a test: no figure fails the target.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import system_packages
from places import PYTHON, ROOT

RESULTS = ROOT / "bench" / "results"


def run_script(script: Path, result: list[dict[str, Any]]) -> int:
    """Runs one benchmark, prints and keeps its lines as they come; returns its status.

    What it says on stderr is its progress and goes to the console as it stands.
    """
    print(f"\n{script.stem}", flush=True)
    command = [str(PYTHON), "-m", f"{script.parent.name}.{script.stem}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            found = _parse(line)
            if found is None:
                print(f"  {line.rstrip()}", flush=True)
            else:
                result.append({"script": script.stem, **found})
                print(f"  {_row(found)}", flush=True)
    return child.returncode


def _parse(line: str) -> dict[str, Any] | None:
    """Returns the figure a line stands for, or None for a line that is only words."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "figure" in found else None


def _row(found: dict[str, Any]) -> str:
    """Returns one printed line: what, how much, and what stands beside it."""
    name = found.get("what") or found.get("name") or ""
    beside = [
        f"{key} {_short(value)}"
        for key, value in found.items()
        if key not in {"name", "what", "figure", "unit"} and value not in (None, "", [])
    ]
    amount = f"{_short(found['figure'])} {found.get('unit', '')}"
    return f"{name!s:48} {amount:>20}  {'; '.join(beside)}"


def _short(value: Any) -> str:
    """Returns a number in four digits, a series by its median, its range and its unit."""
    if isinstance(value, dict) and "median" in value:
        name, unit = value.get("name", ""), value.get("unit", "")
        spread = f"({_short(value.get('low'))} to {_short(value.get('high'))})"
        return " ".join(str(part) for part in (name, _short(value["median"]), unit, spread) if part)
    if isinstance(value, list):
        return ", ".join(_short(item) for item in value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value}"


def main(arguments: list[str]) -> int:
    """Runs the benchmarks `arguments` names, or all; returns 0 when each of them ended well."""
    system_packages.main(["bench"])
    # What cannot be started by itself is a module that several benchmarks share.
    scripts = [
        path
        for path in sorted((ROOT / "bench").glob("*.py"))
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    ]
    if arguments:
        scripts = [script for script in scripts if script.stem in arguments]
    if not scripts:
        print("no such benchmark in bench/", file=sys.stderr)
        return 2
    result: list[dict[str, Any]] = []
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

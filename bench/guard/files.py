"""Where the guard's figures are kept, what they were made with, and those of an earlier commit."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, Final

import lithox
from bench.guard.measure import ROOT

FIGURES: Final = Path(__file__).parent / "figures.json"
LATEST: Final = ROOT / "bench" / "results" / "latest.json"
"""What `make bench` measured last; not in the repository."""
PACKAGES: Final = ("apsw", "hiredis", "httptools", "msgspec", "uvicorn", "uvloop", "wasmtime")

Figures = dict[str, dict[str, Any]]


def read_figures() -> Figures:
    """Returns the figures of this checkout; none of any section when there is no file."""
    return dict(json.loads(FIGURES.read_text())) if FIGURES.exists() else {}


def write_figures(figures: Figures) -> None:
    """Writes the file that is committed."""
    FIGURES.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


def made_counts() -> dict[str, str]:
    """Returns what exact counts depend on."""
    found = {"python": platform.python_version(), "compiled": _compiled()}
    for name in PACKAGES:
        found[name] = _version_of(name)
    return found


def _compiled() -> str:
    """Returns the modules of lithox that are machine code here, or "none"."""
    package = Path(lithox.__file__).parent
    names = {
        str(path.relative_to(package)).partition(".")[0]
        for suffix in EXTENSION_SUFFIXES
        for path in package.rglob(f"*{suffix}")
    }
    return " ".join(sorted(name.replace(os.sep, ".") for name in names)) or "none"


def made_instructions() -> dict[str, str]:
    """Returns what counts of instructions depend on: every build that takes part."""
    program = shutil.which("valgrind")
    said = "none"
    if program:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
    return {
        **made_counts(),
        "build": " ".join(platform.python_build()),
        "compiler": platform.python_compiler(),
        "libc": "-".join(platform.libc_ver()),
        "machine": f"{sys.platform} {platform.machine()}",
        "valgrind": said,
    }


def _version_of(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def read_ratios() -> dict[str, Any]:
    """Returns the ratios of the last `make bench`, or an empty section."""
    try:
        latest = json.loads(LATEST.read_text())
    except (OSError, ValueError):
        return {}
    figures = {
        f"{row['name']}, {row['what']}": {"ratio": round(row["ratio"], 3), "better": better}
        for row in latest["rows"]
        if row["ratio"] is not None and (better := _better(row["reach"]))
    }
    return {"made": latest["machine"], "figures": figures}


def _better(reach: str) -> str:
    """Returns "more" or "less" as a goal is worded, or an empty text."""
    if "at least" in reach:
        return "more"
    return "less" if "at most" in reach else ""


def last_tag() -> str | None:
    """Returns the newest tag this commit comes from, or None."""
    said = _git("describe", "--tags", "--abbrev=0")
    return None if said is None else said.strip()


def find_figures(commit: str) -> Figures | None:
    """Returns the figures kept in `commit`, or None when it is unknown or has none."""
    said = _git("show", f"{commit}:{FIGURES.relative_to(ROOT).as_posix()}")
    return None if said is None else dict(json.loads(said))


def _git(*arguments: str) -> str | None:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else None

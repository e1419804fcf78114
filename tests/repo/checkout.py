"""What the tests of the repository look at: the tracked files, read once."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / "tools"
if str(TOOLS) not in sys.path:
    # The generators stand in tools/, which is a folder of scripts and not a package.
    sys.path.append(str(TOOLS))


@cache
def tracked_files() -> list[Path]:
    """Returns every file git knows that is still there; outside git, all but hidden ones."""
    asked = ["git", "-C", str(ROOT), "ls-files", "-z"]
    try:
        said = subprocess.run(asked, capture_output=True, check=True).stdout.decode()
        names = [name for name in said.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = [
            str(path.relative_to(ROOT))
            for path in ROOT.rglob("*")
            if not any(
                part.startswith(".") and part != ".ci" for part in path.relative_to(ROOT).parts
            )
        ]
    return sorted(path for name in names if (path := ROOT / name).is_file())


def tracked(*suffixes: str, under: str = "") -> list[Path]:
    """Returns the tracked files with one of `suffixes` below the folder `under`."""
    top = ROOT / under
    return [p for p in tracked_files() if p.suffix in suffixes and p.is_relative_to(top)]


def name_of(path: Path) -> str:
    """Returns how `path` is spoken of: relative to the checkout, with forward slashes."""
    return path.relative_to(ROOT).as_posix()

"""Where things are in a checkout. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(os.environ.get("LITHOX_VENV") or ROOT / ".venv")
"""The virtual environment set-up makes; LITHOX_VENV puts it elsewhere."""
PYTHON = VENV / ("Scripts" if os.name == "nt" else "bin") / "python"
CACHE = ROOT / ".cache"
LOGS = CACHE / "logs"
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
GUEST_SCRIPT = ROOT / "guests" / "build.py"
COMPILE_SCRIPT = ROOT / "tools" / "compiled.py"
SOURCES = ROOT / "src" / "lithox"
GUEST = ROOT / "src" / "lithox" / "sandbox" / "guests" / "lua54.wasm"


def tool(name: str) -> str:
    """Returns the path of a command that set-up has installed."""
    return str(PYTHON.parent / name)

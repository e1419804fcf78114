"""Builds components out of Python for tests, once for each state of their sources.

`componentize-py` takes half a minute, so what it makes is kept below `.cache/components` of the
checkout, under a name made of everything that goes in: the application, the helper module, the
world, and the version of the tool. Several processes may build at the same time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "components"
WIT = ROOT / "wit"
SDK = ROOT / "sdk" / "python"
BUILD_S_MAX = 600
KEPT_MAX = 3
"""Components of one application that are kept; each has 20 MB."""


def build_component(application: Path, *, packages: tuple[str, ...] = ()) -> bytes:
    """Returns the component made of one Python file.

    Args:
        application: the file; its name without the ending is the module's.
        packages: distributions it imports, which are part of the name in the cache.

    Blocks: for half a minute the first time.
    """
    digest = hashlib.sha256()
    for path in (application, SDK / "lithox_handler.py", WIT / "handler.wit"):
        digest.update(path.read_bytes() + b"\0")
    for name in ("componentize-py", *packages):
        digest.update(f"{name}={importlib.metadata.version(name)}\0".encode())
    kept = CACHE / f"{application.stem}-{digest.hexdigest()[:32]}.wasm"
    if not kept.is_file():
        _build(application, kept)
        _remove_oldest(application.stem)
    return kept.read_bytes()


def _build(application: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / "component.wasm"
        command = [
            *(str(Path(sys.executable).with_name("componentize-py")), "-q"),
            *("-d", str(WIT), "-w", "handler", "componentize", application.stem),
            *("-p", str(application.parent), "-p", str(SDK), "-o", str(made)),
        ]
        environment = {name: text for name, text in os.environ.items() if name != "VIRTUAL_ENV"}
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_S_MAX,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        made.replace(target)


def _remove_oldest(stem: str) -> None:
    """Keeps the components of an application that were built last."""
    built = sorted(CACHE.glob(f"{stem}-*.wasm"), key=lambda path: path.stat().st_mtime)
    for path in built[:-KEPT_MAX]:
        path.unlink(missing_ok=True)

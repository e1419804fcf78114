"""Makes a checkout ready: virtual environment, hashed dependencies, the project, the Lua guest.

Each part leaves a stamp of what it was made from, so a second run only compares stamps (well
under half a second). Standard library only: it runs on the bare Python of the machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys

from compiled_finder import state_of
from console import Step, StepFailedError, run_step
from places import (
    CACHE,
    COMPILE_SCRIPT,
    GUEST,
    GUEST_SCRIPT,
    LOGS,
    PYTHON,
    REQUIREMENTS,
    ROOT,
    SOURCES,
    VENV,
)

_STAMP = VENV / "lithox-setup.json"


def set_up(*, with_guest: bool = True, with_compiled: bool = True) -> None:
    """Makes whatever is missing or stale.

    Args:
        with_guest: False leaves the guests alone, for targets that run no handler.
        with_compiled: False leaves the compiled modules alone, for targets whose figures or checks
            are those of the sources.

    Raises:
        StepFailedError: a step failed; what it said has been printed.

    Blocks: up to a few minutes the first time.
    """
    stamps = _read_stamps()
    for name, digest, make in (
        ("environment", _digest_environment, _make_environment),
        ("dependencies", _digest_dependencies, _install_dependencies),
        ("project", _digest_project, _install_project),
        ("guest", _digest_guest, _build_guest),
        ("compiled", _digest_compiled, _compile),
    ):
        is_left = {"guest": not with_guest, "compiled": not with_compiled}.get(name, False)
        if is_left or stamps.get(name) == digest():
            continue
        make()
        if name == "environment":
            stamps = {}
        # Some digests cover what was just made, so they are taken again after the work.
        stamps[name] = digest()
        _STAMP.write_text(json.dumps(stamps, indent=1))


def _read_stamps() -> dict[str, str]:
    try:
        return dict(json.loads(_STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def _digest_environment() -> str:
    # A checkout that was moved needs a new environment, since its scripts name absolute paths;
    # so does one whose Python was replaced by another version under the same name.
    return _digest(VENV, PYTHON.resolve(), PYTHON.exists())


def _digest_dependencies() -> str:
    return _digest(REQUIREMENTS.read_text())


def _digest_project() -> str:
    return _digest(ROOT, (ROOT / "pyproject.toml").read_text())


def _digest_guest() -> str:
    """Returns a digest of names, sizes and times: to read them all would cost too much."""
    files = [path for path in (ROOT / "guests").rglob("*") if path.is_file()]
    files += (ROOT / "src" / "lithox" / "runtimes").rglob("*.lua")
    seen = [
        (path.relative_to(ROOT), path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted([*files, *([GUEST] if GUEST.exists() else [])])
        if "__pycache__" not in path.parts
    ]
    return _digest(GUEST.exists(), *seen)


def _digest_compiled() -> str:
    recipe = (COMPILE_SCRIPT, COMPILE_SCRIPT.with_name("compiled_finder.py"))
    is_pure = bool(os.environ.get("LITHOX_PURE"))
    return _digest(VENV, state_of(str(SOURCES)), is_pure, *(path.read_text() for path in recipe))


def _make_environment() -> None:
    """Makes the virtual environment unless a working one is there already."""
    if PYTHON.exists() and _has_pip():
        return
    if VENV.exists():
        shutil.rmtree(VENV)
    try:
        run_step(
            f"making {VENV.name} with Python {sys.version.split()[0]}",
            [sys.executable, "-m", "venv", str(VENV)],
            log=LOGS / "venv.log",
            folder=ROOT,
        )
    except StepFailedError:
        print(
            "This Python cannot make virtual environments. On Debian and Ubuntu that part is a "
            "package of its own:\n    apt-get install python3-venv",
            file=sys.stderr,
        )
        raise


def _has_pip() -> bool:
    asked = [str(PYTHON), "-m", "pip", "--version"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def _install_dependencies() -> None:
    run_step(
        "installing dependencies (checked by hash)",
        [
            str(PYTHON),
            *("-m", "pip", "install", "--disable-pip-version-check", "--no-input"),
            *("--require-hashes", "-r", str(REQUIREMENTS)),
        ],
        log=LOGS / "dependencies.log",
        folder=ROOT,
    )


def _install_project() -> None:
    run_step(
        "installing lithox itself",
        [
            str(PYTHON),
            *("-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-index"),
            *("--no-deps", "--no-build-isolation", "-e", str(ROOT)),
        ],
        log=LOGS / "project.log",
        folder=ROOT,
    )


def _build_guest() -> None:
    CACHE.mkdir(exist_ok=True)
    run_step(
        "building the guests, Lua and JavaScript",
        [str(PYTHON), str(GUEST_SCRIPT)],
        log=LOGS / "guest.log",
        folder=ROOT,
    )


def _compile() -> None:
    CACHE.mkdir(exist_ok=True)
    run_step(
        "compiling the hot path",
        [str(PYTHON), str(COMPILE_SCRIPT), str(VENV), str(CACHE)],
        log=LOGS / "compiled.log",
        folder=ROOT,
    )


def main() -> int:
    """Sets up from the command line; returns the exit status."""
    try:
        set_up()
    except StepFailedError:
        return 1
    with Step("everything is set up"):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())

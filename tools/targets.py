"""What each target of the Makefile does. Standard library only.

Every target but `help` and `clean` sets up what is missing, then hands over to the environment's
own Python, whose exit status is the target's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from console import StepFailedError
from places import CACHE, PYTHON, ROOT, VENV, tool
from setup import set_up

PYTEST = [str(PYTHON), "-m", "pytest"]
MIXED = ["--mixed", "30"]
"""Half an hour of mixed load, unless another time is said."""
WITHOUT_GUEST = {"check", "fix", "docs", "lock"}
"""Targets that run no handler, so that they need not wait for the guest to be built."""
UNCOMPILED = {*WITHOUT_GUEST, "bench-compare", "sim"}
"""Targets that look at the sources, or run them as they are."""
PURE = ["env", "LITHOX_PURE=1"]
"""Before a command: it runs the sources as they are."""
PATCHES = [*PURE, *PYTEST, "-q", "-m", "patches_source or sim"]
PATCHES += ["tests/unit", "tests/simulation", "tests/histories", "tests/repo"]
"""What puts something else into a module, or reads its source, cannot do so with a compiled one."""


def _commands(target: str, extra: list[str]) -> list[list[str]]:
    """Returns the commands of `target`, in order."""
    python = str(PYTHON)
    tools = ROOT / "tools"
    ruff = tool("ruff")
    table: dict[str, list[list[str]]] = {
        "demo": [[python, str(tools / "demo.py"), *extra]],
        "check": [[*PURE, python, str(tools / "check.py"), *extra]],
        "fix": [[ruff, "check", "--fix", "-q", "."], [ruff, "format", "."]],
        "test": [[python, str(tools / "system_packages.py")], PATCHES, [*PYTEST, *extra]],
        "sim": [[python, "-m", "lithox.testing.simulate", *extra]],
        "conformance": [[*PYTEST, "tests/conformance", *extra]],
        "e2e": [[python, str(tools / "system_packages.py")], [*PYTEST, "tests/e2e", *extra]],
        "torment": [
            [python, str(tools / "system_packages.py")],
            [python, str(tools / "torment.py"), *extra],
        ],
        "docs": [[*PURE, python, str(tools / "generate.py")]],
        "bench": [[python, str(tools / "bench.py"), *extra]],
        "bench-compare": [
            [python, str(tools / "system_packages.py"), "bench"],
            [python, "-m", "bench.guard", *extra],
        ],
        "bench-peers": [[python, str(tools / "bench_peers.py"), *extra]],
        "bench-mixed": [[python, str(tools / "bench_peers.py"), *(extra or MIXED)]],
        "lock": [[python, str(tools / "lock.py")], [python, str(tools / "notice.py")]],
    }
    table["all"] = [*table["check"], *table["test"], *table["bench"]]
    return table[target]


def _print_help() -> None:
    """Prints every target of the Makefile with what its `##` comment says."""
    print("make TARGET, where TARGET is one of")
    for line in (ROOT / "Makefile").read_text().splitlines():
        name, mark, words = line.partition(": ## ")
        if mark:
            print(f"  {name:14} {words}")


def _clean() -> None:
    """Removes what set-up, tests and builds have made; no file that git knows."""
    made = [VENV, CACHE, ROOT / "dist", ROOT / "build", ROOT / "bench" / "results"]
    made += ROOT.glob(".*_cache")
    made += [ROOT / ".hypothesis", *(ROOT / "src").rglob("*.wasm")]
    made += [
        p
        for top in ("src", "tests", "tools", "guests", "bench")
        for p in (ROOT / top).rglob("__pycache__")
    ]
    for path in made:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """Does the target `arguments` names; returns its exit status."""
    target, *extra = arguments or ["help"]
    if target == "help":
        _print_help()
        return 0
    if target == "clean":
        _clean()
        return 0
    try:
        commands = _commands(target, extra)
    except KeyError:
        print(f"there is no target {target!r}; `make` lists them", file=sys.stderr)
        return 2
    try:
        set_up(with_guest=target not in WITHOUT_GUEST, with_compiled=target not in UNCOMPILED)
    except StepFailedError:
        return 1
    except KeyboardInterrupt:
        return 130
    for command in commands:
        try:
            status = subprocess.run(command, cwd=ROOT, check=False).returncode
        except KeyboardInterrupt:
            return 130
        if status != 0:
            return status
    return 0

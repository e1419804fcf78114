"""Which modules are compiled to C, and how: mypyc over the hot path, from the same plain Python.

    python tools/compiled.py ENVIRONMENT CACHE

compiles `src/lithox` below CACHE and lets ENVIRONMENT's Python find the extension modules while no
source is newer (`compiled_finder.py`). A wheel gets the same modules beside its sources. Where this
machine can compile nothing, plain Python does the same at half the speed: see docs/decisions/0019.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

import compiled_finder

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = {
    "kernel": ("kernel", "process", "scheduler", "timers"),
    "model": ("ids", "values", "request", "limits"),
    "security": ("access",),
    "store": (
        *("cells", "engine", "fresh", "mailbox", "recent", "shared_engine", "snapshot", "views"),
        "visible",
    ),
    "sandbox": ("cell", "guest", "image", "meters", "pool", "said"),
    "sandbox/core": ("guest", "pool"),
    "dispatch": (
        *("big_values", "catalog", "cold", "cold_code", "committing", "dispatcher", "endpoints"),
        *("frames", "job", "lanes", "runs", "starting", "tally", "transaction", "turns"),
    ),
    "dispatch/messages": ("delivery", "unsent"),
    "dispatch/schedules": ("direct", "timers"),
}
"""What a run passes: found by profiles, not by wish. A module of which others inherit in plain
Python says so with `mypyc_attr`."""
LEVELS: Final = {"opt_level": "2", "debug_level": "0"}
"""Of the C compiler."""
UNUSED: Final = ("func-returns-value", "misc", "var-annotated")
"""Complaints of mypy that basedpyright answers otherwise."""


def names() -> list[str]:
    """Returns the compiled modules as paths below `src`, in order."""
    return [f"lithox/{room}/{name}.py" for room, found in ROOMS.items() for name in found]


def why_not() -> str:
    """Returns why nothing can be compiled here; empty when it can."""
    if os.environ.get("LITHOX_PURE"):
        return "LITHOX_PURE is set"
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} loads no modules of CPython"
    if importlib.util.find_spec("mypyc") is None:
        return "mypy is not installed"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "this Python came without its headers (Debian: python3-dev)"
    return ""


def compile_into(folder: Path) -> list[Path]:
    """Copies the package into `folder` and compiles the hot path there.

    Returns:
        The extension modules, as paths below `folder`.

    Raises:
        subprocess.CalledProcessError: mypyc or the compiler failed.

    Blocks: about a minute.
    """
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(
        ROOT / "src" / "lithox",
        folder / "lithox",
        ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.wasm"),
    )
    environment = {**os.environ, "MYPYPATH": "."}
    if shutil.which(environment.get("CC", "gcc")) is None:
        environment["CC"] = f"{sys.executable} -m ziglang cc"
    code = "\n".join(
        (
            "from concurrent.futures import ThreadPoolExecutor",
            "from setuptools import setup",
            "from distutils.ccompiler import CCompiler",
            "from mypyc.build import mypycify",
            f"options = {['--ignore-missing-imports', '--follow-imports=silent']!r}",
            f"options += ['--disable-error-code=' + code for code in {UNUSED!r}]",
            f"levels = {LEVELS!r}",
            f"modules = mypycify([*options, *{names()!r}], multi_file=True, **levels)",
            # By itself it compiles the files of one library one after another.
            "one_by_one = CCompiler.compile",
            "def compile(self, sources, *more, **named):",
            f"    with ThreadPoolExecutor({os.cpu_count() or 1}) as pool:",
            "        made = pool.map(lambda one: one_by_one(self, [one], *more, **named), sources)",
            "        return [path for paths in made for path in paths]",
            "CCompiler.compile = compile",
            "setup(name='lithox-compiled', packages=[], ext_modules=modules)",
        )
    )
    subprocess.run(
        [sys.executable, "-c", code, "build_ext", "--inplace"],
        cwd=folder,
        env=environment,
        check=True,
    )
    shutil.rmtree(folder / "build")
    return sorted(path.relative_to(folder) for path in folder.rglob("*.so"))


def install_into(environment: Path, cache: Path) -> None:
    """Compiles the hot path of this checkout and lets the Python of `environment` find it.

    Raises:
        subprocess.CalledProcessError: mypyc or the compiler failed.

    Blocks: about a minute.
    """
    state = compiled_finder.state_of(str(ROOT / "src" / "lithox"))
    folder = cache / "compiled"
    found = compile_into(folder)
    lines = [state]
    for path in found:
        module = ".".join((*path.parent.parts, path.name.partition(".")[0]))
        lines.append(f"{module} {folder / path}")
    manifest = folder / "manifest.txt"
    manifest.write_text("\n".join(lines))
    packages = Path(sysconfig.get_paths(vars=_bases_of(environment))["purelib"])
    text = Path(compiled_finder.__file__).read_text()
    text = text.replace("@MANIFEST@", str(manifest)).replace(
        "@SOURCES@", str(ROOT / "src" / "lithox")
    )
    (packages / "_lithox_compiled.py").write_text(text)
    (packages / "_lithox_compiled.pth").write_text("import _lithox_compiled\n")


def _bases_of(environment: Path) -> dict[str, str]:
    return {"base": str(environment), "platbase": str(environment)}


def main() -> int:
    """Compiles for the environment and cache named; returns the exit status.

    Where nothing can be compiled the sources run as they are; with CI set that is a failure.
    """
    reason = why_not()
    if not reason:
        try:
            install_into(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
        except subprocess.CalledProcessError as error:
            reason = f"the compiler ended with {error.returncode}"
    if reason:
        print(f"lithox runs as plain Python, at half its speed: {reason}")
    return 1 if reason and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())

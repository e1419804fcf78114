"""Builds the Lua guest: Lua 5.4 and our shim as one WebAssembly module.

    python guests/build.py

It leaves `src/lithox/sandbox/guests/lua54.wasm`, which the wheel ships and nothing commits. The
sources come from `guests/sources.py`, the compiler from the `ziglang` package; both are pinned.
What was built is kept in `.cache/guests/` under the digest of everything that went in (sources,
shim, flags, versions), so a second run only compares digests. The module may import nothing but
`lithox.syscall`; that is checked here, because the host links nothing else.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

if __package__ in {None, ""}:  # started as a script, or loaded by its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guests.module_check import check_module
from guests.sources import CACHE, LUPA_SHA256, ROOT, BuildError, lua54_sources

if TYPE_CHECKING:
    from collections.abc import Callable

SHIM: Final = ROOT / "guests" / "lua"
OUTPUT: Final = ROOT / "src" / "lithox" / "sandbox" / "guests" / "lua54.wasm"
ZIGLANG_VERSION: Final = "0.17.1"
STACK_BYTES: Final = 96 << 10
"""The C stack in memory; `lx_config.h` keeps Lua's own limit inside it."""
MEMORY_BYTES: Final = 192 << 10
"""Initial memory, all of which the host copies before each run."""

LUA_UNITS: Final = (
    *("lapi", "lauxlib", "lbaselib", "lcode", "lcorolib", "lctype", "ldebug", "ldo", "lfunc"),
    *("lgc", "llex", "lmem", "lobject", "lopcodes", "lparser", "lstate", "lstring", "lstrlib"),
    *("ltable", "ltablib", "ltm", "lutf8lib", "lvm", "lzio"),
)
"""Without lundump and ldump (no bytecode), liolib, loadlib, ldblib; lmathlib and loslib are
included by the shim's mathlib.c and oslib.c."""

TARGET_FLAGS: Final = (
    *("-target", "wasm32-wasi", "-O3", "-mexec-model=reactor", "-mexception-handling"),
    *("-mllvm", "-wasm-enable-sjlj", "-mllvm", "-wasm-use-legacy-eh=false"),
)
WARNING_FLAGS: Final = ("-Wall", "-Wextra", "-Werror")
LINK_FLAGS: Final = (
    *("-s", f"-Wl,-z,stack-size={STACK_BYTES}", f"-Wl,--initial-memory={MEMORY_BYTES}"),
    "-lsetjmp",
)


def build(progress: Callable[[str], None] = print) -> Path:
    """Returns the built module's path, building it only if something it is made of has changed.

    Args:
        progress: called with one line of text for every step that takes a while.

    Raises:
        BuildError: the sources or the compiler are missing, or the result is not as it must be.

    Blocks: about 20 s on two cores the first time, some milliseconds later.
    """
    digest = _input_digest()
    stamp = CACHE / "lua54.stamp"
    if OUTPUT.is_file() and stamp.is_file() and stamp.read_text() == _stamp(digest):
        return OUTPUT
    kept = CACHE / f"lua54-{digest[:24]}.wasm"
    if not kept.is_file():
        _compile(lua54_sources(progress), kept, progress)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    _copy_whole(kept, OUTPUT)
    stamp.write_text(_stamp(digest))
    return OUTPUT


def _stamp(digest: str) -> str:
    size = OUTPUT.stat().st_size if OUTPUT.is_file() else 0
    return f"{digest} {size}\n"


def _input_digest() -> str:
    """Returns the digest of everything the module is made of; the archive stands for Lua."""
    whole = hashlib.sha256(f"{LUPA_SHA256} {_zig_version()}".encode())
    whole.update(repr((LUA_UNITS, TARGET_FLAGS, WARNING_FLAGS, LINK_FLAGS)).encode())
    for path in sorted(SHIM.iterdir()):
        if path.suffix in {".c", ".h", ".s"}:
            whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()


def _zig_version() -> str:
    try:
        version = importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        version = "none"
    if version != ZIGLANG_VERSION:
        raise BuildError(
            f"the guest is built with ziglang {ZIGLANG_VERSION}; found {version}.\n"
            f"Run: {sys.executable} -m pip install ziglang=={ZIGLANG_VERSION}"
        )
    return version


def _compile(lua: Path, to: Path, progress: Callable[[str], None]) -> None:
    """Compiles every unit, as many at once as there are processors, and links them into `to`."""
    units = [lua / f"{name}.c" for name in LUA_UNITS]
    shim = sorted(SHIM.glob("*.c")) + sorted(SHIM.glob("*.s"))
    total = len(units) + len(shim)
    progress(f"compiling the Lua guest: {total} files, about 20 s the first time")
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        work = Path(scratch)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            jobs = [pool.submit(_compile_unit, unit, lua, work) for unit in units + shim]
            objects: list[str] = []
            for number, job in enumerate(jobs, start=1):
                objects.append(job.result())
                if number % 10 == 0 or number == total:
                    progress(f"  {number}/{total} compiled")
        module = work / "lua54.wasm"
        _zig([*TARGET_FLAGS, *LINK_FLAGS, *objects, "-o", str(module)])
        check_module(module.read_bytes())
        module.replace(to)
    progress(f"  linked {to.stat().st_size // 1024} kB")


def _compile_unit(unit: Path, lua: Path, work: Path) -> str:
    """Compiles one file; returns its object's path."""
    is_ours = unit.parent == SHIM
    to = str(work / f"{'lx_' if is_ours else ''}{unit.stem}.o")
    if unit.suffix == ".s":
        _zig(["-target", "wasm32-wasi", "-c", str(unit), "-o", to])
        return to
    flags = [*TARGET_FLAGS, "-include", str(SHIM / "lx_config.h"), f"-I{lua}", f"-I{SHIM}"]
    flags += [f"-isystem{lua}"] if is_ours else []
    flags += WARNING_FLAGS if is_ours else []
    _zig([*flags, "-c", str(unit), "-o", to])
    return to


def _zig(arguments: list[str]) -> None:
    """Runs the C compiler of the ziglang package; raises BuildError with what it said."""
    command = [sys.executable, "-m", "ziglang", "cc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"the C compiler failed: {' '.join(command)}\n{done.stderr[-4000:]}")


def _copy_whole(source: Path, to: Path) -> None:
    """Copies so that `to` is replaced by a whole file or stays as it was."""
    scratch = to.with_name(f".{to.name}.{os.getpid()}")
    shutil.copyfile(source, scratch)
    scratch.replace(to)


if __name__ == "__main__":
    try:
        print(build(lambda line: print(line, file=sys.stderr, flush=True)))
    except BuildError as error:
        sys.exit(f"error: {error}")

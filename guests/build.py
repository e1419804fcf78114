"""Builds the guests: handlers' Lua (5.4) and JavaScript, programs' Lua (5.1 to 5.5).

    python guests/build.py [name ...]

It leaves `src/lithox/sandbox/guests/NAME.wasm`, which the wheel ships and nothing commits. The
sources come from `guests/sources.py`, the compiler from the `ziglang` package; both are pinned.
What was built is kept in `.cache/guests/` under the digest of everything that went in (sources,
shim, flags, versions), so a second run only compares digests; the objects of an interpreter's own
files are kept too, so a change of a shim compiles the shim alone. A module may import nothing but
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if __package__ in {None, ""}:  # started as a script, or loaded by its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guests.module_check import check_module
from guests.sources import (
    CACHE,
    LUA_FOLDERS,
    LUPA,
    QUICKJS,
    QUICKJS_FOLDER,
    ROOT,
    Archive,
    BuildError,
    unpacked_sources,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SHARED: Final = ROOT / "guests" / "shared"
"""C files that several guests are made of, beside those of their own folders."""
OUTPUTS: Final = ROOT / "src" / "lithox" / "sandbox" / "guests"
ZIGLANG_VERSION: Final = "0.17.1"
STACK_BYTES: Final = 96 << 10
"""The C stack in memory; `lx_config.h` keeps Lua's own limit inside it."""

_CORE: Final = (
    *("lapi", "lauxlib", "lbaselib", "lcode", "ldebug", "ldo", "lfunc", "lgc", "llex", "lmem"),
    *("lobject", "lopcodes", "lparser", "lstate", "lstring", "lstrlib", "ltable", "ltablib"),
    *("ltm", "lvm", "lzio"),
)
LUA_UNITS: Final = {
    "5.1": _CORE,
    "5.2": (*_CORE, "lbitlib", "lcorolib", "lctype"),
    "5.3": (*_CORE, "lcorolib", "lctype", "lutf8lib"),
    "5.4": (*_CORE, "lcorolib", "lctype", "lutf8lib"),
    "5.5": (*_CORE, "lcorolib", "lctype", "lutf8lib"),
}
"""Without lundump and ldump (no bytecode) and liolib; lmathlib, loslib, ldblib and loadlib are
included by files of the shims."""

TARGET_FLAGS: Final = ("-target", "wasm32-wasi", "-mexec-model=reactor")
SETJMP_FLAGS: Final = (
    *("-O3", "-mexception-handling", "-mllvm", "-wasm-enable-sjlj"),
    *("-mllvm", "-wasm-use-legacy-eh=false"),
)
"""For what leaves functions by longjmp, as Lua does."""
WARNING_FLAGS: Final = ("-Wall", "-Wextra", "-Werror")


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """An interpreter: what comes from an archive. Its objects are compiled once for all guests.

    Attributes:
        name: of the folder its objects are kept in.
        version: of the language.
        archive: where its sources are, in `folder`.
        units: names of its C files.
        own_units: C files of ours that include files of its; compiled like them.
        config: header included before every file.
        headers: other headers of ours that `own_units` include.
        flags: for the compiler, beside `TARGET_FLAGS`.
        defines: flags every file of its guests is compiled with.
        libraries: flags for the linker.
        shared: names of files in `guests/shared` that its guests are made of; None: all.
    """

    name: str
    version: str
    archive: Archive
    folder: str
    units: tuple[str, ...]
    own_units: tuple[Path, ...] = ()
    config: Path
    headers: tuple[Path, ...] = ()
    flags: tuple[str, ...]
    defines: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    shared: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One module.

    Attributes:
        name: of the file, without `.wasm`.
        core: its interpreter.
        shim: folder of C files that are this guest's own.
        memory_bytes: initial memory, all of which the host may copy before each run.
        stack_bytes: C stack at the beginning of that memory.
    """

    name: str
    core: Core
    shim: Path
    memory_bytes: int
    stack_bytes: int = STACK_BYTES

    @property
    def output(self) -> Path:
        """Where the built module is put."""
        return OUTPUTS / f"{self.name}.wasm"

    @property
    def link_flags(self) -> tuple[str, ...]:
        """Flags of the linker."""
        return (
            *("-s", f"-Wl,-z,stack-size={self.stack_bytes}"),
            *(f"-Wl,--initial-memory={self.memory_bytes}", *self.core.libraries),
        )


def _lua_core(version: str) -> Core:
    major, minor = version.split(".")
    return Core(
        name=f"lua-{version}",
        version=version,
        archive=LUPA,
        folder=LUA_FOLDERS[version],
        units=LUA_UNITS[version],
        config=SHARED / "lx_config.h",
        flags=SETJMP_FLAGS,
        defines=(f"-DLX_LUA_VERSION={major}{minor:0>2}",),
        libraries=("-lsetjmp",),
    )


LUA_CORES: Final = {version: _lua_core(version) for version in LUA_UNITS}
_JAVASCRIPT_SHIM: Final = ROOT / "guests" / "javascript"
QUICKJS_CORE: Final = Core(
    name="quickjs",
    version="ES2025",
    archive=QUICKJS,
    folder=QUICKJS_FOLDER,
    units=("dtoa", "libregexp", "libunicode"),
    own_units=(_JAVASCRIPT_SHIM / "engine.c",),
    config=_JAVASCRIPT_SHIM / "qjs_config.h",
    headers=(_JAVASCRIPT_SHIM / "engine.h",),
    flags=("-O2",),
    shared=("alloc.c", "inbox.c"),
)
HANDLERS: Final = Guest(
    name="lua54", core=LUA_CORES["5.4"], shim=ROOT / "guests" / "lua", memory_bytes=192 << 10
)
PROGRAMS: Final = tuple(
    Guest(
        name=f"program{version.replace('.', '')}",
        core=core,
        shim=ROOT / "guests" / "program",
        memory_bytes=192 << 10,
    )
    for version, core in LUA_CORES.items()
)
JAVASCRIPT: Final = Guest(
    name="javascript",
    core=QUICKJS_CORE,
    shim=_JAVASCRIPT_SHIM,
    memory_bytes=576 << 10,
    stack_bytes=192 << 10,
)
GUESTS: Final = {guest.name: guest for guest in (HANDLERS, *PROGRAMS, JAVASCRIPT)}


def build(progress: Callable[[str], None] = print) -> Path:
    """Builds every guest; returns the path of the one of handlers in Lua.

    Args:
        progress: called with one line of text for every step that takes a while.

    Raises:
        BuildError: the sources or the compiler are missing, or the result is not as it must be.

    Blocks: about three minutes on two cores the first time, some milliseconds later.
    """
    for guest in (*PROGRAMS, JAVASCRIPT):
        build_guest(guest, progress)
    return build_guest(HANDLERS, progress)


def build_guest(guest: Guest, progress: Callable[[str], None] = print) -> Path:
    """Returns one built module's path, building it only if something it is made of has changed.

    Args:
        guest: one of `GUESTS`.
        progress: called with one line of text for every step that takes a while.

    Raises:
        BuildError: as `build`.

    Blocks: up to a minute on two cores the first time, some milliseconds later.
    """
    digest = input_digest(guest)
    stamp = CACHE / f"{guest.name}.stamp"
    if guest.output.is_file() and stamp.is_file() and stamp.read_text() == _stamp(guest, digest):
        return guest.output
    kept = CACHE / f"{guest.name}-{digest[:24]}.wasm"
    if not kept.is_file():
        _compile(guest, kept, progress)
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    _copy_whole(kept, guest.output)
    stamp.write_text(_stamp(guest, digest))
    return guest.output


def _stamp(guest: Guest, digest: str) -> str:
    size = guest.output.stat().st_size if guest.output.is_file() else 0
    return f"{digest} {size}\n"


def input_digest(guest: Guest) -> str:
    """Returns the digest of everything the module is made of; archives stand for their content."""
    whole = hashlib.sha256(_core_digest(guest.core).encode())
    whole.update(repr((WARNING_FLAGS, guest.link_flags)).encode())
    for path in _shim_files(guest):
        whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()


def _core_digest(core: Core) -> str:
    """Returns the digest of what the objects of an interpreter's own files depend on."""
    whole = hashlib.sha256(f"{core.archive.sha256} {_zig_version()}".encode())
    flags = (*TARGET_FLAGS, *core.flags)
    whole.update(repr((core.name, core.folder, core.units, flags, core.defines)).encode())
    for path in (core.config, *core.headers, *core.own_units):
        whole.update(path.read_bytes() + b"\0")
    return whole.hexdigest()


def _shim_files(guest: Guest) -> list[Path]:
    """Returns the C files and headers that are compiled for this guest alone."""
    wanted = guest.core.shared
    shared = [path for path in SHARED.iterdir() if wanted is None or path.name in wanted]
    own_units = {path.name for path in guest.core.own_units}
    files = (*shared, *(path for path in guest.shim.iterdir() if path.name not in own_units))
    return sorted(path for path in files if path.suffix in {".c", ".h", ".s"})


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


def _compile(guest: Guest, to: Path, progress: Callable[[str], None]) -> None:
    """Compiles what is not kept, and links everything into `to`."""
    sources = unpacked_sources(guest.core.archive, progress) / guest.core.folder
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        work = Path(scratch)
        objects = _core_objects(guest, sources, progress)
        shim = [path for path in _shim_files(guest) if path.suffix != ".h"]
        progress(f"compiling the shim of {guest.name}: {len(shim)} files")
        objects += _compile_all(guest, shim, sources, work)
        module = work / guest.output.name
        flags = (*TARGET_FLAGS, *guest.core.flags, *guest.link_flags)
        _zig([*flags, *objects, "-o", str(module)])
        check_module(module.read_bytes())
        module.replace(to)
    progress(f"  linked {guest.name}: {to.stat().st_size // 1024} kB")


def _core_objects(guest: Guest, sources: Path, progress: Callable[[str], None]) -> list[str]:
    """Returns the objects of the interpreter's own files, compiled unless they are kept."""
    core = guest.core
    folder = CACHE / f"{core.name}-{_core_digest(core)[:24]}"
    units = [*core.own_units, *(sources / f"{name}.c" for name in core.units)]
    if not folder.is_dir():
        progress(f"compiling {core.name}: {len(units)} files, up to a minute the first time")
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            whole = Path(scratch, "objects")
            whole.mkdir()
            _compile_all(guest, units, sources, whole)
            try:
                whole.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    return [str(folder / f"{unit.stem}.o") for unit in units]


def _compile_all(guest: Guest, units: Iterable[Path], sources: Path, work: Path) -> list[str]:
    """Compiles files, as many at once as there are processors; returns their objects' paths."""

    def compile_one(unit: Path) -> str:
        return compile_unit(guest, unit, sources, work)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(compile_one, units))


def compile_unit(guest: Guest, unit: Path, sources: Path, work: Path) -> str:
    """Compiles one file into folder `work`; returns its object's path."""
    core = guest.core
    is_core = unit.parent == sources or unit in core.own_units
    to = str(work / f"{'' if is_core else 'lx_'}{unit.stem}.o")
    if unit.suffix == ".s":
        _zig(["-target", "wasm32-wasi", "-c", str(unit), "-o", to])
        return to
    flags = [*TARGET_FLAGS, *core.flags, *core.defines, "-include", str(core.config)]
    flags.append(f"-I{sources}")
    if not is_core:
        flags += [f"-isystem{sources}", *WARNING_FLAGS]
    if unit.parent != sources:
        flags += [f"-I{guest.shim}", f"-I{SHARED}"]
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


def _main(names: list[str]) -> None:
    unknown = set(names) - set(GUESTS)
    if unknown:
        raise BuildError(f"no guest {', '.join(sorted(unknown))}; there are {', '.join(GUESTS)}")
    for name in names or list(GUESTS):
        print(build_guest(GUESTS[name], lambda line: print(line, file=sys.stderr, flush=True)))


if __name__ == "__main__":
    try:
        _main(sys.argv[1:])
    except BuildError as error:
        sys.exit(f"error: {error}")

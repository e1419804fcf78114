"""Where third-party sources come from: one pinned archive, fetched by name, checked by hash.

The Lua sources are inside the source distribution of `lupa`. pip fetches it from wherever this
machine's pip is told to look, so no address stands here. pip insists on a project's metadata
and would run the project's own build for it; `guests/no_build/` stands in for that build, so no
foreign code runs while fetching.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".cache" / "guests"

LUPA_VERSION: Final = "2.8"
LUPA_SHA256: Final = "d8022641b9ec8ecf2c5ecbe9f47e5a70e0b87c4b5ae921b92cb02a638e0acd08"
LUPA_TOP: Final = f"lupa-{LUPA_VERSION}"
LUA_FOLDERS: Final = {
    "5.1": "third-party/lua51/src",
    "5.2": "third-party/lua52",
    "5.3": "third-party/lua53",
    "5.4": "third-party/lua54",
    "5.5": "third-party/lua55",
}
"""Folders of Lua 5.1.5, 5.2.4, 5.3.6, 5.4.8 and 5.5.1 inside the archive."""


class BuildError(Exception):
    """The guest cannot be built; the message says what to do."""


def sha256_of(path: Path) -> str:
    """Returns the hexadecimal SHA-256 of a file; blocks while reading it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lua_sources(version: str, progress: Callable[[str], None]) -> Path:
    """Returns the folder of unpacked Lua sources, fetching them if they are not there.

    Args:
        version: a key of `LUA_FOLDERS`.
        progress: called with one line of text for every step that takes a while.

    Raises:
        BuildError: pip could not get the archive, or it is not the pinned one.

    Blocks: for the download, the first time.
    """
    unpacked = CACHE / f"{LUPA_TOP}-{LUPA_SHA256[:12]}-lua"
    if not unpacked.is_dir():
        _unpack(_fetch(progress), unpacked)
    return unpacked / LUA_FOLDERS[version]


def lua54_sources(progress: Callable[[str], None]) -> Path:
    """Returns the folder of unpacked Lua 5.4 sources: see `lua_sources`."""
    return lua_sources("5.4", progress)


def _fetch(progress: Callable[[str], None]) -> Path:
    """Returns the archive, downloaded by pip into the cache and checked."""
    archive = CACHE / f"{LUPA_TOP}.tar.gz"
    if archive.is_file() and sha256_of(archive) == LUPA_SHA256:
        return archive
    CACHE.mkdir(parents=True, exist_ok=True)
    progress(f"fetching the Lua sources (lupa {LUPA_VERSION} source distribution, 6 MB)")
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        requirement = Path(scratch, "requirement.txt")
        requirement.write_text(f"lupa=={LUPA_VERSION} --hash=sha256:{LUPA_SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--no-build-isolation", "--require-hashes"]
        command += ["--no-binary", ":all:", "--dest", scratch, "-r", str(requirement)]
        no_build = str(Path(__file__).resolve().parent / "no_build")
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": no_build},
            capture_output=True,
            text=True,
            check=False,
        )
        found = Path(scratch, archive.name)
        if done.returncode != 0 or not found.is_file():
            raise BuildError(
                f"pip could not fetch the source distribution of lupa {LUPA_VERSION}.\n"
                "Check the network and pip's index settings (`pip config list`), or put the file\n"
                f"  {archive.name}\ninto {archive.parent} yourself. pip said:\n"
                f"{done.stderr[-2000:]}"
            )
        if sha256_of(found) != LUPA_SHA256:
            raise BuildError(f"{found.name} is not the pinned file; expected {LUPA_SHA256}")
        found.replace(archive)
    return archive


def _unpack(archive: Path, to: Path) -> None:
    """Unpacks the Lua folders of `archive` so that `to` appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch, tarfile.open(archive) as tar:
        prefixes = tuple(f"{LUPA_TOP}/{folder}/" for folder in LUA_FOLDERS.values())
        members = [member for member in tar if member.name.startswith(prefixes)]
        tar.extractall(scratch, members=members, filter="data")
        whole = Path(scratch, LUPA_TOP)
        try:
            whole.rename(to)
        except OSError:
            if not to.is_dir():
                raise

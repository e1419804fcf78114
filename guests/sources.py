"""Where third-party sources come from: pinned archives, fetched by name, checked by hash.

The Lua sources are inside the source distribution of `lupa`, those of QuickJS-NG inside that of
`quickjs-ng`. pip fetches them from wherever this machine's pip is told to look, so no address
stands here. pip insists on a project's metadata and would run the project's own build for it;
`guests/no_build/` stands in for that build, so no foreign code runs while fetching.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".cache" / "guests"


class BuildError(Exception):
    """The guest cannot be built; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A source distribution that holds an interpreter's sources.

    Attributes:
        project: its name for pip.
        version: the one version.
        sha256: of the file, hexadecimal.
        top: name of the folder inside, and of the file without `.tar.gz`.
        folders: what is unpacked of it.
        what: for people: what is in it, and how large it is.
    """

    project: str
    version: str
    sha256: str
    top: str
    folders: tuple[str, ...]
    what: str

    @property
    def unpacked(self) -> Path:
        """Where its folders are once they were needed; another list of them, another place."""
        key = hashlib.sha256(repr((self.sha256, self.folders)).encode()).hexdigest()
        return CACHE / f"{self.top}-{key[:12]}-sources"


LUA_FOLDERS: Final = {
    "5.1": "third-party/lua51/src",
    "5.2": "third-party/lua52",
    "5.3": "third-party/lua53",
    "5.4": "third-party/lua54",
    "5.5": "third-party/lua55",
}
"""Folders of Lua 5.1.5, 5.2.4, 5.3.6, 5.4.8 and 5.5.1 inside the archive."""
LUPA: Final = Archive(
    project="lupa",
    version="2.8",
    sha256="d8022641b9ec8ecf2c5ecbe9f47e5a70e0b87c4b5ae921b92cb02a638e0acd08",
    top="lupa-2.8",
    folders=tuple(LUA_FOLDERS.values()),
    what="the Lua sources, 6 MB",
)
QUICKJS_FOLDER: Final = "upstream-quickjs"
"""Folder of QuickJS-NG 0.17.0 inside the archive."""
QUICKJS: Final = Archive(
    project="quickjs-ng",
    version="0.17.0.2",
    sha256="43d2e48272208721a7aaea8e3f02d4b9318f12ef20cc4f5421b59d9a470706ef",
    top="quickjs_ng-0.17.0.2",
    folders=(QUICKJS_FOLDER,),
    what="the QuickJS-NG sources, 1 MB",
)


def sha256_of(path: Path) -> str:
    """Returns the hexadecimal SHA-256 of a file; blocks while reading it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpacked_sources(archive: Archive, progress: Callable[[str], None]) -> Path:
    """Returns the folder an archive's folders lie in, fetching them if they are not there.

    Args:
        archive: which one.
        progress: called with one line of text for every step that takes a while.

    Raises:
        BuildError: pip could not get the archive, or it is not the pinned one.

    Blocks: for the download, the first time.
    """
    if not archive.unpacked.is_dir():
        _unpack(archive, _fetch(archive, progress))
    return archive.unpacked


def lua_sources(version: str, progress: Callable[[str], None]) -> Path:
    """Returns the folder of Lua's sources, for a key of `LUA_FOLDERS`: see `unpacked_sources`."""
    return unpacked_sources(LUPA, progress) / LUA_FOLDERS[version]


def lua54_sources(progress: Callable[[str], None]) -> Path:
    """Returns the folder of Lua 5.4's sources: see `unpacked_sources`."""
    return lua_sources("5.4", progress)


def _fetch(archive: Archive, progress: Callable[[str], None]) -> Path:
    """Returns the archive's file, downloaded by pip into the cache and checked."""
    file = CACHE / f"{archive.top}.tar.gz"
    if file.is_file() and sha256_of(file) == archive.sha256:
        return file
    CACHE.mkdir(parents=True, exist_ok=True)
    progress(f"fetching {archive.what} ({archive.project} {archive.version} source distribution)")
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        requirement = Path(scratch, "requirement.txt")
        requirement.write_text(
            f"{archive.project}=={archive.version} --hash=sha256:{archive.sha256}\n"
        )
        command = [sys.executable, "-m", "pip", "download", "--no-deps"]
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
        found = Path(scratch, file.name)
        if done.returncode != 0 or not found.is_file():
            raise BuildError(
                "pip could not fetch the source distribution of "
                f"{archive.project} {archive.version}.\n"
                f"pip said:\n{(done.stdout + done.stderr)[-2000:]}\n"
                "If it is the network or the index, see `pip config list`; or put the file\n"
                f"  {file.name} (SHA-256 {archive.sha256})\ninto {file.parent} yourself."
            )
        if sha256_of(found) != archive.sha256:
            raise BuildError(f"{found.name} is not the pinned file; expected {archive.sha256}")
        found.replace(file)
    return file


def _unpack(archive: Archive, file: Path) -> None:
    """Unpacks the archive's folders so that they appear whole or not at all."""
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch, tarfile.open(file) as tar:
        prefixes = tuple(f"{archive.top}/{folder}/" for folder in archive.folders)
        members = [member for member in tar if member.name.startswith(prefixes)]
        tar.extractall(scratch, members=members, filter="data")
        whole = Path(scratch, archive.top)
        try:
            whole.rename(archive.unpacked)
        except OSError:
            if not archive.unpacked.is_dir():
                raise

"""Real pure-Lua libraries, out of Debian packages: fetched at test time, never kept in the tree.

`apt-get download` gets a package by its name from wherever this machine's apt is told to look; it
is unpacked under .cache/ without being installed. Where apt's own lists do not lead to it (they
are empty on a fresh machine, and age), one `apt-get update` is made into lists of our own: that
changes nothing of the machine and needs no right. Which versions of Lua a package supports is told
by its own folders, `usr/share/lua/5.1` and so on.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Final, NamedTuple

from guests.sources import ROOT

CACHE: Final = ROOT / ".cache" / "debs"
WORK: Final = Path(__file__).with_name("libraries")
VERSIONS: Final = ("5.1", "5.2", "5.3", "5.4")
COMMANDS: Final = ("apt-get", "dpkg-deb")
COMMAND_SECONDS_MAX: Final = 25
"""Two such commands and a download fit into the time a test has."""
PATIENCE: Final = ("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=8")


class NoAptError(Exception):
    """This machine is no Debian: it has not the commands that fetch packages."""


class NotFetchedError(Exception):
    """The commands are here and did not give the package; the message says why."""


@cache
def unpacked(package: str, cache_dir: Path = CACHE) -> Path:
    """Returns the folder with a package's files.

    Args:
        package: its name.
        cache_dir: where packages are kept.

    Raises:
        NoAptError: it is not in the cache, and nothing here can fetch it.
        NotFetchedError: fetching it failed.

    Blocks: some seconds the first time, COMMAND_SECONDS_MAX for each of four commands at most.
    """
    folder = cache_dir / package
    if folder.is_dir():
        return folder
    for command in COMMANDS:
        if shutil.which(command) is None:
            raise NoAptError(f"no {command} here to fetch {package}: it is a Debian package")
    cache_dir.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=package, suffix=".part", dir=cache_dir) as name:
        scratch = Path(name)
        _download(package, scratch)
        files = list(scratch.glob("*.deb"))
        if not files:
            raise NotFetchedError(f"apt-get download gave no file for {package}")
        _run("dpkg-deb", "-x", files[0].name, "files", into=scratch)
        try:
            (scratch / "files").rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    return folder


def _download(package: str, scratch: Path) -> None:
    """Downloads by apt's own lists, then by lists that are read for it, once a process."""
    command = ("apt-get", "download", "-q", *PATIENCE)
    try:
        _run(*command, package, into=scratch)
    except NotFetchedError as problem:
        lists = _read_lists()
        try:
            _run(*command, *lists.options, package, into=scratch)
        except NotFetchedError as second:
            said = "\n".join(part for part in (str(problem), lists.trouble, str(second)) if part)
            raise NotFetchedError(said) from None


class _Lists(NamedTuple):
    """Package lists of our own: apt-get's options that name them, and what went wrong with them."""

    options: tuple[str, ...]
    trouble: str


@cache
def _read_lists() -> _Lists:
    """Reads them into a folder that goes when this process ends."""
    folder = Path(mkdtemp(prefix="lithox-apt-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    lists, kept = folder / "lists", folder / "cache"
    for place in (lists, kept / "archives"):
        (place / "partial").mkdir(parents=True)
    options = ("-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={kept}")
    try:
        _run("apt-get", "update", "-q", *PATIENCE, *options, into=lists)
    except NotFetchedError as problem:
        return _Lists(options, str(problem))
    return _Lists(options, "")


def _run(*command: str, into: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=into,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS_MAX,
        )
    except subprocess.TimeoutExpired:
        raise NotFetchedError(
            f"{' '.join(command)}: no end within {COMMAND_SECONDS_MAX} s"
        ) from None
    if done.returncode != 0:
        raise NotFetchedError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")


def modules(package: str, version: str) -> dict[str, bytes]:
    """Returns module name -> text of a package for one version; empty when it has none for it.

    Raises:
        NoAptError, NotFetchedError: as `unpacked`.
    """
    folder = unpacked(package) / "usr" / "share" / "lua" / version
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*.lua")):
        parts = list(path.relative_to(folder).with_suffix("").parts)
        if parts[-1] == "init" and len(parts) > 1:
            parts.pop()
        found[".".join(parts)] = path.read_bytes()
    return found

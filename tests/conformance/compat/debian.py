"""Real pure-Lua libraries, out of Debian packages: fetched at test time, never kept in the tree.

`apt-get download` gets a package by its name from wherever this machine's apt is told to look; it
is unpacked under .cache/ without being installed. Which versions of Lua a package supports is told
by its own folders, `usr/share/lua/5.1` and so on.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from guests.sources import ROOT

CACHE: Final = ROOT / ".cache" / "debs"
WORK: Final = Path(__file__).with_name("libraries")
VERSIONS: Final = ("5.1", "5.2", "5.3", "5.4")
DOWNLOAD_SECONDS_MAX: Final = 50


class NotFetched(Exception):
    """apt is not here or does not give the package; the message says which."""


@cache
def unpacked(package: str) -> Path:
    """Returns the folder with a package's files.

    Raises:
        NotFetched: it is not in the cache and cannot be fetched.
    """
    folder = CACHE / package
    if folder.is_dir():
        return folder
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotFetched(f"no apt-get or dpkg-deb here to fetch {package}")
    scratch = CACHE / f"{package}.{id(folder)}.part"
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        _run("apt-get", "download", "-q", package, into=scratch)
        files = list(scratch.glob("*.deb"))
        if not files:
            raise NotFetched(f"apt-get download gave no file for {package}")
        _run("dpkg-deb", "-x", files[0].name, "files", into=scratch)
        try:
            (scratch / "files").rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _run(*command: str, into: Path) -> None:
    done = subprocess.run(
        command,
        cwd=into,
        capture_output=True,
        text=True,
        check=False,
        timeout=DOWNLOAD_SECONDS_MAX,
    )
    if done.returncode != 0:
        raise NotFetched(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")


def modules(package: str, version: str) -> dict[str, bytes]:
    """Returns module name -> text of a package for one version; empty when it has none for it."""
    folder = unpacked(package) / "usr" / "share" / "lua" / version
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*.lua")):
        parts = list(path.relative_to(folder).with_suffix("").parts)
        if parts[-1] == "init" and len(parts) > 1:
            parts.pop()
        found[".".join(parts)] = path.read_bytes()
    return found

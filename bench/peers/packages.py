"""Where the peers come from: packages of Debian, npm and PyPI, all unpacked into one folder.

Debian packages that are not installed are fetched and unpacked, not installed: so no service is
started and nothing of the machine changes. npm's versions and hashes stand in npm/package-lock.json
(without addresses), PyPI's in requirements/peers.txt. What cannot be had raises MissingError; no
other source is tried.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.counter import ROOT
from bench.peers.processes import MissingError

HERE: Final = Path(__file__).resolve().parent
APPS: Final = HERE / "apps"
PINS: Final = ROOT / "requirements" / "peers.txt"
STEP_S_MAX: Final = 300.0


class Packages:
    """Gets packages into `folder`, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find_command(self, name: str, package: str) -> tuple[str, dict[str, str]]:
        """Returns (path, environment) of a command of Debian's `package`.

        The installed one is taken if there is one. Blocks while it is fetched.

        Raises:
            MissingError: it is neither installed nor to be had.
        """
        installed = shutil.which(name)
        if installed is not None:
            return installed, {}
        root = self._folder / "debian"
        path = root / "usr" / "bin" / name
        if not path.exists():
            self._unpack(package, root)
        if not path.exists():
            raise MissingError(f"Debian's package {package} has no {name}")
        libraries = [root / "usr" / "lib", *(root / "usr" / "lib").glob("*-linux-gnu")]
        return str(path), {"LD_LIBRARY_PATH": ":".join(str(one) for one in libraries)}

    def _unpack(self, package: str, root: Path) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise MissingError(f"{package} is not installed, and there is no apt here")
        cache = self._folder / "debs"
        (cache / "partial").mkdir(parents=True, exist_ok=True)
        # Without the lists' lock, so that another apt on this machine is not in the way.
        command = ["apt-get", "-q", "-y", "--no-install-recommends", "--download-only"]
        command += ["-o", f"Dir::Cache::archives={cache}", "-o", "Debug::NoLocking=1"]
        _step([*command, "install", package], environment={"DEBIAN_FRONTEND": "noninteractive"})
        root.mkdir(exist_ok=True)
        for found in sorted(cache.glob("*.deb")):
            _step(["dpkg-deb", "-x", str(found), str(root)])

    def node_modules(self) -> Path:
        """Returns the folder with npm's packages, by version and hash; blocks while they come.

        Raises:
            MissingError: there is no npm, or it cannot get them.
        """
        if shutil.which("npm") is None or shutil.which("node") is None:
            raise MissingError("node and npm are not installed")
        folder = self._folder / "npm"
        modules = folder / "node_modules"
        if not modules.exists():
            folder.mkdir(exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / "npm" / name, folder / name)
            # Not `npm ci`, which wants every optional package of systems that are not this one.
            # No scripts: one of the packages would report the installation to its makers.
            _step(
                ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"],
                folder=folder,
                environment={"npm_config_cache": str(self._folder / "npm-cache")},
            )
            check_pins(HERE / "npm" / "package-lock.json", modules / ".package-lock.json")
        return modules

    def python_with_dbos(self) -> Path:
        """Returns a Python of its own that has the packages of requirements/peers.txt.

        Raises:
            MissingError: they cannot be had.
        """
        folder = self._folder / "dbos-venv"
        python = folder / "bin" / "python"
        if not python.exists():
            _step([sys.executable, "-m", "venv", str(folder)])
            command = [str(python), "-m", "pip", "install", "-q", "--require-hashes"]
            _step([*command, "--disable-pip-version-check", "-r", str(PINS)])
        return python


def check_pins(wanted: Path, installed: Path) -> None:
    """Refuses packages of npm that are not those of `wanted`, by version and hash.

    Raises:
        MissingError: one is another, or was never pinned.
    """
    pins = json.loads(wanted.read_text())["packages"]
    for name, found in json.loads(installed.read_text())["packages"].items():
        pin = pins.get(name, {})
        if any(pin.get(key) != found.get(key) for key in ("version", "integrity")):
            shutil.rmtree(installed.parent)
            raise MissingError(f"npm brought another {name} than package-lock.json names")


def _step(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs a command that must work. Raises MissingError with its last words."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=STEP_S_MAX,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{command[0]} failed: {error}") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise MissingError(f"{command[0]} failed: {words[-1][:200] if words else 'no words'}")


def version_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Returns the first line that a command says of its version."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return (done.stdout or done.stderr).strip().splitlines()[0]

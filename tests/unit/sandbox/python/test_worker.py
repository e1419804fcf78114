"""The worker's program is found where its package has put it, in the version that is spoken to."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from importlib import metadata
from typing import Any

import pytest

from lithox.errors import ConfigError
from lithox.sandbox.python.worker import Worker, find_binary


def test_program_is_the_packages() -> None:
    """It can be run, and it is the one of the pinned version."""
    assert os.access(find_binary(), os.X_OK)


def test_other_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of another version could mean something else."""

    class Other:
        version = "9.9.9"

    monkeypatch.setattr(metadata, "distribution", lambda name: Other())
    with pytest.raises(ConfigError, match=r"found 9\.9\.9"):
        find_binary()


def test_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what to install."""

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(ConfigError, match=r"pydantic-monty-runtime==1\.4\.0"):
        find_binary()


@pytest.mark.parametrize("failing", ["open", "set_blocking"])
def test_worker_that_is_not_whole_is_ended(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Where no further file can be opened, no process is left, and no pipe."""
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*args: Any, **settings: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **settings))
        # Only what comes behind the start fails.
        monkeypatch.setattr(os, failing, refuse)
        return started[-1]

    def refuse(*args: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(OSError, match="Too many open files"):
        Worker(find_binary())
    (process,) = started
    assert process.returncode == -signal.SIGKILL
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdin.closed
    assert process.stdout.closed

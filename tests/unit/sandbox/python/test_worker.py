"""The worker's program is found where its package has put it, in the version that is spoken to."""

from __future__ import annotations

import os
from importlib import metadata

import pytest

from lithox.errors import ConfigError
from lithox.sandbox.python.worker import find_binary


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

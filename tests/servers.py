"""Real servers and tools that tests drive: what must be installed for that.

`make test` installs it when it may (root, apt-get). Where it may not, a test that needs one is
left out and says so; with CI set that is a failure (tests/conftest.py).
"""

from __future__ import annotations

import shutil

import pytest

from lithox.testing.postgres_server import NOT_INSTALLED, find_programs


def require_postgres() -> None:
    """Skips the calling test where no PostgreSQL server is installed."""
    if find_programs() is None:
        pytest.skip(f"this test starts a server of its own, and {NOT_INSTALLED}")


def require_tool(name: str, package: str) -> None:
    """Skips the calling test where the program `name` of Debian's `package` is not installed."""
    if shutil.which(name) is None:
        pytest.skip(
            f"this test drives {name} itself: a stand-in would agree with us and not with it; "
            f"{package} is not installed, which `make test` does as root"
        )

"""Real servers that tests start for themselves: what must be installed for that.

`make test` installs it when it may (root, apt-get). Where it may not, a test that needs a server is
left out and says so; with CI set that is a failure (tests/conftest.py).
"""

from __future__ import annotations

import pytest

from lithox.testing.postgres_server import NOT_INSTALLED, find_programs


def require_postgres() -> None:
    """Skips the calling test where no PostgreSQL server is installed."""
    if find_programs() is None:
        pytest.skip(f"this test starts a server of its own, and {NOT_INSTALLED}")

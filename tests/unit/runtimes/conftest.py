"""One world for each version of Lua."""

from __future__ import annotations

import pytest

from lithox.runtimes.registry import LUA_VERSIONS
from tests.unit.runtimes.fake_world import FakeWorld


@pytest.fixture(params=LUA_VERSIONS)
def world(request: pytest.FixtureRequest) -> FakeWorld:
    """A process of each version of Lua."""
    return FakeWorld(request.param)

"""Every test of this folder meets every engine, opened over an empty disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.store.worlds import ENGINES, World, make_world


@pytest.fixture(params=ENGINES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = make_world(request.param, tmp_path)
    made.open()
    yield made
    made.end()

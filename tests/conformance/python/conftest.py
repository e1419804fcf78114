"""One engine for the tests that leave its workers as they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lithox.sandbox.python.engine import PythonEngine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PythonEngine]:
    """An engine with the installed worker."""
    opened = PythonEngine(tmp_path_factory.mktemp("cache"))
    yield opened
    opened.close()

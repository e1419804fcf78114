"""The program guests as a node opens them, each version in its turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lithox.sandbox import engines as languages
from lithox.sandbox.contract import Engine
from tests import built_guests
from tests.conformance.program.harness import VERSIONS, Machine


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Engine]]:
    """All engines of a node."""
    built_guests.require()
    engines = languages.open_engines(tmp_path_factory.mktemp("compiled"))
    yield engines
    for engine in engines.values():
        engine.close()


@pytest.fixture(params=VERSIONS)
def machine(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Machine:
    """A way to run programs of one version of Lua."""
    return Machine(engine=engines[f"lua-program-{request.param}"], version=request.param)


@pytest.fixture(params=VERSIONS[2:])
def modern(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Machine:
    """A version that has integers."""
    return Machine(engine=engines[f"lua-program-{request.param}"], version=request.param)


@pytest.fixture(params=VERSIONS[:2])
def early(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Machine:
    """A version whose numbers are all doubles."""
    return Machine(engine=engines[f"lua-program-{request.param}"], version=request.param)

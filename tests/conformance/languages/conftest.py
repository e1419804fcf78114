"""One open node a language, for all tests of a process; a test runs once for each language."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import built_guests
from tests.conformance.languages import capabilities
from tests.conformance.languages.languages import LANGUAGES, Language
from tests.conformance.languages.world import World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives a test that asks for `world` every language; `@needs(claim)` leaves some out.

    A language is left out when its deviation from the claim is False: it cannot do that at all,
    and `capabilities.py` says why.
    """
    if "world" not in metafunc.fixturenames:
        return
    marks = list(metafunc.definition.iter_markers("needs"))
    claims = [claim for mark in marks for claim in mark.args]
    chosen = [
        pytest.param(one, id=one.name, marks=pytest.mark.timeout(one.timeout_s))
        for one in LANGUAGES
        if all(capabilities.expected(one.name, claim) is not False for claim in claims)
    ]
    metafunc.parametrize("world", chosen, indirect=True, scope="session")


@pytest.fixture(scope="session")
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A node with the module of the language the test is run for."""
    built_guests.require()
    language: Language = request.param
    opened = World(language, tmp_path_factory.mktemp(language.name))
    try:
        opened.open()
        yield opened
    finally:
        opened.close()

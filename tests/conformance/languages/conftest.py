"""One open node a language, for all tests of a process; a test runs once for each language."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import built_guests
from tests.conformance.languages import capabilities, faults
from tests.conformance.languages.languages import LANGUAGES, Language
from tests.conformance.languages.world import World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives a test that asks for `world` every language; `@needs(claim)` leaves some out.

    One that asks for a `fault` as well runs for each of those. A language is left out when its
    deviation from the claim is False: it cannot do that at all, and `capabilities.py` says why.
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
    if "fault" in metafunc.fixturenames:
        metafunc.parametrize(("world", "fault"), list(cases()), indirect=["world"], scope="session")
    else:
        metafunc.parametrize("world", chosen, indirect=True, scope="session")


def cases() -> Iterator[Any]:
    """Gives every fault with the world of its language."""
    for one in LANGUAGES:
        for name, fault in faults.read(one.name).items():
            mark = pytest.mark.timeout(one.timeout_s)
            yield pytest.param(one, fault, id=f"{one.name}-{name}", marks=mark)


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

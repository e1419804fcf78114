"""The table of deviations is sound: each is one from a claim that is tried, and has a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance.languages.capabilities import CLAIMS, DEVIATIONS
from tests.conformance.languages.languages import LANGUAGES

FOLDER = Path(__file__).parent
TABLE = FOLDER / "README.md"


def test_every_language_has_its_column() -> None:
    """Deviations are kept for exactly the languages of the suite."""
    assert set(DEVIATIONS) == {one.name for one in LANGUAGES}


@pytest.mark.parametrize("name", [one.name for one in LANGUAGES])
def test_deviations_deviate(name: str) -> None:
    """A deviation is one from a claim that exists, differs from it, and says why."""
    for claim, deviation in DEVIATIONS[name].items():
        assert deviation.does != CLAIMS[claim].expects, claim
        assert len(deviation.says) >= 10, claim


def test_every_claim_is_tried() -> None:
    """No claim stands in the table that no test asks about."""
    tests = "".join(path.read_text() for path in FOLDER.glob("test_*.py"))
    unused = {one for one in CLAIMS if f'"{one.removeprefix("make_")}"' not in tests}
    assert unused == set()


def test_handlers_of_the_table_are_tried() -> None:
    """Each handler that README.md asks for is called by some test of the suite."""
    names = set(re.findall(r"^\| `(\w+)\(", TABLE.read_text(), re.MULTILINE))
    tests = "".join(path.read_text() for path in FOLDER.glob("test_*.py"))
    assert {name for name in names if f'"{name}"' not in tests} == set()
    assert len(names) >= 60

"""Every case under every runtime it is about, beside the interpreter of that very version."""

from __future__ import annotations

import pytest

from tests.conformance.compat import oracle
from tests.conformance.compat.guest import Guests
from tests.conformance.compat.reading import Case, comparable, read_cases

CASES = read_cases()


def by_title(case: Case) -> str:
    return case.title


@pytest.mark.parametrize("case", CASES, ids=by_title)
def test_case(guests: Guests, case: Case) -> None:
    """An exact case writes what the oracle writes, another what it promises, unlike the oracle."""
    for column in case.columns:
        ours = _written(guests.output(column, case.text, stdin=case.stdin))
        if case.kind != "exact":
            assert ours == case.promised, column
        if case.kind in ("here", "ours"):
            continue
        version = oracle.version_for(case, column)
        theirs = _written(oracle.run(version, case.text, stdin=case.stdin))
        if case.kind == "exact":
            assert ours == theirs, f"{column} beside {version}"
        else:
            assert ours != theirs, f"{column} beside {version}: no difference to tell"


def _written(streams: tuple[str, str]) -> str:
    out, err = streams
    return comparable(out + (f"to stderr: {err}" if err else ""))


def test_there_are_hundreds_of_cases() -> None:
    """Titles are unique, each case is about at least one runtime, and there are enough."""
    assert len({case.title for case in CASES}) == len(CASES)
    assert all(case.columns for case in CASES)
    assert sum(len(case.columns) for case in CASES) > 1500
    assert all(case.promised == "" for case in CASES if case.kind == "exact")

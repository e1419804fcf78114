"""The native API on a real node: the same cases in both modes and on every version of Lua."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conformance.native.cases import Case, read_cases
from tests.conformance.native.worlds import Ended, run_all

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]

WORLDS = [
    ("preemptive", "native"),
    ("cooperative", "native"),
    ("preemptive", "compat-5.1"),
    ("preemptive", "compat-5.2"),
    ("cooperative", "compat-5.3"),
    ("preemptive", "compat-5.5"),
]
"""(mode, runtime of the case's main program); its children run natively, on Lua 5.4."""
CASES = read_cases()


@cache
def outcomes(mode: str, runtime: str) -> dict[str, Ended | Exception]:
    """Returns what came of every case: one node runs them all, once for each worker of pytest."""
    with TemporaryDirectory() as folder:
        cases = [case for case in CASES if case.is_for(mode)]
        return run_all(Path(folder), cases, mode=mode, runtime=runtime)


def in_order(text: str, *, is_sorted: bool) -> str:
    """Returns the text, its lines sorted when their order is nobody's promise."""
    return "".join(sorted(text.splitlines(keepends=True))) if is_sorted else text


@pytest.mark.parametrize(
    ("mode", "runtime", "case"),
    [
        pytest.param(mode, runtime, case, id=f"{mode}-{runtime}-{case.name}")
        for mode, runtime in WORLDS
        for case in CASES
        if case.is_for(mode)
    ],
)
def test_case_does_what_it_says(mode: str, runtime: str, case: Case) -> None:
    """Output, errors and end of a case are those written beside it."""
    ended = outcomes(mode, runtime)[case.name]
    if isinstance(ended, Exception):
        raise ended
    output = in_order(ended.output, is_sorted=case.is_sorted)
    assert (output, ended.exit) == (case.output, case.exit), (ended.message, ended.errors)
    if case.errors.endswith("...\n"):
        assert ended.errors.startswith(case.errors.removesuffix("...\n"))
    else:
        assert ended.errors == case.errors

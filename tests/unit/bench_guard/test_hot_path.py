"""No change makes the hot path five percent longer without saying so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.guard.comparing import find_moves, why_not_compared
from bench.guard.files import made_counts, read_figures
from bench.guard.measure import ROOT, exact

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

COMPILED = ROOT / ".cache" / "compiled-by-tests"
SHARE = 0.05
"""What a change may cost before somebody has to want it."""
RENEW = (
    "The path of a request has become longer than bench/guard/figures.json says. `make "
    "bench-compare` shows where. If that is its price, renew the figures (`make bench-compare "
    "WRITE=1`) and say in the commit what was bought."
)


def complain(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns a line for each figure that is worse by more than SHARE, or not there any more."""
    moves = find_moves(then, now, share=SHARE)
    return [str(move) for move in moves if move.kind in {"worse", "gone", "new"}]


@pytest.mark.timeout(180)
def test_no_figure_of_the_hot_path_is_five_percent_worse() -> None:
    """Calls, bytecodes, turns, messages, syncs and memory of a run are what is committed.

    Other minor versions of Python execute other bytecodes, and compiled modules none: where that
    differs only the names are compared.
    """
    kept = read_figures()["counts"]
    found = exact(COMPILED)
    now = {"made": made_counts(), "figures": found["counts"], "parts": found["rooms"]}
    if why_not_compared("counts", kept, now):
        assert set(found["counts"]) == set(kept["figures"]), RENEW
        return
    complaints = complain(kept, now)
    assert not complaints, "\n".join([RENEW, *complaints])


def test_a_longer_path_is_told_with_the_room_that_grew() -> None:
    """Six percent more calls fail with the figure, the change and where; four do not."""
    then = {
        "figures": {"write.python_calls": 100.0},
        "parts": {"write.python_calls": {"dispatch": 60.0, "store": 40.0}},
    }
    worse = {
        "figures": {"write.python_calls": 106.0},
        "parts": {"write.python_calls": {"dispatch": 66.5, "store": 39.5}},
    }
    assert complain(then, worse) == [
        "worse  write.python_calls: 100 -> 106 (+6.0%); dispatch +6.5, store -0.5"
    ]
    assert complain(then, {"figures": {"write.python_calls": 104.0}}) == []
    assert complain(then, {"figures": {"write.python_calls": 50.0}}) == []


def test_a_figure_that_vanishes_is_no_better_one() -> None:
    """What is not measured any more, or not kept yet, has to be said by a renewed file."""
    then = {"figures": {"old": 1.0}}
    assert complain(then, {"figures": {"new": 2.0}}) == ["gone   old: 1", "new    new: 2"]


def test_figures_are_kept_without_a_path_of_a_machine() -> None:
    """The committed file names versions and builds, and no folder."""
    text = (ROOT / "bench" / "guard" / "figures.json").read_text()
    assert str(Path.home()) not in text
    assert "/" not in "".join(str(one) for one in read_figures()["counts"]["made"].values())

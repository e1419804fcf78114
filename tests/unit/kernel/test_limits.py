"""Limits by example: what is said wins over what is not, and a refusal names what was asked."""

from __future__ import annotations

import pytest

from lithox.errors import LimitTooHigh
from lithox.kernel.limits import check_not_above, give_back, remaining, reserve, smallest
from lithox.model.limits import Limits
from lithox.model.request import Usage


def test_smallest_of_nothing_says_nothing() -> None:
    """No limits at all leave every field unsaid."""
    assert smallest() == Limits()


def test_smallest_takes_each_field_from_whoever_is_lowest() -> None:
    """Fields are compared one by one; an unsaid field never wins, not even over zero."""
    assert smallest(Limits(fuel=5), Limits(fuel=3, calls=0), Limits(calls=7)) == Limits(
        fuel=3, calls=0
    )


def test_check_names_field_and_both_amounts() -> None:
    """The refusal says which limit was asked too high, how high, and what would do."""
    with pytest.raises(LimitTooHigh) as caught:
        check_not_above(Limits(fuel=1, calls=11), Limits(fuel=1, calls=10))
    assert caught.value.message == (
        "limit calls was asked at 11, but at most 10 is allowed; ask for less"
    )
    assert caught.value.fields == {"limit": "calls", "asked": 11, "allowed": 10}


def test_remaining_takes_usage_off_but_not_memory() -> None:
    """Fuel and calls are spent; memory is a ceiling that stays."""
    limits = Limits(fuel=10, memory_bytes=100, calls=5, wall_ns=50)
    usage = Usage(fuel=4, memory_bytes=60, calls=9, wall_ns=20)
    assert remaining(limits, usage) == Limits(fuel=6, memory_bytes=100, calls=0, wall_ns=30)


def test_a_child_that_overran_costs_its_parent_the_grant_only() -> None:
    """One slice too much in the child is not taken from the parent."""
    left = Limits(fuel=100)
    grant, rest = reserve(left, Limits(fuel=30))
    assert (grant.fuel, rest.fuel) == (30, 70)
    assert give_back(rest, grant, Usage(fuel=31)).fuel == 70

"""The laws of limits: minima commute, grants never make anything out of nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithox.errors import LimitTooHigh
from lithox.kernel.limits import (
    HELD_FIELDS,
    SHARED_FIELDS,
    SPENT_FIELDS,
    check_not_above,
    give_back,
    remaining,
    reserve,
    smallest,
)
from lithox.model.limits import LIMIT_FIELDS, Limits
from lithox.model.request import Usage
from tests import strategies


def test_every_limit_is_of_one_kind() -> None:
    """Spent, held and shared fields together are all fields, each once."""
    assert sorted(SPENT_FIELDS + HELD_FIELDS + SHARED_FIELDS) == sorted(LIMIT_FIELDS)


@given(st.lists(strategies.limits), st.randoms(use_true_random=False))
def test_smallest_does_not_depend_on_order(said: list[Limits], chance) -> None:
    """The minimum of several limits is the same in every order."""
    shuffled = list(said)
    chance.shuffle(shuffled)
    assert smallest(*said) == smallest(*shuffled)


@given(strategies.limits, strategies.limits, strategies.limits)
def test_smallest_does_not_depend_on_grouping(a: Limits, b: Limits, c: Limits) -> None:
    """The minimum of minima is the minimum; taking it twice changes nothing."""
    assert smallest(smallest(a, b), c) == smallest(a, smallest(b, c))
    assert smallest(a, a) == a


@given(st.lists(strategies.limits, min_size=1))
def test_smallest_is_above_nobody(said: list[Limits]) -> None:
    """Whatever was said, the minimum passes its check."""
    least = smallest(*said)
    for limits in said:
        check_not_above(least, limits)


@given(strategies.limits, strategies.limits)
def test_check_refuses_exactly_what_smallest_would_lower(asked: Limits, allowed: Limits) -> None:
    """A limit is refused when, and only when, the minimum differs from what was asked."""
    lowered = any(
        getattr(asked, name) is not None
        and getattr(smallest(asked, allowed), name) != getattr(asked, name)
        for name in LIMIT_FIELDS
    )
    if lowered:
        with pytest.raises(LimitTooHigh):
            check_not_above(asked, allowed)
    else:
        check_not_above(asked, allowed)


@given(strategies.limits, strategies.usages)
def test_remaining_never_grows_nor_falls_below_nothing(limits: Limits, usage: Usage) -> None:
    """What is left is between zero and what was there."""
    left = remaining(limits, usage)
    check_not_above(left, limits)
    assert all((getattr(left, name) or 0) >= 0 for name in LIMIT_FIELDS)


@given(strategies.full_limits, strategies.limits)
def test_a_grant_is_taken_from_the_remainder(left: Limits, asked: Limits) -> None:
    """Grant and remainder together are what was there; shared limits bound both."""
    grant, rest = reserve(left, asked)
    for name in LIMIT_FIELDS:
        if name in SHARED_FIELDS:
            assert getattr(rest, name) == getattr(left, name)
            assert getattr(grant, name) <= getattr(left, name)
        else:
            assert getattr(grant, name) + getattr(rest, name) == getattr(left, name)


@given(strategies.full_limits, strategies.limits, strategies.full_limits)
def test_a_childs_end_gives_back_what_it_did_not_use(
    left: Limits, asked: Limits, used: Limits
) -> None:
    """After the child's end the parent lacks what was used, at most the grant; memory is whole."""
    grant, rest = reserve(left, asked)
    after = give_back(rest, grant, used)
    for name in SPENT_FIELDS:
        cost = min(getattr(used, name), getattr(grant, name))
        assert getattr(after, name) == getattr(left, name) - cost
    for name in HELD_FIELDS + SHARED_FIELDS:
        assert getattr(after, name) == getattr(left, name)


@given(st.lists(st.tuples(strategies.limits, strategies.full_limits), max_size=6))
def test_children_in_turn_never_use_more_than_the_parent_had(
    children: list[tuple[Limits, Limits]],
) -> None:
    """However many children a parent has one after another, its remainder stays in its bounds."""
    sizes = (100, 50, 70, 30, 9, 8, 6)
    whole = Limits(**dict(zip(LIMIT_FIELDS, sizes, strict=True)))
    left = whole
    for asked, used in children:
        grant, held = reserve(left, asked)
        left = give_back(held, grant, used)
        check_not_above(left, whole)
        assert all(getattr(left, name) >= 0 for name in LIMIT_FIELDS)

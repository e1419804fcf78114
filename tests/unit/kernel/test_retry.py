"""What a run does after a conflict."""

from __future__ import annotations

import pytest

from lithox.errors import ConfigError
from lithox.kernel import Retry, RetryPolicy, decide_retry, turn_order
from lithox.model.ids import EntityPath


@pytest.mark.parametrize(
    ("conflicts", "holds_turn", "expected"),
    [
        (1, False, Retry.AGAIN),
        (2, False, Retry.AFTER_TURN),
        (3, True, Retry.AGAIN),
        (15, False, Retry.AFTER_TURN),
        (16, False, Retry.GIVE_UP),
        (16, True, Retry.GIVE_UP),
    ],
)
def test_a_run_tries_its_luck_then_waits_then_gives_up(
    conflicts: int, holds_turn: bool, expected: Retry
) -> None:
    """One free try after the first conflict, a turn after the second, an end at the bound."""
    assert decide_retry(conflicts=conflicts, holds_turn=holds_turn) is expected


def test_a_run_that_has_requested_needs_its_turn_at_once() -> None:
    """What a request of its own committed stays, so such a run goes on only when it cannot lose."""
    assert decide_retry(conflicts=1, holds_turn=False, has_requested=True) is Retry.AFTER_TURN
    assert decide_retry(conflicts=1, holds_turn=True, has_requested=True) is Retry.AGAIN


def test_turns_are_taken_in_one_order() -> None:
    """Whatever order entities were touched in, turns are asked for sorted, each once."""
    touched = [EntityPath("b"), EntityPath("a/c"), EntityPath("b"), EntityPath("a")]
    assert turn_order(touched) == turn_order(reversed(touched)) == ("a", "a/c", "b")


def test_a_policy_without_any_run_is_refused() -> None:
    """A policy that would never run anything cannot be made."""
    with pytest.raises(ConfigError, match="at least 1; found 2 and 0"):
        RetryPolicy(runs_max=0)

"""Messages that are missing or out of order are named."""

from __future__ import annotations

from tests.histories.mail import Sent, find_disorder, find_missing

FIRST, SECOND = Sent("a", "x", 1, 0, 1), Sent("a", "x", 2, 2, 3)
OVERLAPPING, OF_ANOTHER = Sent("a", "x", 3, 0, 9), Sent("b", "x", 4, 0, 1)


def test_what_has_not_arrived_is_named() -> None:
    """A message is missing until its value is in the list it was sent to."""
    assert find_missing([FIRST, SECOND], {"x": [2]}) == [FIRST]
    assert find_missing([FIRST, SECOND], {"y": [1, 2]}) == [FIRST, SECOND]
    assert find_missing([FIRST, SECOND], {"x": [2, 1]}) == []


def test_one_pair_keeps_the_order_of_sending() -> None:
    """What was acknowledged before the other was asked for comes first; no more is promised."""
    assert find_disorder([FIRST, SECOND], {"x": [1, 2]}) == []
    assert find_disorder([FIRST, SECOND], {"x": [2, 1]}) == ["a sent 1 to x before 2"]
    assert find_disorder([FIRST, SECOND], {"x": [2, 7, 1]}) == ["a sent 1 to x before 2"]
    assert find_disorder([FIRST, OVERLAPPING], {"x": [3, 1]}) == []
    assert find_disorder([SECOND, OF_ANOTHER], {"x": [2, 4]}) == []

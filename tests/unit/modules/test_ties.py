"""Ties between patterns: the tree says what comparing each with each would."""

from __future__ import annotations

from itertools import product

import pytest

from lithox.model.patterns import is_overlap, rank
from lithox.modules.ties import find_tie

SEGMENTS = ("a", "b", "*")
PATTERNS = [
    "/".join(segments) for length in (1, 2, 3) for segments in product(SEGMENTS, repeat=length)
] + ["**", "a/**", "b/**", "*/**", "a/*/**", "*/b/**", "a/b/**"]


def test_tree_agrees_with_comparing_each_with_each() -> None:
    """For every two patterns of three segments or fewer, a tie is what the definition says."""
    for one, other in product(PATTERNS, repeat=2):
        expected = one != other and rank(one) == rank(other) and is_overlap(one, other)
        if one != other:
            assert (find_tie([one], [other]) == (one, other)) is expected, (one, other)


@pytest.mark.parametrize(
    ("kept", "fresh", "tie"),
    [
        (["*/a", "b/*"], [], None),  # Ties of what is kept are not looked for again.
        ([], ["a/*", "*/b"], ("a/*", "*/b")),
        (["x/*", "a/*"], ["*/b/**", "*/b"], ("x/*", "*/b")),
        (["a/b/*", "a/*/c"], ["a/c/*"], ("a/*/c", "a/c/*")),
        ([f"t{i}/*/x" for i in range(500)], [f"t{i}/*/y" for i in range(500)], None),
    ],
)
def test_fresh_patterns_are_held_against_kept_and_fresh(
    kept: list[str], fresh: list[str], tie: tuple[str, str] | None
) -> None:
    """A tie is told with both its patterns, the one that was there first."""
    assert find_tie(kept, fresh) == tie

"""Patterns over entity paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithox.errors import BadArguments
from lithox.model.patterns import check_pattern, is_match, is_overlap, rank

_segment = st.sampled_from(["a", "b", "*"])
_pattern = st.lists(_segment, min_size=1, max_size=4).flatmap(
    lambda parts: st.sampled_from(["/".join(parts), "/".join([*parts, "**"])])
)
_path = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6).map("/".join)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("*/b", "a/b", True),
        ("a", "a", True),
        ("**", "x/y", True),
    ],
)
def test_matching(pattern: str, path: str, *, expected: bool) -> None:
    """`*` is one segment, `**` one or more at the end."""
    assert is_match(pattern, path) is expected


def test_most_literal_wins() -> None:
    """More literal segments rank higher, and `**` lower than `*`."""
    ordered = ["**", "*", "*/*", "a/**", "a/*", "a/b"]
    assert sorted(ordered, key=rank) == ordered


@pytest.mark.parametrize("pattern", ["", "a//b", "a/**/b", "..", "a/.", "a*", "a b", "/a", "a/"])
def test_malformed_patterns_are_refused(pattern: str) -> None:
    """Segments are literal or whole wildcards."""
    with pytest.raises(BadArguments):
        check_pattern(pattern)


@given(left=_pattern, right=_pattern, path=_path)
def test_common_match_is_an_overlap(left: str, right: str, path: str) -> None:
    """Whatever matches both patterns proves that they overlap; overlap is symmetric."""
    if is_match(left, path) and is_match(right, path):
        assert is_overlap(left, right)
    assert is_overlap(left, right) == is_overlap(right, left)

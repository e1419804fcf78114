"""Patterns over entity paths: what they match and which one wins."""

from __future__ import annotations

import pytest

from lithox.errors import BadArguments
from lithox.model.patterns import check_pattern, is_match, is_overlap, rank


@pytest.mark.parametrize(
    ("pattern", "path", "is_covered"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", "a/b", False),
        ("counter/*", "counter/alice", True),
        ("counter/*", "counter", False),
        ("counter/*", "counter/a/b", False),
        ("*/b", "a/b", True),
        ("*", "a", True),
        ("**", "a", True),
        ("**", "a/b/c", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/*/**", "a/b", False),
        ("a/*/**", "a/b/c", True),
    ],
)
def test_match(pattern: str, path: str, is_covered: bool) -> None:
    """`*` is exactly one segment, `**` one or more."""
    assert is_match(check_pattern(pattern), path) is is_covered


@pytest.mark.parametrize(
    "text", ["", "/", "a/", "a//b", "**/a", "a/**/b", "a*", "***", ".", "a/.."]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    """Wildcards stand alone in their segment, and `**` only at the end."""
    with pytest.raises(BadArguments, match=r"^a pattern is segments joined by '/'"):
        check_pattern(text)


def test_a_pattern_has_at_most_sixteen_segments() -> None:
    """A pattern longer than any path is refused."""
    assert check_pattern("/".join(["*"] * 16))
    with pytest.raises(BadArguments, match=r"^a pattern has at most 16 segments$"):
        check_pattern("/".join(["*"] * 17))


def test_the_most_literal_one_wins() -> None:
    """More literal segments first, then one without `**`, then the longer one."""
    ordered = ["**", "*/**", "*", "*/*", "a/**", "a/*/**", "a/*", "a/b/**", "a/b"]
    assert sorted(set(ordered), key=rank) == ordered


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a/*", "*/b", True),
        ("a/*", "b/*", False),
        ("a/*", "a/*/c", False),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**", "*", False),
        ("a/**", "**", True),
        ("a/b/**", "a/c/**", False),
    ],
)
def test_overlap(left: str, right: str, expected: bool) -> None:
    """Two patterns overlap when some path matches both, in either order."""
    assert is_overlap(left, right) is expected
    assert is_overlap(right, left) is expected

"""Ties: two patterns that are equally literal and can match one path, so that neither wins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lithox.model.patterns import ONE, rank

_PATTERN = ""
"""Under this key a branch that ends has its pattern; no segment is empty."""


def find_tie(kept: Iterable[str], fresh: Iterable[str]) -> tuple[str, str] | None:
    """Returns a tie of a fresh pattern with a kept or another fresh one, or None.

    Patterns of one rank have the same number of segments and end alike (`**` or not), so they
    overlap exactly when each segment is equal or one of the two is `*`. They are kept in a tree by
    segment, one tree a rank, and each fresh one walks the branches it overlaps.

    Args:
        kept: patterns known to be free of ties among themselves.
        fresh: patterns to check, none of them in `kept`.
    """
    trees: dict[tuple[int, int, int], dict[str, Any]] = {}
    for pattern in kept:
        _insert(trees.setdefault(rank(pattern), {}), pattern)
    for pattern in fresh:
        tree = trees.setdefault(rank(pattern), {})
        other = _find_overlap(tree, pattern)
        if other is not None:
            return other, pattern
        _insert(tree, pattern)
    return None


def _insert(tree: dict[str, Any], pattern: str) -> None:
    for segment in pattern.split("/"):
        tree = tree.setdefault(segment, {})
    tree[_PATTERN] = pattern


def _find_overlap(tree: dict[str, Any], pattern: str) -> str | None:
    branches = [tree]
    for segment in pattern.split("/"):
        if segment == ONE:
            branches = [below for branch in branches for below in branch.values()]
        else:
            branches = [
                branch[wanted]
                for branch in branches
                for wanted in (segment, ONE)
                if wanted in branch
            ]
    return branches[0][_PATTERN] if branches else None

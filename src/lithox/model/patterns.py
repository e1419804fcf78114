"""Patterns over entity paths: `*` is one segment, `**` (last only) is one or more segments.

Used for templates and access lists. The most literal pattern wins: more literal segments first,
then one without `**`, then the longer one; equal ranks that overlap are a tie.
"""

from __future__ import annotations

import re
from typing import Final

from lithox.errors import BadArguments
from lithox.model.ids import ENTITY_SEGMENTS_MAX

REST: Final = "**"
ONE: Final = "*"
_LITERAL: Final = re.compile(r"[A-Za-z0-9_.~@-]{1,64}\Z")


def check_pattern(pattern: str) -> str:
    """Returns `pattern` if it is one.

    Raises:
        BadArguments: empty, a segment that is neither literal nor a wildcard, or `**` not last.
    """
    segments = pattern.split("/")
    if len(segments) > ENTITY_SEGMENTS_MAX:
        raise BadArguments(f"a pattern has at most {ENTITY_SEGMENTS_MAX} segments")
    for index, segment in enumerate(segments):
        if segment == REST and index == len(segments) - 1:
            continue
        if segment != ONE and (_LITERAL.match(segment) is None or segment in (".", "..")):
            raise BadArguments(
                "a pattern is segments joined by '/', each literal, '*' (one segment) or, last, "
                f"'**' (the rest); found {pattern[:80]!r}"
            )
    return pattern


def is_match(pattern: str, path: str) -> bool:
    """Returns whether `pattern` covers `path`."""
    wanted, found = pattern.split("/"), path.split("/")
    if wanted[-1] == REST:
        wanted = wanted[:-1]
        if len(found) <= len(wanted):
            return False
        found = found[: len(wanted)]
    elif len(wanted) != len(found):
        return False
    return all(want in (ONE, have) for want, have in zip(wanted, found, strict=True))


def rank(pattern: str) -> tuple[int, int, int]:
    """Returns the pattern's precedence: of those that match, the greatest wins."""
    segments = pattern.split("/")
    literal = sum(segment not in (ONE, REST) for segment in segments)
    return (literal, int(segments[-1] != REST), len(segments))


def is_overlap(left: str, right: str) -> bool:
    """Returns whether some path matches both patterns."""
    a, b = left.split("/"), right.split("/")
    rest_a, rest_b = a[-1] == REST, b[-1] == REST
    a, b = (a[:-1] if rest_a else a), (b[:-1] if rest_b else b)
    if not rest_a and not rest_b and len(a) != len(b):
        return False
    if rest_a and not rest_b and len(b) <= len(a):
        return False
    if rest_b and not rest_a and len(a) <= len(b):
        return False
    return all(x == y or ONE in (x, y) for x, y in zip(a, b, strict=False))

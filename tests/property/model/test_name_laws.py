"""Laws of names, quantities and patterns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lithox.errors import BadArguments
from lithox.model import ids
from lithox.model.patterns import is_match, is_overlap, rank
from lithox.model.quantities import (
    QUANTITY_MAX,
    format_duration,
    format_size,
    parse_duration_ns,
    parse_size_bytes,
)

SEGMENT = st.text("ABCxyz019_.~@-", min_size=1, max_size=64).filter(lambda s: s not in {".", ".."})
PATH = st.lists(SEGMENT, min_size=1, max_size=ids.ENTITY_SEGMENTS_MAX).map("/".join)
SMALL_PATH = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join)
PATTERN = st.builds(
    lambda parts, rest: "/".join([*parts, *rest]),
    st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3),
    st.sampled_from([[], ["**"]]),
)
ALL_SMALL_PATHS = [
    "/".join(parts)
    for length in range(1, 6)
    for number in range(2**length)
    for parts in [["ab"[number >> place & 1] for place in range(length)]]
]


@given(PATH)
def test_every_good_path_is_admitted(path: str) -> None:
    """Any 1-16 good segments joined by slashes are a path."""
    assert ids.check_entity_path(path) == path


@given(st.text(max_size=100))
def test_an_admitted_path_is_made_of_good_segments(text: str) -> None:
    """What is admitted has no empty, dotted, long or foreign segment, however it was spelled."""
    try:
        path = ids.check_entity_path(text)
    except BadArguments:
        return
    segments = path.split("/")
    assert len(segments) <= 16
    for segment in segments:
        assert segment not in {"", ".", ".."}
        assert len(segment) <= 64
        assert segment.isascii()
        assert segment.isprintable()


@given(st.text(max_size=600))
def test_state_keys_are_the_texts_that_fit(text: str) -> None:
    """A key is admitted exactly when it is 1-512 bytes of UTF-8 without a leading NUL."""
    try:
        is_good = 1 <= len(text.encode()) <= 512 and not text.startswith("\x00")
    except UnicodeEncodeError:
        is_good = False
    try:
        assert ids.check_state_key(text) == text
        assert is_good
    except BadArguments:
        assert not is_good


@given(st.integers(0, QUANTITY_MAX // 2))
def test_printed_quantities_are_near(amount: int) -> None:
    """What is printed is read back within one percent, for durations and sizes."""
    for parse, print_ in (
        (parse_duration_ns, format_duration),
        (parse_size_bytes, format_size),
    ):
        assert abs(parse(print_(amount)) - amount) <= amount / 100


@given(st.integers(0, 10**9), st.sampled_from(["ns", "us", "ms", "s"]))
def test_whole_durations_are_exact(count: int, unit: str) -> None:
    """A whole number of a unit is that many nanoseconds, underscores or not."""
    size = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}[unit]
    assert parse_duration_ns(f"{count}{unit}") == count * size
    assert parse_duration_ns(f"{count:_}{unit}") == count * size


@given(st.text(max_size=60))
def test_any_text_is_a_quantity_or_the_callers_error(text: str) -> None:
    """No text makes the parsers fail otherwise, and no amount is out of range."""
    for parse in (parse_duration_ns, parse_size_bytes):
        try:
            amount = parse(text)
        except BadArguments:
            continue
        assert 0 <= amount <= QUANTITY_MAX


@given(PATTERN, PATTERN)
def test_overlap_is_a_common_match(left: str, right: str) -> None:
    """Two patterns overlap exactly when one of all short paths matches both."""
    common = [p for p in ALL_SMALL_PATHS if is_match(left, p) and is_match(right, p)]
    assert is_overlap(left, right) is bool(common)


@given(SMALL_PATH, st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 3))
def test_a_literal_pattern_outranks_all_that_match_it(
    path: str, is_wild: list[bool], cut: int
) -> None:
    """The path itself, taken as a pattern, wins over every other pattern that matches it."""
    segments = ["*" if wild else part for part, wild in zip(path.split("/"), is_wild, strict=False)]
    pattern = "/".join([*segments[:cut], "**"] if cut < len(segments) else segments)
    assert is_match(pattern, path)
    assert pattern == path or rank(path) > rank(pattern)

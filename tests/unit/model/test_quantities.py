"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest

from lithox.errors import BadArguments
from lithox.model.quantities import (
    QUANTITY_MAX,
    format_duration,
    format_size,
    parse_duration_ns,
    parse_size_bytes,
)


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("0s", 0),
        ("1ns", 1),
        ("1us", 1_000),
        ("1\u00b5s", 1_000),
        ("1\u03bcs", 1_000),
        ("500ms", 500_000_000),
        ("5s", 5_000_000_000),
        (" 5 s ", 5_000_000_000),
        ("1.5s", 1_500_000_000),
        ("0.1s", 100_000_000),
        ("0.000000001s", 1),
        ("1_000ms", 1_000_000_000),
        ("2m", 120_000_000_000),
        ("2min", 120_000_000_000),
        ("1.5h", 5_400_000_000_000),
        ("1d", 86_400_000_000_000),
        ("9223372036854775807ns", QUANTITY_MAX),
    ],
)
def test_durations_are_exact(text: str, duration_ns: int) -> None:
    """A duration is parsed to whole nanoseconds without rounding through floats."""
    assert parse_duration_ns(text) == duration_ns


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0B", 0),
        ("8MiB", 8 << 20),
        ("64kB", 64_000),
        ("64KB", 64_000),
        ("1.5KiB", 1536),
        ("1GiB", 1 << 30),
        ("2TiB", 2 << 40),
        ("1TB", 10**12),
    ],
)
def test_sizes_are_exact(text: str, size_bytes: int) -> None:
    """A size is parsed to whole bytes."""
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "-5s",
        "+5s",
        "5 seconds",
        "5S",
        "1e3s",
        "5s5s",
        ".5s",
        "5.s",
        "_5s",
        "0x5s",
        "5MiB",
        "nan s",
        "inf",
        "\u0665s",
        "9223372036854775808ns",
        "999999999d",
        "9" * 5_000 + "s",
    ],
)
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    """No sign, no bare number, no unknown unit, nothing beyond 64 bits, however long the text."""
    with pytest.raises(BadArguments, match=r"^a duration is .*; found ") as refused:
        parse_duration_ns(text)
    assert len(refused.value.message) < 200


@pytest.mark.parametrize("text", ["", "8", "8M", "8mib", "8Mib", "8 s", "8MiB/s", "16777216TiB"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    """A size needs one of the units, spelled as they are."""
    with pytest.raises(BadArguments, match=r"^a size is .*; found "):
        parse_size_bytes(text)


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0ns"),
        (999, "999ns"),
        (1_520_000, "1.52ms"),
        (999_999_999, "1000ms"),
        (5_000_000_000, "5s"),
        (90_000_000_000, "1.5m"),
        (86_400_000_000_000 * 12_345, "12345d"),
    ],
)
def test_durations_are_printed_short(duration_ns: int, text: str) -> None:
    """The greatest unit it reaches, about three digits, never an exponent."""
    assert format_duration(duration_ns) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (8 << 20, "8MiB"),
        (8_190_000, "7.81MiB"),
        ((1 << 20) - 1, "1024KiB"),
        (1 << 60, "1048576TiB"),
    ],
)
def test_sizes_are_printed_short(size_bytes: int, text: str) -> None:
    """The greatest unit it reaches, about three digits, never an exponent."""
    assert format_size(size_bytes) == text

"""The one parser for durations (`5s`, `500ms`) and sizes (`8MiB`), and their printers.

Durations are integer nanoseconds, sizes integer bytes. A bare number is refused where a unit is
needed, so that nobody guesses between milliseconds and seconds.
"""

from __future__ import annotations

import re
from typing import Final

from lithox.errors import BadArguments

_NUMBER: Final = re.compile(r"([0-9][0-9_]*)(\.[0-9]+)?\s*([A-Za-zµ]+)\Z")
_DURATION_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_SIZE_BYTES: Final = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
QUANTITY_MAX: Final = (1 << 63) - 1


def _parse(text: str, units: dict[str, int], what: str, example: str) -> int:
    found = _NUMBER.match(text.strip())
    if found is None or found[3] not in units:
        raise BadArguments(
            f"a {what} is a number and a unit ({', '.join(units)}), such as {example}; "
            f"found {text[:40]!r}"
        )
    whole, fraction, unit = int(found[1].replace("_", "")), found[2], units[found[3]]
    amount = whole * unit
    if fraction is not None:
        digits = fraction[1:19]
        amount += int(digits) * unit // 10 ** len(digits)
    if amount > QUANTITY_MAX:
        raise BadArguments(f"a {what} is at most {QUANTITY_MAX}; found {text[:40]!r}")
    return amount


def parse_duration_ns(text: str) -> int:
    """Returns nanoseconds of `5s`, `1.5h`, `500ms`; raises BadArguments."""
    return _parse(text, _DURATION_NS, "duration", "500ms")


def parse_size_bytes(text: str) -> int:
    """Returns bytes of `8MiB`, `64kB`; raises BadArguments."""
    return _parse(text, _SIZE_BYTES, "size", "8MiB")


def format_duration(duration_ns: int) -> str:
    """Returns a short text of at most three significant digits, such as `1.52ms`."""
    for unit, size in (("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000)):
        if duration_ns >= size:
            return f"{duration_ns / size:.3g}{unit}"
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if duration_ns >= size:
            return f"{duration_ns / size:.3g}{unit}"
    return f"{duration_ns}ns"


def format_size(size_bytes: int) -> str:
    """Returns a short text of at most three significant digits, such as `7.81MiB`."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= size:
            return f"{size_bytes / size:.3g}{unit}"
    return f"{size_bytes}B"

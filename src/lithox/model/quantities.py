"""The one parser for durations (`5s`, `500ms`) and sizes (`8MiB`), and their printers.

Durations are integer nanoseconds, sizes integer bytes. A bare number is refused where a unit is
needed, so that nobody guesses between milliseconds and seconds.
"""

from __future__ import annotations

import re
from typing import Final

from lithox.errors import BadArguments

_NUMBER: Final = re.compile(r"([0-9][0-9_]*)(\.[0-9]+)?\s*([A-Za-zµ\u03bc]+)\Z")
_DURATION_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "\u03bcs": 1_000,  # the Greek letter, which looks the same
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
    "TB": 1000**4,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
DURATION_UNITS: Final = tuple(unit for unit in _DURATION_NS if unit.isascii())
SIZE_UNITS: Final = tuple(_SIZE_BYTES)
QUANTITY_MAX: Final = (1 << 63) - 1


TEXT_LENGTH_MAX: Final = 40
"""Characters of a quantity; the largest one with every unit fits twice."""


def _parse(text: str, units: dict[str, int], what: str, example: str) -> int:
    found = _NUMBER.match(text.strip()) if len(text) <= TEXT_LENGTH_MAX else None
    if found is None or found[3] not in units:
        raise BadArguments(
            f"a {what} is a number and a unit ({', '.join(filter(str.isascii, units))}), "
            f"such as {example}; "
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
    """Returns a short text such as `1.52ms` or `1.5m`, within one percent of `duration_ns` >= 0."""
    return _format(duration_ns, _DURATION_NS, ("d", "h", "m", "s", "ms", "us", "ns"))


def format_size(size_bytes: int) -> str:
    """Returns a short text such as `7.81MiB`, within one percent of `size_bytes` >= 0."""
    return _format(size_bytes, _SIZE_BYTES, ("TiB", "GiB", "MiB", "KiB", "B"))


def _format(amount: int, units: dict[str, int], names: tuple[str, ...]) -> str:
    """Returns `amount` in the greatest of `names` (greatest first) that it reaches."""
    name = next((name for name in names if amount >= units[name]), names[-1])
    whole = amount / units[name]
    # Never "1e+03": three significant digits below 100, whole numbers from there on.
    return f"{whole:.0f}{name}" if whole >= 100 else f"{whole:.3g}{name}"

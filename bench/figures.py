"""How a benchmark says what it found: rounds, their median and spread, one JSON line a row.

A row is a figure beside its yardstick, both measured in the same process tree and in interleaved
rounds, so that other load on the machine meets both alike. Where a goal is a ratio, it is the
median of the ratios of single rounds, which a slow minute changes less than either figure.
Nothing here judges a build: `is_reached` is printed and never fails anything.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

ROUNDS_DEFAULT: Final = 5


@dataclass(slots=True, kw_only=True)
class Series:
    """What was measured once a round. `unit` is printed as it stands."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list[float])

    def add(self, value: float) -> None:
        """Adds the value of one round."""
        self.values.append(value)

    @property
    def median(self) -> float:
        """The middle of all rounds; there must be one."""
        return statistics.median(self.values)

    def to_json(self) -> dict[str, Any]:
        """Returns {"name", "unit", "median", "low", "high"}, or all None without a round."""
        has_any = bool(self.values)
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median if has_any else None,
            "low": min(self.values) if has_any else None,
            "high": max(self.values) if has_any else None,
        }


def ratio_of(figure: Series, yardstick: Series) -> float:
    """Returns the median over rounds of figure / yardstick of the same round."""
    pairs = zip(figure.values, yardstick.values, strict=True)
    return statistics.median(mine / theirs for mine, theirs in pairs)


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value below which `share` (0 to 1) of `values` lie; they need not be sorted."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def report(  # noqa: PLR0913 - one row of the table, all by keyword
    *,
    row: int,
    what: str,
    figure: Series,
    yardstick: Series | None = None,
    ratio: float | None = None,
    reach: str = "",
    is_reached: bool | None = None,
    beside: Sequence[Series] = (),
    note: str = "",
) -> None:
    """Prints one row as a JSON line on stdout.

    Args:
        row: number of the row in docs/benchmarks.md.
        reach: the goal in words; empty when there is none.
        is_reached: None when there is no goal.
        beside: further series worth knowing, without goals.
    """
    line = {
        "row": row,
        "what": what,
        "figure": figure.to_json(),
        "yardstick": None if yardstick is None else yardstick.to_json(),
        "ratio": ratio,
        "reach": reach,
        "is_reached": is_reached,
        "beside": [one.to_json() for one in beside],
        "note": note,
        "load_average": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(line), flush=True)


def say(words: str) -> None:
    """Tells on stderr what is being done; `tools/bench.py` shows it as progress."""
    print(words, file=sys.stderr, flush=True)

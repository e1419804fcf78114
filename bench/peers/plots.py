"""Plots as SVG, written by hand: bars with their spread, and lines over numbers of callers.

No library, no script, no font of its own: colours follow the reader's light or dark page. Scales
are logarithmic, since peers differ by more than a hundred times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

from bench.peers.page import amount
from bench.peers.reach import find_loads, median, values

WIDTH: Final = 860
LABEL_WIDTH: Final = 270
VALUE_WIDTH: Final = 90
TOP: Final = 44
BAR: Final = 18
STEP: Final = 26
LINES_HEIGHT: Final = 320
LEFT: Final = 60
KEY_WIDTH: Final = 300
KEY_STEP: Final = 20
LINE_COLOURS: Final = 8
_STYLE: Final = """<style>
text { font: 13px sans-serif; fill: #24292f; }
.title { font-weight: bold; font-size: 15px; }
.quiet { fill: #6e7781; font-size: 11px; }
.ours { fill: #1a7f64; } .theirs { fill: #8c959f; }
.spread { stroke: #24292f; stroke-width: 1.5; } .grid { stroke: #d0d7de; stroke-width: 1; }
.line { fill: none; stroke-width: 2; }
.c0 { stroke: #1a7f64; } .c1 { stroke: #0969da; } .c2 { stroke: #8250df; } .c3 { stroke: #bf3989; }
.c4 { stroke: #cf222e; } .c5 { stroke: #bc4c00; } .c6 { stroke: #9a6700; } .c7 { stroke: #57606a; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .quiet { fill: #8d96a0; } .spread { stroke: #e6edf3; }
.grid { stroke: #30363d; } .ours { fill: #3fb950; } .theirs { fill: #6e7681; }
}
</style>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: the median with its lowest and highest round."""

    label: str
    value: float
    low: float
    high: float
    is_ours: bool


def _scale(low: float, high: float, width: float, value: float) -> float:
    """Returns where `value` lies on a logarithmic axis of `width` from `low` to `high`."""
    span = math.log10(high) - math.log10(low)
    return (math.log10(max(value, low)) - math.log10(low)) / span * width


def _ends(found: Sequence[float]) -> tuple[float, float]:
    """Returns the powers of ten around all values that are positive."""
    positive = [value for value in found if value > 0] or [1.0]
    low = 10.0 ** math.floor(math.log10(min(positive)) - 0.01)
    return low, max(10.0 ** math.ceil(math.log10(max(positive))), low * 10)


def _frame(title: str, unit: str, height: float, body: list[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    name = f'role="img" aria-label="{escape(title)}"'
    quiet = _text(WIDTH - 10, 22, f"{unit}, logarithmic", kind="quiet", anchor="end")
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {name}>', _STYLE]
    return "\n".join([*head, _text(10, 22, title, kind="title"), quiet, *body, "</svg>", ""])


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line {kind} x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, *, kind: str = "", anchor: str = "start") -> str:
    """Returns words at a place; `kind` is a class of the style sheet."""
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """Returns the powers of ten from `low` to `high`."""
    return [low * 10**power for power in range(round(math.log10(high / low)) + 1)]


def bars(title: str, unit: str, found: Sequence[Bar]) -> str:
    """Returns horizontal bars, in the order given; spread as a thin line over each."""
    low, high = _ends([value for bar in found for value in (bar.low, bar.high, bar.value)])
    width = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    bottom = TOP + STEP * len(found)
    body: list[str] = []
    for tick in _ticks(low, high):
        x = LABEL_WIDTH + _scale(low, high, width, tick)
        body.append(_line(x, TOP - 8, x, bottom, 'class="grid"'))
        body.append(_text(x, bottom + 14, amount(tick), kind="quiet", anchor="middle"))
    for number, bar in enumerate(found):
        y = TOP + STEP * number
        length = _scale(low, high, width, bar.value)
        first = LABEL_WIDTH + _scale(low, high, width, bar.low)
        last = LABEL_WIDTH + _scale(low, high, width, bar.high)
        kind = "ours" if bar.is_ours else "theirs"
        where = f'x="{LABEL_WIDTH}" y="{y}" width="{length:.1f}" height="{BAR}"'
        end = max(last, LABEL_WIDTH + length) + 6
        body += [
            _text(LABEL_WIDTH - 8, y + 14, bar.label, anchor="end"),
            f'<rect class="{kind}" {where}/>',
            _line(first, y + BAR / 2, last, y + BAR / 2, 'class="spread"'),
            _text(end, y + 14, amount(bar.value)),
        ]
    return _frame(title, unit, bottom + 24, body)


def lines(title: str, unit: str, series: dict[str, dict[int, float]]) -> str:
    """Returns a line for each series {callers: value}; values on a logarithmic scale."""
    callers = sorted({count for points in series.values() for count in points})
    low, high = _ends([value for points in series.values() for value in points.values()])
    height = max(LINES_HEIGHT, KEY_STEP * len(series))
    bottom, right = TOP + height, WIDTH - KEY_WIDTH

    def place(count: int, value: float) -> tuple[float, float]:
        across = callers.index(count) / max(1, len(callers) - 1)
        return LEFT + across * (right - LEFT), bottom - _scale(low, high, height, value)

    body: list[str] = []
    for tick in _ticks(low, high):
        _, y = place(callers[0], tick)
        body.append(_line(LEFT, y, right, y, 'class="grid"'))
        body.append(_text(LEFT - 6, y + 4, amount(tick), kind="quiet", anchor="end"))
    for count in callers:
        x, _ = place(count, low)
        body.append(_text(x, bottom + 16, f"{count}", kind="quiet", anchor="middle"))
    for number, (label, points) in enumerate(series.items()):
        dash = ' stroke-dasharray="6 4"' if number >= LINE_COLOURS else ""
        kind = f'class="line c{number % LINE_COLOURS}"{dash}'
        places = [place(count, points[count]) for count in sorted(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        y = TOP + KEY_STEP / 2 + KEY_STEP * number
        body += [
            f'<polyline {kind} points="{path}"/>',
            _line(right + 16, y, right + 40, y, kind),
            _text(right + 46, y + 4, label),
        ]
    return _frame(title, unit, bottom + 30, body)


def _bars_of(rows: list[dict[str, Any]], key: str, scale: float) -> list[Bar]:
    found: list[Bar] = []
    for row in rows:
        rounds = [value * scale for value in values(row, key)]
        if rounds:
            found.append(
                Bar(
                    label=row["road"],
                    value=median(row, key) * scale,
                    low=min(rounds),
                    high=max(rounds),
                    is_ours=row["peer"].startswith("lithox"),
                )
            )
    return found


def draw(result: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Returns {file name: (title, SVG)} of every plot there are figures for."""
    found: dict[str, tuple[str, str]] = {}
    rates = _bars_of(find_loads(result, "counter", callers=64), "rate", 1.0)
    if rates:
        title = "Durable counter, 256 entities, 64 callers"
        ordered = sorted(rates, key=lambda bar: -bar.value)
        found["counter.svg"] = title, bars(title, "calls/s", ordered)
    late = _bars_of(find_loads(result, "counter", callers=16), "p99_us", 1e-3)
    if late:
        title = "Durable counter, p99 at 16 callers"
        found["p99.svg"] = title, bars(title, "ms", sorted(late, key=lambda bar: bar.value))
    series: dict[str, dict[int, float]] = {}
    for row in find_loads(result, "counter"):
        series.setdefault(row["road"], {})[row["callers"]] = median(row)
    if series:
        title = "Durable counter by callers"
        found["callers.svg"] = title, lines(title, "calls/s", series)
    return found

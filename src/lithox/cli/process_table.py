"""The process table for people: columns, order, and the tree of who started whom. Pure.

Rows are what `processes()` gives. Nothing here prints; `lithox ps` and `lithox top` do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lithox.model.quantities import format_duration, format_size

Row = Mapping[str, Any]
Column = tuple[str, Callable[[dict[str, Any]], str]]
MILLISECOND_NS: Final = 1_000_000
_COUNT_UNITS: Final = ((10**9, "G"), (10**6, "M"), (10**3, "k"))
_MODE_WORDS: Final = {"preemptive": "preempt", "cooperative": "coop"}
_MODE_LETTERS: Final = {"preemptive": "P", "cooperative": "C"}
TREE_DEPTH_MAX: Final = 64
"""Deeper children are shown at this depth; also ends the walk should a table not be a tree."""


def format_count(count: int) -> str:
    """Returns three significant digits and a unit, such as `1.25M`."""
    for size, unit in _COUNT_UNITS:
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def describe_what(row: Row) -> str:
    """Returns what a process runs: `entity:handler`, `program`, or `runtime#program`."""
    if row.get("kind") != "program":
        return f"{row.get('entity', '')}:{row.get('handler', '')}"
    runtime, name = row.get("runtime") or "native", row.get("program", "")
    return str(name) if runtime == "native" else f"{runtime}#{name}"


def _describe_level(row: Row) -> str:
    return f"{row.get('lane', '')}/{row.get('level', '')}"


def _describe_mode(row: Row) -> str:
    return str(row.get("mode") or "preemptive")


def _describe_mail(row: Row) -> str:
    """Returns what waits: events, calls to answer, answers waited for."""
    return "/".join(str(row.get(name) or 0) for name in ("queue", "calls_in", "calls_out"))


PROCESS_COLUMNS: Final[tuple[Column, ...]] = (
    ("PID", lambda row: str(row.get("pid", ""))),
    ("RUNS", describe_what),
    ("STATE", lambda row: str(row.get("state", ""))),
    ("MODE", lambda row: _MODE_WORDS.get(_describe_mode(row), "?")),
    ("LEVEL", _describe_level),
    ("FUEL", lambda row: format_count(row.get("fuel", 0))),
    ("CPU", lambda row: format_duration(row.get("cpu_us", 0) * 1000)),
    ("MEMORY", lambda row: format_size(row.get("memory", 0))),
    ("CTX", lambda row: str(row.get("contexts") or 0)),
    ("QUEUES", _describe_mail),
    ("AGE", lambda row: format_duration(row.get("age_ms", 0) * MILLISECOND_NS)),
)


@dataclass(frozen=True, slots=True)
class Order:
    """One way to sort: the key to press, its name, and what is compared, the largest first."""

    letter: str
    name: str
    read: Callable[[Row], float]


ORDERS: Final[tuple[Order, ...]] = (
    Order("f", "fuel", lambda row: row.get("fuel", 0)),
    Order("m", "memory", lambda row: row.get("memory", 0)),
    Order("c", "cpu", lambda row: row.get("busy", row.get("cpu_us", 0))),
    Order("a", "age", lambda row: row.get("age_ms", 0)),
    Order("u", "queue", lambda row: row.get("queue") or 0),
    Order("p", "pid", lambda row: -row.get("pid", 0)),
)
ORDER_BY_NAME: Final = {order.name: order for order in ORDERS}
ORDER_BY_LETTER: Final = {order.letter: order for order in ORDERS}


def arrange(
    rows: Iterable[dict[str, Any]], order: Order, *, is_tree: bool, is_reversed: bool = False
) -> list[dict[str, Any]]:
    """Returns the rows in the order they are shown, each with a `depth`.

    As a tree, children stand below their parent, siblings in the order asked for; a process whose
    parent is not in the table is a root.
    """
    ordered = sorted(rows, key=lambda row: (-order.read(row), row.get("pid", 0)))
    if is_reversed:
        ordered.reverse()
    if not is_tree:
        return [{**row, "depth": 0} for row in ordered]
    pids = {row["pid"] for row in ordered}
    children: dict[int | None, list[dict[str, Any]]] = {}
    for row in ordered:
        parent = row.get("parent")
        known = parent if parent in pids and parent != row["pid"] else None
        children.setdefault(known, []).append(row)
    found: list[dict[str, Any]] = []
    pending = [(row, 0) for row in reversed(children.get(None, ()))]
    while pending:
        row, depth = pending.pop()
        found.append({**row, "depth": depth})
        below = min(depth + 1, TREE_DEPTH_MAX)
        pending += [(child, below) for child in reversed(children.get(row["pid"], ()))]
    return found


def indent(row: Row) -> str:
    """Returns what stands before a row of the tree."""
    depth = row.get("depth", 0)
    return "" if not depth else "  " * (depth - 1) + "└ "


def add_load(
    rows: list[dict[str, Any]], before: Mapping[int, int], elapsed_us: int
) -> dict[int, int]:
    """Writes into each row how busy it was since the last look; returns what the next look needs.

    Args:
        before: PID -> processor time in microseconds at the last look.
        elapsed_us: time since then; 0 at the first look, when the whole age counts.
    """
    for row in rows:
        used = row.get("cpu_us", 0) - before.get(row["pid"], 0)
        over_us = min(elapsed_us or row.get("age_ms", 0) * 1000, row.get("age_ms", 0) * 1000)
        row["busy"] = 0.0 if over_us <= 0 else min(100.0, 100.0 * max(0, used) / over_us)
    return {row["pid"]: row.get("cpu_us", 0) for row in rows}


TOP_COLUMNS: Final[tuple[Column, ...]] = (
    PROCESS_COLUMNS[0],
    ("RUNS", lambda row: indent(row) + describe_what(row)),
    ("STATE", lambda row: str(row.get("state", ""))),
    ("M", lambda row: _MODE_LETTERS.get(_describe_mode(row), "?")),
    *PROCESS_COLUMNS[4:6],
    ("CPU%", lambda row: f"{row.get('busy', 0.0):.0f}"),
    *PROCESS_COLUMNS[7:],
)
"""Narrow enough for 80 columns: how busy a process is stands for the time it has used."""

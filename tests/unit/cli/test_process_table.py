"""The process table: who stands below whom, in which order, and what a row says."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.cli.process_table import (
    ORDER_BY_NAME,
    TREE_DEPTH_MAX,
    add_load,
    arrange,
    describe_what,
    indent,
)


def row(pid: int, parent: int | None = None, **more: Any) -> dict[str, Any]:
    """Returns one process."""
    return {"pid": pid, "parent": parent, **more}


def shown(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Returns (pid, depth) of each row."""
    return [(one["pid"], one["depth"]) for one in rows]


TABLE = [
    row(1, fuel=5, memory=1, age_ms=90, queue=0, cpu_us=1),
    row(2, 1, fuel=7, memory=9, age_ms=80, queue=3, cpu_us=9),
    row(3, 1, fuel=9, memory=5, age_ms=70, queue=0, cpu_us=5),
    row(4, 2, fuel=1, memory=7, age_ms=60, queue=9, cpu_us=7),
    row(5, 77, fuel=6, memory=2, age_ms=50, queue=1, cpu_us=2),
]


def test_children_stand_below_their_parent():
    """Siblings in the order asked for; who has no parent in the table is a root."""
    by_fuel = arrange(TABLE, ORDER_BY_NAME["fuel"], is_tree=True)
    assert shown(by_fuel) == [(5, 0), (1, 0), (3, 1), (2, 1), (4, 2)]
    assert [indent(one) for one in by_fuel] == ["", "", "└ ", "└ ", "  └ "]
    back = arrange(TABLE, ORDER_BY_NAME["fuel"], is_tree=True, is_reversed=True)
    assert shown(back) == [(1, 0), (2, 1), (4, 2), (3, 1), (5, 0)]


@pytest.mark.parametrize(
    ("name", "pids"),
    [
        ("fuel", [3, 2, 5, 1, 4]),
        ("memory", [2, 4, 3, 5, 1]),
        ("cpu", [2, 4, 3, 5, 1]),
        ("age", [1, 2, 3, 4, 5]),
        ("queue", [4, 2, 5, 1, 3]),
        ("pid", [1, 2, 3, 4, 5]),
    ],
)
def test_a_list_has_the_largest_first(name, pids):
    """Equal ones by their number."""
    ordered = arrange(TABLE, ORDER_BY_NAME[name], is_tree=False)
    assert [one["pid"] for one in ordered] == pids


def test_a_table_that_is_no_tree_ends_all_the_same():
    """A process is shown once at most, whatever its parent says; depth is bounded."""
    circle = [row(1, 2), row(2, 1), row(3, 3)]
    assert shown(arrange(circle, ORDER_BY_NAME["pid"], is_tree=True)) == [(3, 0)]
    line = [row(1), *(row(pid, pid - 1) for pid in range(2, 200))]
    deep = arrange(line, ORDER_BY_NAME["pid"], is_tree=True)
    assert len(deep) == 199
    assert max(one["depth"] for one in deep) == TREE_DEPTH_MAX


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"kind": "handler", "entity": "a/b", "handler": "go"}, "a/b:go"),
        ({"entity": "a/b", "handler": "go"}, "a/b:go"),
        ({"kind": "program", "program": "p", "runtime": "native"}, "p"),
        ({"kind": "program", "program": "p", "runtime": "compat-5.1"}, "compat-5.1#p"),
    ],
)
def test_a_row_says_what_it_runs(said, text):
    """A handler of an entity, or a program in its runtime."""
    assert describe_what(said) == text


def test_load_is_what_was_used_since_the_last_look():
    """The first look speaks of a process's whole age, and so does a young one's."""
    rows = [row(1, cpu_us=500_000, age_ms=1000)]
    seen = add_load(rows, {}, 0)
    assert (rows[0]["busy"], seen) == (50.0, {1: 500_000})
    rows = [row(1, cpu_us=600_000, age_ms=2000), row(2, cpu_us=40_000, age_ms=50)]
    add_load(rows, seen, 1_000_000)
    assert [one["busy"] for one in rows] == [10.0, 80.0]
    rows = [row(3, cpu_us=9, age_ms=0)]
    add_load(rows, {}, 0)
    assert rows[0]["busy"] == 0.0

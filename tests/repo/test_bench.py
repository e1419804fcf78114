"""Benchmarks tell figures honestly: ratios by round, goals with their doubt, rows kept by name."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from bench.figures import Series, percentile, ratio_of
from bench.loads import closed_loop, open_loop
from tests.repo.checkout import TOOLS

import bench_table  # isort: skip  (tools/ is put on the path by checkout)


def load_tool() -> types.ModuleType:
    """Returns tools/bench.py; not by import, since `bench` is the folder of the benchmarks."""
    spec = importlib.util.spec_from_file_location("tools_bench", TOOLS / "bench.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_series(*values: float, name: str = "calls", unit: str = "/s") -> dict[str, Any]:
    return Series(name=name, unit=unit, values=list(values)).to_json()


def make_row(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": "runs",
        "what": "runs",
        "figure": make_series(1000, 1234.5, 2000),
        "yardstick": make_series(2000, 2100, 2200, name="bare"),
        "ratio": 0.5878,
        "reach": "ratio at least 0.5",
        "is_reached": True,
        "beside": [],
        "note": "",
        "load_average": 1.5,
        "at": "2026-11-22 01:00",
        "commit": "abc",
    }
    return row | changes


def test_a_ratio_is_the_median_of_single_rounds() -> None:
    """A minute in which everything is slow changes no ratio."""
    figure = Series(name="", unit="", values=[10, 1, 12])
    yardstick = Series(name="", unit="", values=[20, 2, 20])
    assert ratio_of(figure, yardstick) == 0.5


def test_a_percentile_needs_no_order() -> None:
    """The value below which the share lies is found in any order, and the last one is the end."""
    assert percentile([5, 1, 4, 2, 3], 0.5) == 3
    assert percentile([5, 1], 0.99) == 5


def test_a_row_shows_spread_and_whether_its_goal_is_reached() -> None:
    """Median, spread, unit, yardstick with its name, ratio, goal and verdict."""
    assert bench_table.cells(make_row()) == [
        "runs",
        "1,234 [1,000 .. 2,000] /s",
        "2,100 [2,000 .. 2,200] /s: bare",
        "0.588",
        "ratio at least 0.5",
        "yes",
    ]


def test_an_unsteady_yardstick_is_said_beside_the_verdict() -> None:
    """A ratio to something that moved by more than a factor of 3 is not told as a plain yes."""
    row = make_row(yardstick=make_series(100, 2000, 30_000, name="bare"))
    assert bench_table.verdict(row) == "yes, but the yardstick is unsteady"
    assert bench_table.verdict(row | {"reach": "at most 1 s", "is_reached": False}) == "no"


def test_the_page_holds_every_row_with_date_and_commit() -> None:
    """The generated part has its marks, one line a row, and what stands beside."""
    beside = [make_series(3, name="p99", unit="us")]
    text = bench_table.page_part({"machine": {"processors": 2}, "rows": [make_row(beside=beside)]})
    assert text.startswith(bench_table.BEGIN)
    assert text.endswith(bench_table.END)
    assert "Machine: processors 2." in text
    assert "| ratio at least 0.5 | yes | 2026-11-22 01:00 | abc | 1.5 |" in text
    assert "- runs\n  - p99: 3 us" in text


def test_rows_not_measured_now_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Measuring one row replaces that one alone."""
    tool = load_tool()
    monkeypatch.setattr(tool, "RESULTS", tmp_path)
    monkeypatch.setattr(tool, "LATEST", tmp_path / "latest.json")
    tool.keep([make_row(), make_row(name="http", what="old")])
    tool.keep([make_row(name="http", what="new")])
    found = json.loads((tmp_path / "latest.json").read_text())["rows"]
    assert [(row["name"], row["what"]) for row in found] == [("runs", "runs"), ("http", "new")]


def test_a_script_that_breaks_is_no_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it printed before is not kept, and its last words are shown."""
    tool = load_tool()
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "PYTHON", sys.executable)
    (tmp_path / "good.py").write_text("print('{\"what\": 1}')")
    (tmp_path / "bad.py").write_text("print('{}'); raise SystemExit('no disk')")
    good = tool.run_row(tool.Row("runs", "good"), 1)
    assert [(row["name"], row["what"], row["rounds"]) for row in good] == [("runs", 1, 1)]
    assert tool.run_row(tool.Row("runs", "bad"), 1) is None
    assert "no disk" in capsys.readouterr().err


def test_a_closed_loop_never_has_more_than_one_request_a_caller() -> None:
    """Three callers have at most three requests on their way, and every request is its own."""
    open_now, most, seen = 0, 0, []

    async def call(number: int) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        seen.append(number)
        await asyncio.sleep(0)
        open_now -= 1

    load = asyncio.run(closed_loop(call, callers=3, seconds=0.01))
    assert most == 3
    assert len(seen) == len(set(seen)) >= 3
    assert load.rate > 0


def test_an_open_loop_does_not_wait_for_answers() -> None:
    """Requests leave while the first one has no answer, and its wait is in the latencies."""

    async def run() -> tuple[int, float]:
        gate = asyncio.Event()
        before_first = 0

        async def call(number: int) -> None:
            nonlocal before_first
            if number == 0:
                await gate.wait()
            elif not gate.is_set():
                before_first += 1
                if before_first == 5:
                    gate.set()

        load = await open_loop(call, rate=2000, seconds=0.02)
        return before_first, load.p99_us

    before_first, p99_us = asyncio.run(run())
    assert before_first == 5
    assert p99_us > 0

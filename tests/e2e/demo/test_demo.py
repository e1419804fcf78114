"""`make demo` on a few records: it ends well, says what it must, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.repo.checkout import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DEMO = ROOT / "tools" / "demo.py"
RECORDS = 600
SECONDS_MAX = 55
EXIT_INTERRUPTED = 130


def start(folder: Path) -> subprocess.Popen[str]:
    """Returns a demo that keeps its temporary files below `folder`."""
    return subprocess.Popen(
        [sys.executable, str(DEMO), "--records", str(RECORDS), "--connections", "16"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "200"},
    )


def is_running(pid: int) -> bool:
    """Returns whether a process with this id is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_demo_ends_well_and_leaves_nothing(tmp_path: Path) -> None:
    """Every total is equal, all acknowledged records survive the kill, no file or process stays."""
    demo = start(tmp_path)
    words, _ = demo.communicate(timeout=SECONDS_MAX)
    assert demo.returncode == 0, words
    assert re.search(r"All [\d,]+ totals equal a direct computation", words), words
    kept = re.search(r"acknowledged before: (\d+); found after: (\d+) \(all\)", words)
    assert kept is not None, words
    assert kept[1] == kept[2]
    assert "SIGKILL to" in words
    pids = [int(pid) for pid in re.findall(r"pid (\d+)|SIGKILL to (\d+)", words)[0] if pid]
    assert not any(map(is_running, pids))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C in the middle ends the node too, removes its files, and exits with 130."""
    demo = start(tmp_path)
    assert demo.stdout is not None
    pid = 0
    for line in demo.stdout:
        found = re.search(r"\(pid (\d+)\)", line)
        if found:
            pid = int(found[1])
            break
    assert pid
    assert is_running(pid)
    demo.send_signal(number)
    words, _ = demo.communicate(timeout=SECONDS_MAX)
    assert demo.returncode == EXIT_INTERRUPTED, words
    assert not is_running(pid)
    assert list(tmp_path.iterdir()) == []


def test_the_judge_sees_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A total too small, too large or missing is told, each with both numbers."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from demo_check import differences
    from demo_records import Record, Totals, sum_up

    records = [Record("one", "a", "x", 5), Record("one", "b", "x", 6), Record("two", "a", "y", 7)]
    expected = sum_up(records)
    assert differences(expected, sum_up(reversed(records))) == []
    found = Totals(Counter(one=1, two=1), Counter(one=11, two=7), Counter(x=2))
    assert differences(expected, found) == [
        "files of one: 2 computed directly, 1 found",
        "references of y: 1 computed directly, 0 found",
    ]


def test_records_are_real_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records come in the same order each time; no two share a name or a request id."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from demo_records import collect_records

    records = collect_records(RECORDS)
    assert len(records) == RECORDS
    assert len({(one.dist, one.path) for one in records}) == RECORDS
    assert len({one.request_id for one in records}) == RECORDS
    assert records == collect_records(RECORDS)

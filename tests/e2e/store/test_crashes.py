"""A process killed at any named place of the commit path loses nothing it acknowledged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lithox.store.crash_points import CRASH_POINTS, CRASH_VARIABLE
from tests.e2e.store import workload

CHILD = Path(__file__).with_name("child_writer.py")

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def run_child(path: Path, crash_at: str | None) -> tuple[int, list[str]]:
    environment = dict(os.environ)
    environment.pop(CRASH_VARIABLE, None)
    if crash_at is not None:
        environment[CRASH_VARIABLE] = crash_at
    done = subprocess.run(
        [sys.executable, CHILD, path],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout.split()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_killed_process_keeps_what_it_acknowledged(tmp_path: Path, point: str, count: int) -> None:
    """After SIGKILL at a crash point each acknowledged commit is there, the others all or not."""
    if point.startswith("close") and count > 1:
        count = 1
    path = tmp_path / "state.db"
    status, lines = run_child(path, f"{point}:{count}")
    assert status == -signal.SIGKILL
    acknowledged = max((int(line) for line in lines), default=-1)
    assert workload.find_problem(path, acknowledged=acknowledged) is None


def test_child_without_a_crash_finishes(tmp_path: Path) -> None:
    """The same child ends well when nothing kills it, and its last commit is the last."""
    path = tmp_path / "state.db"
    status, lines = run_child(path, None)
    assert (status, lines[-1]) == (0, "closed")
    assert workload.find_problem(path, acknowledged=399) is None
    assert workload.find_problem(path, acknowledged=400) is not None

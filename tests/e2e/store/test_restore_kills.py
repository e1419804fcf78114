"""A restore that is killed anywhere leaves no store, and the next one makes a whole one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lithox.node.opening import STORE_NAME
from tests.e2e.node.serving import SECONDS_MAX, surroundings

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CHILD = Path(__file__).with_name("child_restore.py")
NEVER = 1_000_000
CHUNKS = 5


def start(target: Path, wait_after: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(target), str(wait_after), str(CHUNKS)],
        stdout=subprocess.PIPE,
        text=True,
        env=surroundings(),
    )


@pytest.mark.timeout(120)
def test_a_killed_restore_leaves_nothing_that_looks_like_a_store(tmp_path: Path) -> None:
    """After SIGKILL at the beginning, in the middle and before the last line no database is there.

    What it leaves is no obstacle: the restore after all of them ends well and is verified.
    """
    target = tmp_path / "data"
    for wait_after in (1, 3, CHUNKS):
        with start(target, wait_after) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "waiting\n"
            child.send_signal(signal.SIGKILL)
            child.wait(SECONDS_MAX)
        assert not (target / STORE_NAME).exists()
    with start(target, NEVER) as child:
        said, _ = child.communicate(timeout=SECONDS_MAX)
    assert (child.returncode, len(said.strip())) == (0, 64)
    assert (target / STORE_NAME).exists()
    assert list(target.glob("*-loading*")) == []

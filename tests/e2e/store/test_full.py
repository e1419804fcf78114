"""A disk that takes no more, as the system itself says it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lithox.store.embedded import EmbeddedStore

CHILD = Path(__file__).with_name("child_full.py")


@pytest.mark.e2e
def test_no_room_stops_writing_until_there_is(tmp_path: Path) -> None:
    """Without room commits are refused, reads go on, nothing durable is lost, then all resumes."""
    path = tmp_path / "state.db"
    done = subprocess.run(
        [sys.executable, CHILD, path], capture_output=True, text=True, timeout=50, check=True
    )
    first, *rest = done.stdout.splitlines()
    last = int(first.removeprefix("durable "))
    assert 10 < last < 900
    assert rest == ["reads", "resumed"]
    store = EmbeddedStore.open(path, post=lambda call: None)
    snapshot = store.open_snapshot()
    keys = [f"k{n:04}" for n in range(last + 3)]
    found = [key for key in keys if snapshot.find("a", key) is not None]
    assert found == keys[: last + 2]
    store.close()

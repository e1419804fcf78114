"""SIGKILL while a block device is written: each write is there whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from lithox.node.device import Device
from lithox.store.crash_points import COMMIT_POINTS, CRASH_VARIABLE
from lithox.store.embedded.store import EmbeddedOptions, EmbeddedStore
from tests.e2e.node.child_device import LENGTH, START

CHILD = Path(__file__).with_name("child_device.py")

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("point", COMMIT_POINTS)
def test_a_killed_write_is_whole_or_absent(tmp_path: Path, point: str, count: int) -> None:
    """What was acknowledged is there; the write in flight changed all of its blocks or none."""
    path = tmp_path / "state.db"
    done = subprocess.run(
        [sys.executable, CHILD, path],
        stdout=subprocess.PIPE,
        env={**os.environ, CRASH_VARIABLE: f"{point}:{count}"},
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    acknowledged = int(([*done.stdout.split()] or ["0"])[-1])
    posted: SimpleQueue[Any] = SimpleQueue()
    store = EmbeddedStore.open(path, post=posted.put, options=EmbeddedOptions())
    device = Device(store)
    content = device.read(START, LENGTH)
    found = content[0]
    assert content == bytes([found]) * LENGTH, "half of a write"
    assert found in (acknowledged, acknowledged + 1)
    assert device.read(0, START) == bytes(START)
    assert device.read(START + LENGTH, 4096) == bytes(4096)
    store.close()

"""Processes of peers are found, watched and ended from outside, and nobody else's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.peers.processes import (
    Child,
    MemoryWatch,
    MissingError,
    cpu_seconds,
    memory_mb,
    synchronous_files,
    tree,
    wait_until,
)

WAITS = "import signal; print('ready', flush=True); signal.pause()"
EATS = "import signal; eaten = bytearray(200 << 20); signal.pause()"


def make_child(folder: Path, code: str) -> Child:
    return Child([sys.executable, "-c", code], folder=folder, log="log")


def test_a_child_is_ended_and_leaves_the_tree(tmp_path: Path) -> None:
    """It is among our descendants while it lives, has memory and time, and is gone afterwards."""
    child = make_child(tmp_path, WAITS)
    wait_until(lambda: "ready" in child.last_words(), child)
    assert child.pid in tree([os.getpid()])
    assert memory_mb([child.pid]) > 1
    assert cpu_seconds([child.pid]) >= 0
    child.end()
    assert child.process.poll() is not None
    assert child.pid not in tree([os.getpid()])


def test_words_of_an_earlier_process_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    """A restarted server is not ready because the log says so of the one before."""
    (tmp_path / "log").write_text("ready\n")
    child = make_child(tmp_path, "pass")
    child.process.wait()
    assert child.last_words() == ""


def test_a_child_that_ends_at_once_is_missing_with_its_words(tmp_path: Path) -> None:
    """Nobody waits for what has ended, and why it ended is said."""
    child = make_child(tmp_path, "raise SystemExit('no such disk')")
    with pytest.raises(MissingError, match="it ended while it was started: no such disk"):
        wait_until(lambda: False, child)


def test_what_grows_beyond_its_bound_is_ended(tmp_path: Path) -> None:
    """A memory eater does not take the machine, and that it was ended is known."""
    child = make_child(tmp_path, EATS)
    with MemoryWatch([child.pid], mb_max=100.0) as watch:
        child.process.wait(30)
    assert watch.has_ended_it
    assert watch.highest_mb > 100


def test_a_file_that_syncs_each_write_is_known(tmp_path: Path) -> None:
    """Descriptors opened with O_DSYNC are found, others are not."""
    each = os.open(tmp_path / "each", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
    plain = os.open(tmp_path / "plain", os.O_WRONLY | os.O_CREAT)
    try:
        found = synchronous_files([os.getpid()])
    finally:
        os.close(each)
        os.close(plain)
    assert each in found
    assert plain not in found

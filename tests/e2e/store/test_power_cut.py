"""A power cut at any place of the commit path loses nothing acknowledged; without syncs it does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from random import Random

import pytest

from lithox.store.crash_points import COMMIT_POINTS, OTHER_POINTS
from lithox.store.embedded import EmbeddedOptions, EmbeddedStore
from lithox.store.embedded.lossy_vfs import LossyDisk
from tests.e2e.store import workload

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# (share of unsynced sectors that arrive, seed)
OUTCOMES = [(0.0, 0), (1.0, 0), *itertools.product((0.2, 0.5, 0.8), (1, 2, 3))]
_numbers = itertools.count()


class PowerCuts:
    """A `Reach` that keeps what the disk might hold at every n-th passing of `point`."""

    def __init__(self, point: str, disk: LossyDisk, folder: Path, *, every: int) -> None:
        self.point = point
        self.disk = disk
        self.folder = folder
        self.every = every
        self.passed = 0
        self.acknowledged = -1
        self.images: list[tuple[Path, int]] = []

    def __call__(self, name: str) -> None:
        if name == self.point:
            self.passed += 1
            if self.passed % self.every == 1 % self.every:
                self.cut()

    def cut(self) -> None:
        for keep_share, seed in OUTCOMES:
            image = self.folder / f"{self.passed}-{keep_share}-{seed}"
            image.mkdir()
            self.disk.write_image(image, random=Random(seed), keep_share=keep_share)
            self.images.append((image, self.acknowledged))

    def acknowledge(self, n: int) -> None:
        self.acknowledged = max(self.acknowledged, n)


def run_cuts(folder: Path, point: str, *, synchronous: str = "FULL", every: int = 11) -> list[str]:
    """Returns what is wrong with the databases that power cuts at `point` leave."""
    disk = LossyDisk(f"cuts-{next(_numbers)}")
    cuts = PowerCuts(point, disk, folder, every=every)
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    options = EmbeddedOptions(reach=cuts, vfs=disk.name, synchronous=synchronous, log_pages_max=40)
    store = EmbeddedStore.open(folder / "state.db", post=posted.put, options=options)
    workload.run(store, posted, count=240, acknowledge=cuts.acknowledge)
    store.close()
    disk.unregister()
    assert cuts.images
    found: list[str] = []
    for image, acknowledged in cuts.images:
        try:
            problem = workload.find_problem(image / "state.db", acknowledged=acknowledged)
        except Exception as error:  # noqa: BLE001 - damaged, and seen to be: also a loss
            problem = repr(error)
        if problem is not None:
            found.append(f"{image.name}: {problem}")
    return found


@pytest.mark.parametrize("point", [*COMMIT_POINTS, *OTHER_POINTS])
def test_power_cut_loses_nothing_acknowledged(tmp_path: Path, point: str) -> None:
    """Unsynced writes forgotten, torn or kept: the database is that of a prefix of commits."""
    every = 2 if point.startswith("checkpoint") else 11
    assert run_cuts(tmp_path, point, every=every) == []


@pytest.mark.parametrize("kind", ["", "-wal"])
def test_power_cut_during_a_write_or_sync(tmp_path: Path, kind: str) -> None:
    """The same between any two writes inside SQLite, of the log and of the database."""
    disk = LossyDisk(f"cuts-{next(_numbers)}")
    cuts = PowerCuts("write", disk, tmp_path, every=29 if kind else 7)
    disk.on_write = lambda written: cuts("write") if written == kind else None
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    options = EmbeddedOptions(vfs=disk.name, log_pages_max=40)
    store = EmbeddedStore.open(tmp_path / "state.db", post=posted.put, options=options)
    workload.run(store, posted, count=240, acknowledge=cuts.acknowledge)
    store.close()
    disk.unregister()
    # Before the schema is made there is nothing to open; such images hold an empty database.
    problems = [
        problem
        for image, acknowledged in cuts.images
        if (problem := workload.find_problem(image / "state.db", acknowledged=acknowledged))
    ]
    assert problems == []
    assert len(cuts.images) > len(OUTCOMES)


def test_harness_detects_missing_syncs(tmp_path: Path) -> None:
    """Opened with synchronous=OFF the same cuts do lose acknowledged commits."""
    assert run_cuts(tmp_path, "commit.before_answer", synchronous="OFF") != []


def test_every_batch_is_one_sync_of_the_log(tmp_path: Path) -> None:
    """A batch syncs the log exactly once, and nothing else is synced for it."""
    disk = LossyDisk(f"cuts-{next(_numbers)}")
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    store = EmbeddedStore.open(
        tmp_path / "state.db", post=posted.put, options=EmbeddedOptions(vfs=disk.name)
    )
    # The first commit of a log also syncs its head.
    workload.run(store, posted, count=8, acknowledge=lambda n: None)
    before, batches = disk.syncs.copy(), store.statistics()["batches"]
    workload.run(store, posted, count=80, acknowledge=lambda n: None)
    made = store.statistics()["batches"] - batches
    assert disk.syncs["-wal"] - before["-wal"] == made
    assert disk.syncs[""] == before[""]
    store.close()
    disk.unregister()

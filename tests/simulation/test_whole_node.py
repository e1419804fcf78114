"""A whole node keeps its promises over a disk that fails and forgets, and planted bugs are seen."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from lithox.dispatch.inflight import InFlight
from lithox.dispatch.runs import Runs
from lithox.dispatch.transaction import Transaction
from lithox.dispatch.turns import Turns
from lithox.store.cells import VisibleCells
from lithox.store.recent import RecentChanges
from lithox.store.views import EntityViews
from lithox.store.visible import VisibleStore
from lithox.testing.node_simulator import NodeSimulator
from lithox.testing.simulated_disk import LenientDisk
from lithox.testing.simulator import SimulationFailed

pytestmark = [pytest.mark.sim, pytest.mark.slow]

SEEDS = range(24)
WISHES = 60
MUTANT_SEEDS = range(60)
"""Without a planted bug all of them pass; with it one of them fails."""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_holds(seed: int) -> None:
    """Through crashes, power cuts and failing syncs everything done is done once, and whole."""
    report = NodeSimulator(seed, wishes=WISHES).run()
    assert report.counts["rest"] == 1
    assert report.counts.get("answered ok", 0) > 0


def test_every_fault_and_every_end_happens_somewhere() -> None:
    """The seeds of this file together meet what they are about."""
    met: set[str] = set()
    for seed in range(30):
        counts = NodeSimulator(seed, wishes=WISHES).run().counts
        met |= {name for name, count in counts.items() if count}
    assert met >= {
        "crash", "close", "torn", "whole", "disk failed", "disk resumed", "kill", "conflict",
        "withdrawn", "answered ok", "answered app.overdrawn", "answered guest.out_of_fuel",
        "answered guest.trapped", "answered request.cancelled", "answered request.overloaded",
        "answered request.deadline_passed", "answered store.results_full",
        "answered store.unavailable",
    }  # fmt: skip


def test_a_seed_gives_one_trace_under_every_hash_seed() -> None:
    """Two interpreters with different hash seeds, and this one, come to the same digest."""
    program = (
        "from lithox.testing.node_simulator import NodeSimulator;"
        f"print(NodeSimulator(3, wishes={WISHES}).run().trace_digest)"
    )
    digests = {NodeSimulator(3, wishes=WISHES).run().trace_digest}
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1


def run_until_broken(**options: Any) -> None:
    for seed in MUTANT_SEEDS:
        NodeSimulator(seed, wishes=WISHES, **options).run()


def answer_before_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tells that a commit is durable as soon as it is visible."""
    submit = VisibleStore.submit

    def hasty(self: VisibleStore, commit: Any, on_done: Any) -> int | None:
        version = submit(self, commit, lambda error: None)
        if version is not None:
            self._call_soon(on_done)
        return version

    monkeypatch.setattr(VisibleStore, "submit", hasty)


def read_before_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets answers that only read leave before what they read is durable."""
    monkeypatch.setattr(VisibleStore, "when_read_durable", lambda self, *rest, **more: True)


def forget_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not validate the keys a run has read."""
    is_current = RecentChanges.is_current
    monkeypatch.setattr(
        RecentChanges,
        "is_current",
        lambda self, version, reads, ranges: is_current(self, version, (), ranges),
    )


def forget_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not validate the ranges a run has scanned."""
    is_current = RecentChanges.is_current
    monkeypatch.setattr(
        RecentChanges,
        "is_current",
        lambda self, version, reads, ranges: is_current(self, version, reads, ()),
    )


def believe_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not validate what a run had read when it fails."""
    monkeypatch.setattr(VisibleStore, "is_current", lambda self, *rest: True)


def keep_failed_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not roll back to the savepoint of a failed call."""
    monkeypatch.setattr(Transaction, "roll_back_to", lambda self, savepoint: None)


def forget_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not record the result of a request with an id."""
    monkeypatch.setattr(Runs, "_result_of", lambda self, job, body: None)


def run_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs two requests with one id at the same time."""
    monkeypatch.setattr(InFlight, "enter", lambda self, job: True)


def keep_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes on showing values that were taken back."""
    withdraw = VisibleCells.withdraw

    def forgetful(self: VisibleCells, version: int, cells: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(EntityViews, "forget", lambda self, entity: None)
            withdraw(self, version, cells)

    monkeypatch.setattr(VisibleCells, "withdraw", forgetful)


def keep_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never gives a turn back, so that whoever waits for it waits for ever."""
    monkeypatch.setattr(Turns, "give_back", lambda self, turn: None)


@pytest.mark.parametrize(
    ("breaks", "seen"),
    [
        (answer_before_sync, "is not on the disk|fits no state on the disk"),
        (read_before_sync, "fits no state on the disk"),
        (forget_reads, "alone it is"),
        (forget_ranges, "alone it is"),
        (believe_errors, "fits no state on the disk"),
        (keep_failed_calls, "alone it is"),
        (forget_results, "was done twice|is not on the disk|the disk has results"),
        (run_twins, "was done twice|is not on the disk"),
        (keep_withdrawn, "alone it is|fits no state"),
        (keep_turns, "waits for an answer|left are"),
    ],
)
def test_a_planted_bug_is_seen(breaks, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each planted bug breaks a law within the seeds that pass without it."""
    breaks(monkeypatch)
    with pytest.raises(SimulationFailed, match=seen):
        run_until_broken()


def test_a_torn_batch_that_is_kept_is_seen() -> None:
    """A disk that keeps the first rows of a batch without its end is caught."""
    with pytest.raises(SimulationFailed, match=r"on the disk has|the disk has results"):
        run_until_broken(disk_class=LenientDisk)

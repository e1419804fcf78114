"""Simulations hold every law, repeat exactly from their seed, and see what is broken."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lithox.kernel import Kernel
from lithox.kernel.process import Process
from lithox.kernel.scheduler import LaneQueue
from lithox.testing import SimulationFailed, Simulator
from lithox.testing.simulate import main

pytestmark = [pytest.mark.sim, pytest.mark.slow]

SEEDS = range(12)
HORIZON_NS = 300_000
MUTANT_SEEDS = range(25)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_law_holds(seed: int) -> None:
    """A whole simulation comes to rest with every process ended exactly once."""
    report = Simulator(seed, horizon_ns=HORIZON_NS).run()
    started = report.counts["spawn"] - report.counts.get("refused", 0)
    assert started == report.counts["end"] > 0


def test_every_fault_and_every_end_happens_somewhere() -> None:
    """The seeds of this file together meet each kind of fault and each way to end."""
    met: set[str] = set()
    for seed in SEEDS:
        met |= Simulator(seed, horizon_ns=HORIZON_NS).run().counts.keys()
    assert met >= {
        "kill", "slow", "refused", "rerun", "give up", "ended ok", "ended guest.raised",
        "ended guest.out_of_fuel", "ended request.cancelled", "ended request.deadline_passed",
    }  # fmt: skip


def test_a_seed_gives_one_trace_under_every_hash_seed() -> None:
    """Two interpreters with different hash seeds, and this one, print the same digest."""
    digests = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "lithox.testing.simulate", "--seed", "17", "--kind", "kernel"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout.rsplit("trace: ", 1)[1].strip())
    digests.add(Simulator(17).run().trace_digest)
    assert len(digests) == 1


def test_different_seeds_give_different_traces() -> None:
    """The digest speaks of the run: no two seeds share it."""
    digests = {Simulator(seed, horizon_ns=HORIZON_NS).run().trace_digest for seed in range(4)}
    assert len(digests) == 4


def forget_charges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks fair share: a slice costs its account nothing."""
    settle = LaneQueue.settle

    def free(self: LaneQueue, process: Process, charged_fuel: int, **how: bool) -> None:
        del charged_fuel
        settle(self, process, 0, **how)

    monkeypatch.setattr(LaneQueue, "settle", free)


def forget_starvation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks the starvation bound: nobody has ever waited long."""
    pick = LaneQueue.pick
    monkeypatch.setattr(LaneQueue, "pick", lambda self, now_ns: pick(self, now_ns - (1 << 60)))


def forget_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks kill: one on a processor is not noted."""
    kill = Kernel._kill

    def deaf(self: Kernel, process: Process, code: str) -> None:
        if process.phase.name != "ON_PROCESSOR":
            kill(self, process, code)

    monkeypatch.setattr(Kernel, "_kill", deaf)


def forget_to_remove(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks conservation: a killed process stays in its queue."""
    monkeypatch.setattr(Kernel, "_unqueue", lambda self, process: None)


def run_all(seeds: range) -> None:
    for seed in seeds:
        Simulator(seed).run()


@pytest.mark.parametrize(
    ("breaks", "seen"),
    [
        (forget_charges, "drifted"),
        (forget_starvation, "has waited"),
        (forget_kills, "kill was noted|end by time"),
        (forget_to_remove, "IndexError|InternalError|InvariantBroken"),
    ],
)
def test_a_broken_kernel_is_seen(breaks, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each planted fault of the scheduler breaks the law that speaks of it, within a few seeds."""
    breaks(monkeypatch)
    with pytest.raises(SimulationFailed, match=seen):
        run_all(MUTANT_SEEDS)


def test_a_failure_says_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line prints seed and command, and ends with status 1."""
    forget_to_remove(monkeypatch)
    statuses = {main(["--seed", str(seed)]) for seed in range(3)}
    assert 1 in statuses
    said = capsys.readouterr().err
    assert "again with: make sim SEED=" in said
    assert "python -m lithox.testing.simulate --seed " in said


def test_the_command_line_draws_seeds_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a seed it draws one and prints it, so that every run can be repeated."""
    assert main(["--runs", "1"]) == 0
    assert capsys.readouterr().out.startswith("seed ")

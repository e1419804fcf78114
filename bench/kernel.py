"""How long the kernel takes from one fact to its effects, beside a yardstick of the same run.

Prints JSON lines {"name", "figure", "unit", "yardstick", "yardstick_name", "reach"}; the figure is
the median of five rounds. One round is many whole lives of processes with a known number of facts;
the figure is the time of a round divided by its facts (and by the picks, which count as facts).
Processor time is measured, not wall time: nothing here waits, and benches share their machine.
The yardstick is one update of a dict and one creation of a dataclass of six fields.

    python bench/kernel.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

from lithox.kernel import Kernel, Lane, Policy, SliceEnd, Spawn
from lithox.model.ids import AccountName, Pid

ROUNDS = 5
REACH_US = 5.0


def measure(run: Callable[[], int]) -> float:
    """Returns the median microseconds per fact; `run` returns how many facts it told."""
    figures: list[float] = []
    for _ in range(ROUNDS):
        begun_ns = time.process_time_ns()
        facts = run()
        figures.append((time.process_time_ns() - begun_ns) / facts / 1000)
    return statistics.median(figures)


def yardstick(count: int) -> Callable[[], int]:
    """Returns a round of dict updates and dataclass creations."""

    def run() -> int:
        table: dict[int, Spawn] = {}
        for index in range(count):
            table[index & 255] = Spawn(account=AccountName("a"), name="n", deadline_ns=index)
        return count

    return run


def short_lives(count: int, accounts: int) -> Callable[[], int]:
    """Returns a round of handlers that finish in their first slice: 3 facts and one drain each."""
    names = [AccountName(f"account-{index}") for index in range(accounts)]

    def run() -> int:
        kernel = Kernel()
        for index in range(count):
            now_ns = index * 20_000
            spec = Spawn(
                account=names[index % accounts],
                name="counter:increment",
                deadline_ns=now_ns + 5_000_000_000,
            )
            kernel.notify_spawned(spec, now_ns)
            piece = kernel.next_slice(Lane.FAST, now_ns)
            assert piece is not None
            kernel.notify_sliced(piece.pid, SliceEnd.FINISHED, 30_000, 8_000, now_ns + 10_000)
            kernel.take_effects()
        return count * 3

    return run


def asking_lives(count: int) -> Callable[[], int]:
    """Returns a round of handlers with one system call each: 6 facts."""

    def run() -> int:
        kernel = Kernel()
        account = AccountName("a")
        for index in range(count):
            now_ns = index * 20_000
            kernel.notify_spawned(Spawn(account=account, name="n"), now_ns)
            first = kernel.next_slice(Lane.FAST, now_ns)
            assert first is not None
            kernel.notify_sliced(first.pid, SliceEnd.ASKED, 10_000, 3_000, now_ns)
            kernel.notify_woken(first.pid, now_ns)
            again = kernel.next_slice(Lane.FAST, now_ns)
            assert again is not None
            kernel.notify_sliced(again.pid, SliceEnd.FINISHED, 10_000, 3_000, now_ns)
            kernel.take_effects()
        return count * 6

    return run


def crowd(live: int, slices: int, accounts: int) -> Callable[[], int]:
    """Returns a round of slices among `live` processes that all loop: 2 facts each."""
    kernel = Kernel(Policy(processes_max=live, processes_per_account_max=live))
    for index in range(live):
        account = AccountName(f"account-{index % accounts}")
        spec = Spawn(account=account, name="loop", priority=index % 10, deadline_ns=1 << 62)
        kernel.notify_spawned(spec, 0)
    clock = [0]

    def run() -> int:
        for _ in range(slices):
            clock[0] += 1_000
            piece = kernel.next_slice(Lane.FAST, clock[0])
            if piece is None:
                piece = kernel.next_slice(Lane.LONG, clock[0])
            assert piece is not None
            kernel.notify_sliced(piece.pid, SliceEnd.YIELDED, piece.quantum_fuel, 1_000, clock[0])
            kernel.take_effects()
        return slices * 2

    return run


def killing(live: int) -> Callable[[], int]:
    """Returns a round that spawns `live` processes and kills each, last come first."""

    def run() -> int:
        kernel = Kernel(Policy(processes_max=live, processes_per_account_max=live))
        spec = Spawn(account=AccountName("a"), name="n", deadline_ns=1 << 62)
        pids: list[Pid] = []
        for _ in range(live):
            pid = kernel.notify_spawned(spec, 0)
            assert pid is not None
            pids.append(pid)
        for pid in reversed(pids):
            kernel.notify_killed(pid, "request.cancelled", 0)
            kernel.take_effects()
        return live * 2

    return run


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    scale = 1 if parser.parse_args().quick else 10
    base_us = measure(yardstick(10_000 * scale))
    cases = {
        "kernel fact, short handlers, 1 account": short_lives(2_000 * scale, 1),
        "kernel fact, short handlers, 256 accounts": short_lives(2_000 * scale, 256),
        "kernel fact, handlers with a system call": asking_lives(1_000 * scale),
        "kernel fact, 10,000 looping processes, 1 account": crowd(10_000, 2_000 * scale, 1),
        "kernel fact, 10,000 looping processes, 1,000 accounts": crowd(
            10_000, 2_000 * scale, 1_000
        ),
        "kernel fact, kill among 10,000": killing(10_000),
    }
    for name, run in cases.items():
        figure_us = measure(run)
        line = {
            "name": name,
            "figure": round(figure_us, 3),
            "unit": "us",
            "yardstick": round(base_us, 3),
            "yardstick_name": "dict update and dataclass creation, us",
            "reach": REACH_US,
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()

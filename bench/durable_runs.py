"""Rows 1 and 3: durable handler runs through `lithox.Node`, many callers and one.

Row 1 stands beside the bare store's group commit of the same write sets (bench/group_commit.py),
row 3 beside one `fdatasync` of as many bytes as SQLite's log takes for such a commit, on the same
file system. One process, one uvloop; rounds of everything are interleaved.

Usage: python -m bench.durable_runs [--rounds 5] [--seconds 1.5] [--row 1|3]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Final

import uvloop

import lithox
from bench.counter import CALLERS, data_directory, increment, prepare
from bench.figures import ROUNDS_DEFAULT, Series, percentile, ratio_of, report, say
from bench.group_commit import SPIN_US, GroupCommit, capture
from bench.loads import closed_loop

WARM_S: Final = 0.7
LOG_FRAME_BYTES: Final = 24 + 4096
"""One page in SQLite's log with its header (sqlite.org/fileformat.html, section 4)."""
ALTERNATE: Final = 20
"""Calls, then as many bare syncs, in turn."""
ALLOWED_OVER_SYNC_US: Final = 500


async def measure_many(data: Path, *, rounds: int, seconds: float) -> None:
    """Prints row 1."""
    say("capturing the commits of real runs")
    captured = await capture(data / "captured")
    runs = Series(name="durable runs, 256 entities, 64 callers", unit="runs/s")
    p50 = Series(name="median latency at that rate", unit="us")
    p99 = Series(name="p99 latency at that rate", unit="us")
    busy = Series(name="store's group commit, main thread busy", unit="commits/s")
    idle = Series(name="store's group commit, main thread idle", unit="commits/s")
    loaded = Series(name="store's group commit, a run's time before each", unit="commits/s")
    run_cpu = Series(name="processor time of a run, all threads", unit="us")
    commit_cpu = Series(name="processor time of a bare commit, main thread idle", unit="us")
    store = GroupCommit(data / "store.db", captured, outstanding=CALLERS)
    async with lithox.Node(data / "node") as node:
        await prepare(node)
        await store.fill()
        await closed_loop(lambda n: increment(node, n), callers=CALLERS, seconds=WARM_S)
        await store.rate(seconds=WARM_S)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            cpu_s, loop_s = time.process_time(), time.thread_time()
            load = await closed_loop(lambda n: increment(node, n), callers=CALLERS, seconds=seconds)
            work_us = (time.thread_time() - loop_s) * 1e6 / (load.rate * seconds)
            run_cpu.add((time.process_time() - cpu_s) * 1e6 / (load.rate * seconds))
            runs.add(load.rate)
            p50.add(load.p50_us)
            p99.add(load.p99_us)
            loaded.add(await store.rate(seconds=seconds, work_us=work_us))
            busy.add(await store.rate(seconds=seconds, is_busy=True))
            cpu_s = time.process_time()
            idle.add(await store.rate(seconds=seconds))
            commit_cpu.add((time.process_time() - cpu_s) * 1e6 / (idle.values[-1] * seconds))
    store.close()
    ratio = ratio_of(runs, busy)
    report(
        row=1,
        what="durable handler runs, in process",
        figure=runs,
        yardstick=busy,
        ratio=ratio,
        reach="ratio at least 0.5",
        is_reached=ratio >= 0.5,
        beside=[idle, loaded, p50, p99, run_cpu, commit_cpu],
        note=f"ratio to the store with an idle main thread {ratio_of(runs, idle):.3f}, with a "
        f"run's time before each commit {ratio_of(runs, loaded):.3f}; "
        f"a commit: {captured.describe()}; the busy thread spins {SPIN_US} us at a time",
    )


def syncs(path: Path, count: int) -> list[float]:
    """Returns the microseconds of `count` writes into an allocated file with their `fdatasync`."""
    block = os.urandom(LOG_FRAME_BYTES)
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        if os.fstat(file).st_size == 0:
            os.write(file, bytes(LOG_FRAME_BYTES * count))
            os.fsync(file)
        times_us: list[float] = []
        for index in range(count):
            begun = time.perf_counter()
            os.pwrite(file, block, index * LOG_FRAME_BYTES)
            os.fdatasync(file)
            times_us.append((time.perf_counter() - begun) * 1e6)
    finally:
        os.close(file)
    return times_us


async def measure_one(data: Path, *, rounds: int, seconds: float) -> None:
    """Prints row 3. Calls and bare syncs alternate many times a round, on the same disk."""
    latency = Series(name="one caller, median latency", unit="us")
    p99 = Series(name="one caller, p99 latency", unit="us")
    sync = Series(name="one write of a log frame and fdatasync", unit="us")
    over = Series(name="latency above that of one fdatasync", unit="us")
    async with lithox.Node(data / "node") as node:
        await prepare(node)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            calls_us: list[float] = []
            syncs_us: list[float] = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                for index in range(ALTERNATE):
                    begun = time.perf_counter()
                    await increment(node, len(calls_us) + index)
                    calls_us.append((time.perf_counter() - begun) * 1e6)
                syncs_us += syncs(data / "sync", ALTERNATE)
            latency.add(percentile(calls_us, 0.5))
            p99.add(percentile(calls_us, 0.99))
            sync.add(percentile(syncs_us, 0.5))
            over.add(latency.values[-1] - sync.values[-1])
    report(
        row=3,
        what="one caller: median latency",
        figure=latency,
        yardstick=sync,
        ratio=ratio_of(latency, sync),
        reach="at most the yardstick + 500 us",
        is_reached=over.median <= ALLOWED_OVER_SYNC_US,
        beside=[over, p99],
    )


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each part of a round")
    parser.add_argument("--row", type=int, choices=(1, 3), default=1)
    options = parser.parse_args()
    measure = measure_many if options.row == 1 else measure_one
    with data_directory() as data:
        uvloop.run(measure(data, rounds=options.rounds, seconds=options.seconds))


if __name__ == "__main__":
    main()

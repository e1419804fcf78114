"""What the store costs: group commit alone and beside a busy thread, reads, opening.

    python -m bench.store [--seconds N] [--rounds N] [--keys N] [NAME...]

Each line printed is one JSON object {"name", "figure", "unit", "yardstick", "yardstick_name"}: the
median of all rounds, and beside it the median of what the bare disk (or SQLite) did in the same
rounds. A commit is three values of 23 bytes in one of 256 entities, read and validated.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import apsw

from lithox.store.contract import Commit
from lithox.store.embedded import EmbeddedStore

ENTITIES: Final = 256
KEYS: Final = ("count", "total", "at")
VALUES: Final = tuple(os.urandom(23) for _ in range(64))
BATCHES: Final = (16, 64, 128)
SWITCH_INTERVALS_S: Final = (0.005, 0.000_5, 0.000_05)
SPIN_STEPS: Final = 50
"""Steps of a Python loop between two looks at what is done: some microseconds."""


def make_writes(n: int) -> dict[tuple[str, str], bytes | None]:
    entity = f"shop/cart/{n * 7919 % ENTITIES}"
    return {(entity, key): VALUES[(n + i) % len(VALUES)] for i, key in enumerate(KEYS)}


def run_log(folder: Path, *, outstanding: int, seconds: float) -> float:
    """Returns commits/s of appending each batch's bytes to a file and `fdatasync`."""
    record = b"".join(b"shop/cart/100" + key.encode() + VALUES[0] + bytes(8) for key in KEYS)
    descriptor = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        os.write(descriptor, b"".join([record] * outstanding))
        os.fdatasync(descriptor)
        count += outstanding
    elapsed = time.perf_counter() - start
    os.close(descriptor)
    return count / elapsed


def run_commits(folder: Path, *, outstanding: int, seconds: float, is_busy: bool) -> float:
    """Returns commits/s with `outstanding` of them waiting at any time.

    Args:
        folder: an empty one.
        outstanding: commits submitted and not yet answered.
        seconds: how long.
        is_busy: the submitting thread never sleeps: it executes Python while it waits.
    """
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    store = EmbeddedStore.open(folder / "state.db", post=posted.put)
    waiting = [0]

    def on_done(error: Exception | None) -> None:
        if error is not None:
            raise error
        waiting[0] -= 1

    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        while waiting[0] < outstanding:
            writes = make_writes(n)
            snapshot = store.open_snapshot()
            commit = Commit(snapshot.version, reads=writes, writes=writes)
            snapshot.release()
            if store.submit(commit, on_done) is None:
                raise AssertionError("nothing else writes")
            waiting[0] += 1
            n += 1
        while is_busy and posted.empty():
            spin()
        posted.get()()
    count, elapsed = n - waiting[0], time.perf_counter() - start
    store.close()
    return count / elapsed


def post_nothing(call: Callable[[], None]) -> None:
    """A node's thread that never goes round: closing delivers what is left."""
    del call


def spin() -> int:
    total = 0
    for i in range(SPIN_STEPS):
        total += i
    return total


def make_database(path: Path, *, keys: int, entities: int) -> None:
    """Makes a store with `keys` keys of 23-byte values spread over `entities` entities.

    It opens and closes a store first, so the schema is the newest, then fills the tables without
    the store: about a microsecond a key.
    """
    EmbeddedStore.open(path, post=post_nothing).close()
    per_entity = keys // entities
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(
        """
        WITH RECURSIVE
          e (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM e WHERE n + 1 < ?1),
          k (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n + 1 < ?2)
        INSERT INTO state (entity, key, value, version)
        SELECT printf('made/%06d', e.n), printf('key%04d', k.n), randomblob(23), 1 FROM e, k
        """,
        (entities, per_entity),
    )
    connection.execute("PRAGMA wal_checkpoint = TRUNCATE").fetchall()
    connection.close()


def run_reads(path: Path, *, count: int) -> tuple[float, float, float]:
    """Returns µs of a cold read, a warm read, and SQLite's own point query."""
    store = EmbeddedStore.open(path, post=post_nothing)
    snapshot = store.open_snapshot()
    names = [f"made/{i * 7919 % 100_000:06}" for i in range(count)]
    cold = timed(lambda name: snapshot.find(name, "key0003"), names)
    warm = timed(lambda name: snapshot.find(name, "key0003"), names)
    snapshot.release()
    store.close()
    connection = apsw.Connection(str(path))
    query = "SELECT value, version FROM state WHERE entity = ? AND key = ?"
    bare = timed(lambda name: connection.execute(query, (name, "key0003")).fetchall(), names)
    connection.close()
    return cold, warm, bare


def timed(act: Callable[[str], object], names: list[str]) -> float:
    """Returns the mean microseconds of `act` over `names`."""
    start = time.perf_counter()
    for name in names:
        act(name)
    return (time.perf_counter() - start) / len(names) * 1e6


def run_open(path: Path) -> tuple[float, float]:
    """Returns ms of opening, and of opening with the first durable answer of a cold entity."""
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    start = time.perf_counter()
    store = EmbeddedStore.open(path, post=posted.put)
    opened = time.perf_counter() - start
    done: list[object] = []
    snapshot = store.open_snapshot()
    snapshot.load("made/050000", 65_536)
    cell = ("made/050000", "key0000")
    store.submit(Commit(snapshot.version, reads=[cell], writes={cell: b"new"}), done.append)
    while not done:
        posted.get()()
    answered = time.perf_counter() - start
    snapshot.release()
    store.close()
    return opened * 1e3, answered * 1e3


def measure_commits(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    usual_s = sys.getswitchinterval()
    kinds = [(False, usual_s), *((True, interval) for interval in SWITCH_INTERVALS_S)]
    for outstanding in BATCHES:
        figures: dict[str, list[float]] = {}
        for _ in range(arguments.rounds):
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                bare = run_log(Path(folder), outstanding=outstanding, seconds=arguments.seconds)
                figures.setdefault("log", []).append(bare)
            for is_busy, interval in kinds:
                name = f"busy.{interval * 1e6:.0f}us" if is_busy else "alone"
                with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                    sys.setswitchinterval(interval)
                    figures.setdefault(name, []).append(
                        run_commits(
                            Path(folder),
                            outstanding=outstanding,
                            seconds=arguments.seconds,
                            is_busy=is_busy,
                        )
                    )
                    sys.setswitchinterval(usual_s)
        log = statistics.median(figures.pop("log"))
        for name, values in figures.items():
            yield row(
                f"store.commits.{outstanding}.{name}", statistics.median(values), "1/s",
                log, "append and fdatasync of the same batches",
            )  # fmt: skip


def measure_large(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "state.db"
        make_database(path, keys=arguments.keys, entities=max(1, arguments.keys // 10))
        reads = [run_reads(path, count=20_000) for _ in range(arguments.rounds)]
        opens = [run_open(path) for _ in range(arguments.rounds)]
    cold, warm, bare = (statistics.median(column) for column in zip(*reads, strict=True))
    opened, answered = (statistics.median(column) for column in zip(*opens, strict=True))
    yield row("store.read.cold", cold, "us", bare, "SQLite's point query through apsw")
    yield row("store.read.warm", warm, "us", bare, "SQLite's point query through apsw")
    yield row("store.open", opened, "ms", 1_000.0, "the goal for a first durable answer")
    yield row("store.open.first_answer", answered, "ms", 1_000.0, "the goal")


def row(
    name: str, figure: float, unit: str, yardstick: float, yardstick_name: str
) -> dict[str, object]:
    return {
        "name": name,
        "figure": round(figure, 3),
        "unit": unit,
        "yardstick": round(yardstick, 3),
        "yardstick_name": yardstick_name,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keys", type=int, default=1_000_000, help="of the large database")
    parser.add_argument("--folder", default=None, help="where databases are made")
    parser.add_argument("names", nargs="*", default=["commits", "large"])
    arguments = parser.parse_args()
    measures = {"commits": measure_commits, "large": measure_large}
    for name in arguments.names:
        for line in measures[name](arguments):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

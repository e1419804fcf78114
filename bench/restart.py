"""Row 9: a node with 1,000,000 keys in 100,000 entities is started again; when does it answer?

From the start of the process (the interpreter and all imports included) to the first durable
answer of `increment` on an entity that nobody has asked for since. Three starts a round: `lithox
serve` on the full store, the same on a store with a single entity (the yardstick: what a start
costs without data), and a program that embeds `lithox.Node` on the full store. Each process is
ended by SIGKILL, so every start is one after a crash, and the store's files are dropped from the
page cache before it (the kernel keeps Python's own files); the start from a warm page cache stands
beside.

Usage: python -m bench.restart [--rounds 5] [--entities 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import uvloop

import lithox
from bench import serving
from bench.counter import BUNDLE, HANDLER, ROOT, data_directory
from bench.figures import ROUNDS_DEFAULT, Series, ratio_of, report, say
from lithox.dispatch.records import ENTITY_KEY, EntityRecord, encode_record
from lithox.model.values import encode_value
from lithox.store.contract import Cell, Commit, Store

KEYS: Final = 10
ENTITIES_A_COMMIT: Final = 100
COMMITS_WAITING_MAX: Final = 50
ALLOWED_S: Final = 1.0
BUILT: Final = "built"


def entity_of(index: int) -> str:
    """Returns the path of one of the many entities."""
    return f"counter/r{index}"


def writes_of(first: int, count: int) -> dict[Cell, bytes | None]:
    """Returns everything that `count` entities from number `first` consist of."""
    record = encode_record(EntityRecord(owner="operator", template="counter/*", created_ms=1))
    writes: dict[Cell, bytes | None] = {}
    for index in range(first, first + count):
        entity = entity_of(index)
        writes[entity, ENTITY_KEY] = record
        writes[entity, "count"] = encode_value(index)
        for key in range(1, KEYS):
            writes[entity, f"key{key}"] = encode_value(f"value {key} of entity {index}")
    return writes


async def build(data: Path, entities: int) -> None:
    """Fills a store through its own contract, then waits to be killed."""
    loop = asyncio.get_running_loop()
    async with lithox.Node(data) as node:
        await node.deploy(BUNDLE)
        await node.call("counter/first", HANDLER)
        store: Store = node.dispatcher.runs.store
        waiting: list[asyncio.Future[object]] = []
        for first in range(0, entities, ENTITIES_A_COMMIT):
            done = loop.create_future()
            waiting.append(done)
            count = min(ENTITIES_A_COMMIT, entities - first)
            commit = Commit(store.visible_version, (), (), writes_of(first, count))
            store.submit(commit, done.set_result)
            if len(waiting) >= COMMITS_WAITING_MAX:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)
        print(BUILT, flush=True)
        await asyncio.Event().wait()


def build_and_kill(data: Path, entities: int) -> None:
    """Fills the store in another process and kills that as a power cut would."""
    command = [sys.executable, "-m", "bench.restart", "--build", str(data)]
    command += ["--entities", str(entities)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    process.kill()
    process.wait()
    if line != BUILT:
        raise SystemExit("filling the store failed")


async def call(data: Path, entity: str) -> None:
    """Opens a node, calls once, and waits to be killed."""
    async with lithox.Node(data) as node:
        await node.call(entity, HANDLER)
        print("answered", flush=True)
        await asyncio.Event().wait()


def drop_from_cache(data: Path) -> None:
    """Asks the kernel to forget the pages of every file of a data directory."""
    for path in data.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def time_serve(data: Path, entity: str) -> tuple[float, float]:
    """Returns seconds to the first durable answer of `lithox serve`, and to its ready line."""
    begun = time.perf_counter()
    served = serving.start(serving.serve_command(data))
    try:
        served.request(f"/v1/entities/{entity}:{HANDLER}")
        return time.perf_counter() - begun, served.ready_s
    finally:
        served.process.kill()
        served.process.wait()


def time_embedded(data: Path, entity: str) -> float:
    """Returns seconds to the first durable answer in a program that embeds a node."""
    command = [sys.executable, "-m", "bench.restart", "--call", str(data), entity]
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    used_s = time.perf_counter() - begun
    process.kill()
    process.wait()
    if line != "answered":
        raise SystemExit("the embedded node did not answer")
    return used_s


def measure(data: Path, *, rounds: int, entities: int) -> None:
    """Prints row 9."""
    full, small = data / "full", data / "small"
    say(f"filling {entities * KEYS:,} keys in {entities:,} entities")
    build_and_kill(full, entities)
    build_and_kill(small, 1)
    serve = Series(name="lithox serve: start to first durable answer", unit="s")
    empty = Series(name="the same with one entity in the store", unit="s")
    ready = Series(name="of which until it listens", unit="s")
    warm = Series(name="the same from a warm page cache", unit="s")
    embedded = Series(name="a program with lithox.Node", unit="s")
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        # Spread over the whole key space; no entity is asked for twice.
        unseen = [(number * 3 + part) * entities // (rounds * 3) for part in range(3)]
        drop_from_cache(full)
        answered_s, ready_s = time_serve(full, entity_of(unseen[0]))
        serve.add(answered_s)
        ready.add(ready_s)
        warm.add(time_serve(full, entity_of(unseen[1]))[0])
        drop_from_cache(full)
        embedded.add(time_embedded(full, entity_of(unseen[2])))
        drop_from_cache(small)
        empty.add(time_serve(small, entity_of(0))[0])
    size_mb = sum(path.stat().st_size for path in full.glob("lithox.db*")) / (1 << 20)
    for what, figure, beside in (
        ("lithox serve", serve, [ready, warm]),
        ("lithox.Node", embedded, []),
    ):
        report(
            row=9,
            what=f"restart with {entities * KEYS:,} keys, {what}",
            figure=figure,
            yardstick=empty,
            ratio=ratio_of(figure, empty),
            reach="at most 1 s",
            is_reached=figure.median <= ALLOWED_S,
            beside=beside,
            note=f"{size_mb:.0f} MB of store files; every start follows a SIGKILL",
        )


def main() -> None:
    """Reads the command line; `--build` and `--call` are how the parent starts its children."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--call", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build is not None:
        uvloop.run(build(options.build, options.entities))
    elif options.call is not None:
        uvloop.run(call(Path(options.call[0]), options.call[1]))
    else:
        with data_directory() as data:
            measure(data, rounds=options.rounds, entities=options.entities)


if __name__ == "__main__":
    main()

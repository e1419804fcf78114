"""An entity of 1,000,000 keys beside one of 128: what does size cost a run?

Each round opens the node anew on both and measures the first call of a handler, calls when warm,
a page of 100 keys out of the middle (`self:scan`), and a page of the administrative listing. All
calls are one after another, so a figure is the time of one. The yardstick is the same on the small
entity.

Usage: python -m bench.big_state [--rounds 5] [--keys 1000000]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Final

import uvloop

import lithox
from bench.counter import ROOT, data_directory
from bench.figures import ROUNDS_DEFAULT, Series, ratio_of, report, say
from lithox.dispatch.records import ENTITY_KEY, EntityRecord, encode_record
from lithox.model.values import encode_value
from lithox.node.node import Node
from lithox.security.identities import LOCAL_OPERATOR
from lithox.store.contract import Cell, Commit

BUNDLE: Final = ROOT / "bench" / "bundles" / "big_state"
LARGE: Final = "big/large"
SMALL: Final = "big/small"
SMALL_KEYS: Final = 128
"""So few that all of it travels with each call: the best case there is."""
KEYS_A_COMMIT: Final = 10_000
PAGE: Final = 100
CALLS: Final = 200
ROW: Final = 33


def key_of(number: int) -> str:
    """Returns a key; they are in the order of their numbers."""
    return f"k{number:07}"


async def fill(node: Node, entity: str, keys: int) -> None:
    """Makes an entity through the store's own contract."""
    store = node.dispatcher.runs.store
    record = EntityRecord(owner="operator", template="big/*", created_ms=1)
    writes: dict[Cell, bytes | None] = {(entity, ENTITY_KEY): encode_record(record)}
    for number in range(keys):
        writes[entity, key_of(number)] = encode_value(f"value {number}")
        if len(writes) >= KEYS_A_COMMIT or number == keys - 1:
            done = asyncio.get_running_loop().create_future()
            store.submit(Commit(store.visible_version, (), (), writes), done.set_result)
            writes = {}
            await done


async def build(data: Path, keys: int) -> None:
    """Makes both entities."""
    async with lithox.Node(data) as node:
        await node.deploy(BUNDLE)
        await fill(node, LARGE, keys)
        await fill(node, SMALL, SMALL_KEYS)


class Measured:
    """The four figures of one entity."""

    def __init__(self, entity: str, keys: int, name: str) -> None:
        self.entity, self.keys = entity, keys
        self.first = Series(name=f"first call, {name}", unit="ms")
        self.warm = Series(name=f"warm call, {name}", unit="ms")
        self.page = Series(name=f"a page of {PAGE} in a handler, {name}", unit="ms")
        self.listed = Series(name=f"a page of {PAGE} listed, {name}", unit="ms")

    async def measure(self, node: Node) -> None:
        """Adds a round; the node must just have been opened."""
        middle = key_of(self.keys // 2)
        begun = time.perf_counter()
        await node.call(self.entity, "get", middle)
        self.first.add((time.perf_counter() - begun) * 1e3)
        begun = time.perf_counter()
        for _ in range(CALLS):
            await node.call(self.entity, "get", middle)
        self.warm.add((time.perf_counter() - begun) * 1e3 / CALLS)
        step, after = max(1, self.keys // CALLS), 0
        begun = time.perf_counter()
        for _ in range(CALLS):
            await node.call(self.entity, "page", key_of(after % (self.keys // 8)), PAGE)
            after += step
        self.page.add((time.perf_counter() - begun) * 1e3 / CALLS)
        begun = time.perf_counter()
        for _ in range(CALLS):
            node.admin_list_state(self.entity, "", middle, PAGE, LOCAL_OPERATOR)
        self.listed.add((time.perf_counter() - begun) * 1e3 / CALLS)


async def measure(data: Path, *, rounds: int, keys: int) -> None:
    """Prints the row."""
    say(f"filling an entity of {keys:,} keys")
    await build(data, keys)
    large = Measured(LARGE, keys, f"{keys:,} keys")
    small = Measured(SMALL, SMALL_KEYS, f"{SMALL_KEYS} keys")
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for one in (large, small):
            async with lithox.Node(data) as node:
                # What loading the module costs is no part of this.
                await node.call("big/nobody", "get", "k")
                await one.measure(node)
    for what, figure, yardstick in (
        ("the first call after a start", large.first, small.first),
        ("a warm call", large.warm, small.warm),
        (f"a page of {PAGE} out of the middle", large.page, small.page),
    ):
        report(
            row=ROW,
            what=f"{keys:,} keys in one entity, {what}",
            figure=figure,
            yardstick=yardstick,
            ratio=ratio_of(figure, yardstick),
            beside=[large.listed] if figure is large.page else [],
        )


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--keys", type=int, default=1_000_000)
    options = parser.parse_args()
    with data_directory() as data:
        uvloop.run(measure(data, rounds=options.rounds, keys=options.keys))


if __name__ == "__main__":
    main()

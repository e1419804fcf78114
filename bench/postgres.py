"""The store on a PostgreSQL server beside pgbench: alone, and through a node; 64 callers.

The yardstick is pgbench with one client that batches alike: each of its transactions updates the
three values of 64 entities out of 256, in a table made like ours, with 23 bytes a value, and waits
for COMMIT; times 64 that is its commits a second. Ours checks and raises entities' versions too.
The server is started for this, on the same disk; rounds of everything are interleaved.

Usage: python -m bench.postgres [--rounds 5] [--seconds 1.5]
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import psycopg
import uvloop

import lithox
from bench.counter import CALLERS, DATA_PARENT, data_directory, increment, prepare
from bench.figures import ROUNDS_DEFAULT, Series, ratio_of, report, say
from bench.loads import closed_loop
from bench.store import ENTITIES, make_writes
from lithox.node.config import NodeConfig
from lithox.store.contract import Commit
from lithox.store.postgres import PostgresOptions, PostgresStore
from lithox.testing.postgres_server import PostgresServer

WARM_S: Final = 0.7
REACH: Final = 0.5
SCRIPT: Final = f"""\\set base random(0, {ENTITIES - 1})
UPDATE yardstick.state s SET value = w.value, version = s.version + 1 FROM (
  SELECT convert_to('shop/cart/' || ((:base + n * 7919) % {ENTITIES}), 'UTF8') AS entity,
    k AS key, decode(left(md5(random()::text) || md5(n::text), 46), 'hex') AS value
  FROM generate_series(0, {CALLERS - 1}) AS n,
    unnest(ARRAY['count', 'total', 'at']::bytea[]) AS k
) AS w WHERE s.entity = w.entity AND s.key = w.key;
"""
_TPS: Final = re.compile(rb"tps = ([0-9.]+)")


class Yardstick:
    """pgbench over a table of its own on `server`."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        """Makes the table and the script."""
        self._server = server
        self._script = folder / "update.sql"
        self._script.write_text(SCRIPT)
        with psycopg.connect(server.address(), autocommit=True) as connection:
            connection.execute("CREATE SCHEMA yardstick")
            connection.execute(
                "CREATE TABLE yardstick.state (entity bytea NOT NULL, key bytea NOT NULL, "
                "value bytea NOT NULL, version bigint NOT NULL, PRIMARY KEY (entity, key)) "
                "WITH (fillfactor = 70)"
            )
            connection.execute(
                "INSERT INTO yardstick.state SELECT convert_to('shop/cart/' || n, 'UTF8'), k, "
                "decode(left(md5(n::text) || md5(n::text), 46), 'hex'), 1 "
                "FROM generate_series(0, %s) AS n, "
                "unnest(ARRAY['count', 'total', 'at']::bytea[]) AS k",
                (ENTITIES - 1,),
            )

    def rate(self, *, seconds: float) -> float:
        """Returns commits/s: transactions times the entities of one."""
        words = [str(self._server.programs / "pgbench"), "--no-vacuum", "--client=1"]
        words += ["--protocol=prepared", f"--time={max(1, round(seconds))}"]
        words += [f"--file={self._script}", self._server.address()]
        said = subprocess.run(words, capture_output=True, check=True).stdout
        found = _TPS.search(said)
        assert found is not None, "pgbench says its rate"
        return float(found[1]) * CALLERS


class BareStore:
    """A store with nothing above it, and CALLERS commits waiting at any time."""

    def __init__(self, server: PostgresServer) -> None:
        """Opens the store in a schema of its own."""
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.store = PostgresStore.open(
            server.address(),
            post=self._posted.put,
            options=PostgresOptions(schema="bare", migrate="apply"),
        )
        self._waiting = 0
        self._number = 0

    def rate(self, *, seconds: float) -> float:
        """Returns commits/s."""
        number, start = self._number, time.perf_counter()
        while time.perf_counter() - start < seconds:
            while self._waiting < CALLERS:
                self._submit()
            self._posted.get()()
        count, elapsed = self._number - self._waiting - number, time.perf_counter() - start
        while self._waiting:
            self._posted.get()()
        return count / elapsed

    def _submit(self) -> None:
        writes = make_writes(self._number)
        snapshot = self.store.open_snapshot()
        for entity in {cell[0] for cell in writes}:
            snapshot.load(entity, 16_384)
        commit = Commit(snapshot.version, reads=writes, writes=writes)
        snapshot.release()
        assert self.store.submit(commit, self._on_done) is not None, "nobody else writes"
        self._waiting += 1
        self._number += 1

    def _on_done(self, error: Exception | None) -> None:
        if error is not None:
            raise error
        self._waiting -= 1


async def measure(data: Path, server: PostgresServer, *, rounds: int, seconds: float) -> None:
    """Prints the row."""
    yardstick = Yardstick(server, data)
    bare = BareStore(server)
    alone = Series(name="the store alone, 64 commits waiting", unit="commits/s")
    runs = Series(name="durable runs, 256 entities, 64 callers", unit="runs/s")
    p50 = Series(name="median latency at that rate", unit="us")
    p99 = Series(name="p99 latency at that rate", unit="us")
    bench = Series(name="pgbench, one client, 64 entities a transaction", unit="commits/s")
    config = NodeConfig(store=server.address(), store_migrate="apply")
    async with lithox.Node(data / "node", config=config) as node:
        await prepare(node)
        await closed_loop(lambda n: increment(node, n), callers=CALLERS, seconds=WARM_S)
        bare.rate(seconds=WARM_S)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            load = await closed_loop(lambda n: increment(node, n), callers=CALLERS, seconds=seconds)
            runs.add(load.rate)
            p50.add(load.p50_us)
            p99.add(load.p99_us)
            alone.add(bare.rate(seconds=seconds))
            bench.add(await asyncio.to_thread(yardstick.rate, seconds=seconds))
    bare.store.close()
    ratio = ratio_of(alone, bench)
    report(
        row=0,
        what="PostgreSQL engine, 64 callers",
        figure=alone,
        yardstick=bench,
        ratio=ratio,
        reach=f"ratio at least {REACH}",
        is_reached=ratio >= REACH,
        beside=[runs, p50, p99],
        note=f"through a node {ratio_of(runs, bench):.3f} of pgbench",
    )


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each part of a round")
    options = parser.parse_args()
    with data_directory() as data, PostgresServer(parent=DATA_PARENT) as server:
        uvloop.run(measure(data, server, rounds=options.rounds, seconds=options.seconds))


if __name__ == "__main__":
    main()

"""`make demo`: the main job on real input, against a real node, through a crash.

Theory of operation. Every file that the installed distributions list (and some more, see
`demo_records`) is sent to a `lithox serve` process as one request that changes two entities. The
records are cut in four parts, one condition each:

    alone -> beside two bad tenants -> (SIGKILL, restart) -> beside them again -> alone

so what the tenants cost is the second and third against the first and last. After the restart
every acknowledged record must be there; at the end every total must equal a direct computation.
Exit status: 0 all equal; 1 something was lost, or the node failed; 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop
from demo_check import (
    DIFFERENCES_SHOWN_MAX,
    UnansweredError,
    differences,
    find_missing,
    read_totals,
)
from demo_http import GoneError
from demo_load import Feeder, Nuisance, RefusedError, Segment
from demo_node import DemoNode, NodeFailedError
from demo_records import RECORDS_MIN, Record, Totals, collect_records, sum_up
from demo_report import Stage, print_report

EXAMPLE: Final = Path(__file__).resolve().parent.parent / "examples" / "records"
CONNECTIONS: Final = 32
CALLERS_PER_TENANT: Final = 2
ALONE_SHARE: Final = 0.3
"""Of the records, at the beginning and again at the end."""
KILL_SHARE: Final = 0.5
REPEATED_MAX: Final = 1000
"""Acknowledged records that are sent once more, to see that nothing happens twice."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What the report tells."""

    records: int = 0
    expected: Totals
    segments: list[Segment] = field(default_factory=list[Segment])
    codes: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    acknowledged: int = 0
    missing: int = 0
    unsure: int = 0
    unsure_there: int = 0
    restart_s: float = 0.0
    repeated: int = 0
    differences: list[str] = field(default_factory=list[str])


class Demo:
    """One demo on `folder`."""

    def __init__(self, folder: Path, records: list[Record], connections: int) -> None:
        self._records = records
        self._node = DemoNode(folder)
        self._stage = Stage()
        self._feeder = Feeder(connections=connections, on_progress=self._stage.advance)
        self._tenants = {
            name: Nuisance(target, callers=CALLERS_PER_TENANT)
            for name, target in (
                ("looper", "tenant/looper/one:spin"),
                ("hoarder", "tenant/hoarder/one:fill"),
            )
        }
        self.outcome = Outcome(records=len(records), expected=sum_up(records))

    async def run(self) -> None:
        """Does it all; `outcome` has the result. The node is gone afterwards, whatever happens."""
        try:
            await self._run()
        finally:
            await self._stop_tenants()
            await self._node.stop()

    async def _run(self) -> None:
        records, outcome = self._records, self.outcome
        alone, half = int(ALONE_SHARE * len(records)), int(KILL_SHARE * len(records))
        seconds = await self._node.start()
        self._stage.say(f"a node runs (pid {self._node.pid}), ready after {seconds:.1f} s")
        await self._node.deploy(EXAMPLE)
        with self._stage.progress(len(records)):
            await self._feed(records[:alone], "alone")
            self._start_tenants()
            # What is cut off here is counted by `_recover`, so the second part goes to the end.
            await self._feed(
                records[alone : len(records) - alone],
                "beside two bad tenants",
                on_count=(half - alone, self._kill),
            )
            await self._recover()
            self._start_tenants()
            rest, self._feeder.unsure = self._feeder.unsure, []
            await self._feed(rest, "the same, after the restart")
            await self._stop_tenants()
            await self._feed(records[len(records) - alone :], "alone again")
        repeated = self._feeder.acknowledged[:: max(1, len(records) // REPEATED_MAX)]
        outcome.repeated = len(repeated)
        await self._feeder.feed(self._node.door("loader"), repeated, "repeated")
        outcome.codes = {name: dict(one.codes) for name, one in self._tenants.items()}
        with self._stage.progress(len(outcome.expected.references)):
            self._stage.title("asking for every total")
            doors = self._node.door("loader"), self._node.door("operator")
            found = await read_totals(*doors, outcome.expected, self._stage.advance)
        outcome.differences = differences(outcome.expected, found)

    async def _feed(
        self,
        records: list[Record],
        name: str,
        on_count: tuple[int, Callable[[], None]] | None = None,
    ) -> None:
        self._stage.title(f"feeding: {name}")
        door = self._node.door("loader")
        segment = await self._feeder.feed(door, records, name, on_count=on_count)
        self.outcome.segments.append(segment)

    def _kill(self) -> None:
        self._stage.say(f"SIGKILL to {self._node.pid}, with requests in flight")
        self._node.kill()

    async def _recover(self) -> None:
        """Starts the node again and asks it for every record it has acknowledged."""
        outcome, feeder = self.outcome, self._feeder
        status = await self._node.wait()
        await self._stop_tenants()
        outcome.restart_s = await self._node.start()
        self._stage.say(
            f"ended by signal {-status}; started again on the same data in "
            f"{outcome.restart_s:.1f} s"
        )
        door = self._node.door("loader")
        outcome.acknowledged = len(feeder.acknowledged)
        outcome.missing = len(await find_missing(door, feeder.acknowledged))
        flying = feeder.unsure[: feeder.unsure_sent]
        outcome.unsure = len(flying)
        outcome.unsure_there = len(flying) - len(await find_missing(door, flying))

    def _start_tenants(self) -> None:
        for name, tenant in self._tenants.items():
            tenant.start(self._node.door(name))

    async def _stop_tenants(self) -> None:
        for tenant in self._tenants.values():
            await tenant.stop()


def parse_arguments() -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description="The main job of lithox on real input.")
    parser.add_argument(
        "--records", type=int, default=RECORDS_MIN, help=f"how many (default {RECORDS_MIN} or more)"
    )
    parser.add_argument(
        "--connections", type=int, default=CONNECTIONS, help=f"how many (default {CONNECTIONS})"
    )
    return parser.parse_args()


async def run_demo(demo: Demo) -> None:
    """Runs `demo`; SIGTERM and SIGINT end it in order, so that nothing is left behind."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await demo.run()


def main() -> int:
    """Runs the demo; returns the exit status."""
    options = parse_arguments()
    print("lithox demo: collecting what is installed here, with hashes and sizes", flush=True)
    records = collect_records(options.records)
    with tempfile.TemporaryDirectory(prefix="lithox-demo-") as folder:
        demo = Demo(Path(folder), records, options.connections)
        outcome = demo.outcome
        print(
            f"{len(records):,} records of {len(outcome.expected.files)} distributions, "
            f"{len(outcome.expected.references):,} different contents",
            flush=True,
        )
        try:
            uvloop.run(run_demo(demo))
        except asyncio.CancelledError:
            print("interrupted; nothing is left behind", file=sys.stderr)
            return 130
        except (GoneError, NodeFailedError, RefusedError, UnansweredError) as error:
            print(f"the demo failed: {error}", file=sys.stderr)
            return 1
    print_report(outcome)
    for line in outcome.differences[:DIFFERENCES_SHOWN_MAX]:
        print(f"  {line}")
    return 1 if outcome.differences or outcome.missing else 0


if __name__ == "__main__":
    sys.exit(main())

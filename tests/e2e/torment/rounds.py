"""Torment: load on a node that is ended badly again and again; then the reckoning.

An *epoch* is a fresh data directory and some rounds on it. A round starts the node, lets all
clients ask, and ends it once a drawn number of requests has been acknowledged. What was in flight
is asked again, with its id, as the first thing of the next round. After the last round everything
pending is brought to its end on a node that is left alone, and the books are compared.

Invariants: everything drawn comes from the epoch's seed; the load is bounded by clients and by
acknowledgements, not by time; no process outlives its epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import lithox
from lithox.errors import PeerProtocolError, PeerUnreachable
from lithox.model.request import Answer
from tests.e2e.node.serving import COMMAND, surroundings
from tests.e2e.torment.jobs import Bank, Cells, Job, Source, Tpcc
from tests.e2e.torment.nodes import EmbeddedNode
from tests.e2e.torment.shop import Shop

CLIENTS = 8
ROUND_SECONDS_MAX = 120
RETRY_SECONDS = 0.05
AGAIN = {
    "store.unavailable",
    "transaction.conflict",
    "request.overloaded",
    "request.deadline_passed",
    "request.not_available",
    "message.queue_full",
    "guest.out_of_wall",
}
"""Answers after which the same request may be asked again: nothing has happened, or it is done and
the answer recorded. A run may be out of time where many others share the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an epoch is to be like.

    Attributes:
        acknowledgements: how many a round has at least and at most before it ends.
    """

    seed: int
    rounds: int
    acknowledgements: tuple[int, int]


MakeNode = Callable[[Path, Random], EmbeddedNode]


@dataclass(slots=True, kw_only=True)
class Counts:
    """What an epoch has seen."""

    rounds: int = 0
    acknowledged: int = 0
    refused: int = 0
    interrupted: int = 0
    """Requests in flight when the node ended."""
    repeated: int = 0
    """Requests asked again with their id."""
    operations: int = 0
    """Operations of the judged history."""
    slowest_ms: int = 0
    """The longest that anybody waited for an answer."""

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} acknowledged, {self.refused} refused, "
            f"{self.interrupted} cut off, {self.repeated} asked again, "
            f"{self.operations} operations judged, slowest answer {self.slowest_ms} ms"
        )


class Torment:
    """One epoch."""

    def __init__(self, node: EmbeddedNode, random: Random, name: str) -> None:
        self.node = node
        self.random = random
        self.counts = Counts()
        self.cells = Cells(random)
        self.sources: Sequence[Source] = (self.cells, Bank(random), Tpcc(random), Shop(random))
        self._name = name
        self._asked = 0
        self._left = 0
        self._pending: dict[int, Job] = {}
        self._disturb_at = -1
        self._half_way = asyncio.Event()
        self._over = asyncio.Event()

    # -- clients ----------------------------------------------------------------------------

    def _draw(self, number: int) -> Job:
        self._asked += 1
        source = self.random.choice(self.sources)
        return source.draw(number, f"{self._name}.{self._asked}")

    async def _serve_client(self, number: int, *, is_last: bool) -> None:
        """Asks one thing after another until the node is gone, or all is answered."""
        async with lithox.Client(self.node.url) as client:
            while not (is_last and self._over.is_set() and number not in self._pending):
                job = self._pending.get(number)
                if job is None:
                    job = self._pending[number] = self._draw(number)
                else:
                    self.counts.repeated += 1
                asked_ns = time.monotonic_ns()
                try:
                    answer = await job.put(client)
                except (PeerUnreachable, PeerProtocolError):
                    assert not is_last, "the node was left alone"
                    self._cut_off(number, job)
                    return
                waited_ms = (time.monotonic_ns() - asked_ns) // 1_000_000
                self.counts.slowest_ms = max(self.counts.slowest_ms, waited_ms)
                await self._hear(number, job, answer)

    def _cut_off(self, number: int, job: Job) -> None:
        self.counts.interrupted += 1
        if job.request_id is None and not job.is_read:
            # Nobody will ever know; the history says so.
            del self._pending[number]

    async def _hear(self, number: int, job: Job, answer: Answer) -> None:
        """Notes an answer, or keeps the job to be asked again."""
        code = None if answer.error is None else getattr(answer.error, "code", "internal")
        # A refusal that a handler passes on, of what it asked for itself, arrives as the handler's.
        if str(code).removeprefix("app.") in AGAIN:
            if job.request_id is None and not job.is_read:
                # Unknown: a request that a handler made may stay done though the handler lost.
                del self._pending[number]
            await self._pause()
            return
        del self._pending[number]
        if code is None:
            job.source.done(job, answer.value)
            self.counts.acknowledged += 1
        else:
            assert str(code).startswith("app."), f"{job.entity}:{job.handler}: {answer.error!r}"
            job.source.refused(job, str(code))
            self.counts.refused += 1
        self._left -= 1
        if self._left == self._disturb_at:
            self._half_way.set()
        if self._left == 0:
            self._over.set()

    async def _pause(self) -> None:
        """Gives the node a moment before it is asked again."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), RETRY_SECONDS)

    # -- rounds -----------------------------------------------------------------------------

    async def begin(self) -> None:
        """Makes the first state, on a node that is then ended well."""
        await asyncio.to_thread(self.node.start)
        async with lithox.Client(self.node.url) as client:
            # Again, for stores that are not in the data directory.
            for source in self.sources:
                await client.deploy(source.bundle)
                await source.begin(client)
        await asyncio.to_thread(self.node.stop)

    async def round(self, acknowledgements: int) -> None:
        """Ends the node badly after so many answers."""
        await asyncio.to_thread(self.node.start)
        self._disturb_at = acknowledgements // 2
        async with asyncio.timeout(ROUND_SECONDS_MAX):
            ends = self._ask_all(acknowledgements, is_last=False)
            await self._half_way.wait()
            await asyncio.to_thread(self.node.disturb)
            await self._over.wait()
            self.node.kill()
            await ends
        await asyncio.to_thread(self.node.bury)
        self.counts.rounds += 1

    async def finish(self, acknowledgements: int) -> None:
        """Lets everything come to its end, and compares."""
        await asyncio.to_thread(self.node.start)
        async with asyncio.timeout(ROUND_SECONDS_MAX):
            await self._ask_all(acknowledgements, is_last=True)
        assert not self._pending
        async with lithox.Client(self.node.url) as client:
            for source in self.sources:
                await source.check(client)
        self.counts.operations = self.cells.operations
        await asyncio.to_thread(self.node.stop)

    def _ask_all(self, acknowledgements: int, *, is_last: bool) -> asyncio.Future[list[None]]:
        self._left = acknowledgements
        self._over.clear()
        self._half_way.clear()
        clients = (self._serve_client(number, is_last=is_last) for number in range(CLIENTS))
        return asyncio.gather(*clients)


def deploy(folder: Path) -> Path:
    """Returns a data directory that a node has been on, so that others start quickly. Blocks."""
    data = folder / "deployed"
    subprocess.run(
        [*COMMAND, "deploy", str(Cells.bundle), "--data", str(data), "--json"],
        check=True,
        stdout=subprocess.DEVNULL,
        env=surroundings(),
    )
    return data


async def run_epoch(
    make_node: MakeNode,
    data: Path,
    plan: Plan,
    *,
    on_round: Callable[[int, Counts], None] = lambda number, counts: None,
) -> Counts:
    """Torments a node on `data`, which nobody else holds; returns what was seen.

    Raises:
        AssertionError: something acknowledged was lost, something happened twice, an invariant
            broke, or no serial order explains what clients saw. The history is kept beside `data`.
    """
    random = Random(plan.seed)
    torment = Torment(make_node(data, Random(f"{plan.seed}/node")), random, f"s{plan.seed}")
    try:
        await torment.begin()
        for number in range(1, plan.rounds + 1):
            await torment.round(random.randint(*plan.acknowledgements))
            on_round(number, torment.counts)
        await torment.finish(plan.acknowledgements[0])
    except BaseException:
        torment.cells.save(data.with_name(f"{data.name}.history.jsonl"))
        raise
    finally:
        torment.node.close()
    return torment.counts

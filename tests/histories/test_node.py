"""Many clients of a real node, over HTTP: what they saw is strictly serializable."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

import lithox
from tests.e2e.node.serving import make_data, serving
from tests.histories import broken_node, workloads
from tests.histories.broken_node import FAULTS
from tests.histories.judging import assert_possible
from tests.histories.mail import Sent, find_disorder, find_missing
from tests.histories.records import Append, Read, Recorder

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CLIENTS = 8
OPERATIONS = 100
"""Of each client."""
POLLS_MAX = 30
"""How often everything is read until the last message has arrived."""


@dataclass(slots=True)
class Visit:
    """Clients of one node and what they have seen."""

    url: str
    cells: workloads.Cells
    recorder: Recorder = field(default_factory=Recorder)
    sent: list[Sent] = field(default_factory=list[Sent])
    lists: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])

    async def ask(self, client: lithox.Client, number: int, asked: workloads.Asked) -> None:
        """Asks once and records how it ended."""
        operation = self.recorder.invoke(number, asked.steps)
        begun_ns = time.monotonic_ns()
        answer = await asked.put(client, None)
        assert answer.error is None, answer.error
        step = asked.steps[0]
        if asked.way is workloads.Way.MAILED:
            assert isinstance(step, Append)
            told_ns = time.monotonic_ns()
            self.sent.append(Sent(asked.via, step.key, step.value, begun_ns, told_ns))
            return
        seen = asked.observe(answer.value)
        self.recorder.succeed(operation, seen)
        if isinstance(seen[0], Read) and seen[0].values is not None:
            self.lists[seen[0].key] = seen[0].values

    async def work(self) -> None:
        """Lets every client ask at once, each on a connection of its own, then reads all keys."""

        async def one(number: int) -> None:
            async with lithox.Client(self.url) as client:
                for _ in range(OPERATIONS):
                    await self.ask(client, number, self.cells.draw())

        await asyncio.gather(*map(one, range(CLIENTS)))
        async with lithox.Client(self.url) as client:
            for _ in range(POLLS_MAX):
                for asked in self.cells.last_reads():
                    await self.ask(client, CLIENTS, asked)
                if not find_missing(self.sent, self.lists):
                    break

    def judge(self) -> None:
        """Fails unless what was seen was possible."""
        assert_possible(self.recorder.history(), self.cells.plain_keys())
        assert find_missing(self.sent, self.lists) == []
        assert find_disorder(self.sent, self.lists) == []


def make_cells(folder: Path) -> Path:
    """Returns a data directory with the handlers deployed."""
    modules = {path.name: path.read_text() for path in workloads.BUNDLE.glob("*.lua")}
    manifest = (workloads.BUNDLE / "lithox.toml").read_text()
    return make_data(folder, manifest=manifest, modules=modules)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_clients_see_is_strictly_serializable(seed: int, tmp_path: Path) -> None:
    """Lists and registers, alone and in groups, by every way in, on a few hot entities."""
    with serving(make_cells(tmp_path)) as served:
        visit = Visit(served.url, workloads.Cells(Random(seed)))
        asyncio.run(visit.work())
    visit.judge()
    assert visit.sent


@pytest.mark.parametrize("fault", FAULTS)
def test_a_node_that_forgets_to_validate_is_found_out(fault: str, tmp_path: Path) -> None:
    """The same work on a node with a planted fault is refused: the test above can fail."""
    command = [sys.executable, broken_node.__file__, fault]
    with serving(make_cells(tmp_path), command=command) as served:
        visit = Visit(served.url, workloads.Cells(Random(1)))
        asyncio.run(visit.work())
    with pytest.raises(AssertionError):
        visit.judge()

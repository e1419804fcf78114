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
from tests.conformance.store.worlds import session_server
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
CONFLICTS = {"transaction.conflict", "app.transaction.conflict"}
"""What a client is told when another node was first; the second when a handler passed it on."""
CONFLICTS_MAX = 400
"""Of all clients: conflicts with another node that a node could not settle by itself."""
POLLS_MAX = 1_000
"""How often everything is read until the last message has arrived."""


@dataclass(slots=True)
class Visit:
    """Clients and what they have seen.

    Attributes:
        urls: nodes on one store; clients are spread over them.
    """

    urls: tuple[str, ...]
    cells: workloads.Cells
    recorder: Recorder = field(default_factory=Recorder)
    sent: list[Sent] = field(default_factory=list[Sent])
    lists: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    conflicts: int = 0
    polls_max: int = POLLS_MAX

    async def ask(self, client: lithox.Client, number: int, asked: workloads.Asked) -> None:
        """Asks once and records how it ended."""
        operation = self.recorder.invoke(number, asked.steps)
        begun_ns = time.monotonic_ns()
        # An id, since a request that a handler has made stays done though the handler lost.
        request_id = None if asked.is_read else f"r{operation}"
        answer = await asked.put(client, request_id)
        while answer.error is not None and answer.error.code in CONFLICTS:
            self.conflicts += 1
            assert self.conflicts <= CONFLICTS_MAX
            answer = await asked.put(client, request_id)
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
            async with lithox.Client(self.urls[number % len(self.urls)]) as client:
                for _ in range(OPERATIONS):
                    await self.ask(client, number, self.cells.draw())

        await asyncio.gather(*map(one, range(CLIENTS)))
        async with lithox.Client(self.urls[0]) as client:
            for _ in range(self.polls_max):
                for asked in self.cells.last_reads():
                    await self.ask(client, CLIENTS, asked)
                if not find_missing(self.sent, self.lists):
                    break

    def judge(self) -> None:
        """Fails unless what was seen was possible."""
        assert_possible(self.recorder.history(), self.cells.plain_keys())
        assert find_missing(self.sent, self.lists) == []
        assert find_disorder(self.sent, self.lists) == []


SHORT_QUANTA = "[scheduler]\nquanta_fuel = [5_000, 10_000]\n"
"""Runs are interrupted all the time; else most of them begin and commit in one slice."""
VISITS_MAX = 6
"""Each meets a planted fault nearly always."""


def make_cells(folder: Path) -> Path:
    """Returns a data directory with the handlers deployed."""
    modules = {path.name: path.read_text() for path in workloads.BUNDLE.glob("*.lua")}
    manifest = (workloads.BUNDLE / "lithox.toml").read_text()
    return make_data(folder, manifest=manifest, modules=modules)


def make_config(folder: Path) -> Path:
    """Returns a node's configuration under which runs meet each other."""
    path = folder / "node.toml"
    path.write_text(SHORT_QUANTA)
    return path


async def deploy(url: str) -> None:
    """Publishes the handlers."""
    async with lithox.Client(url) as client:
        await client.deploy(workloads.BUNDLE)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_clients_see_is_strictly_serializable(seed: int, tmp_path: Path) -> None:
    """Lists and registers, alone and in groups, by every way in, on a few hot entities."""
    config = str(make_config(tmp_path))
    with serving(make_cells(tmp_path), "--config", config) as served:
        visit = Visit((served.url,), workloads.Cells(Random(seed)))
        asyncio.run(visit.work())
    visit.judge()
    assert visit.sent
    assert visit.conflicts == 0, "a node settles its own conflicts"


@pytest.mark.patches_source
@pytest.mark.parametrize("fault", FAULTS)
def test_a_node_that_forgets_to_validate_is_found_out(fault: str, tmp_path: Path) -> None:
    """The same work on a node with a planted fault is refused: the test above can fail.

    Whether clients meet the fault in one visit is up to the machine, so a few visits may be made.
    """
    command = [sys.executable, broken_node.__file__, fault]
    for seed in range(1, 1 + VISITS_MAX):
        folder = tmp_path / str(seed)
        folder.mkdir()
        config = str(make_config(folder))
        with serving(make_cells(folder), "--config", config, command=command) as served:
            visit = Visit((served.url,), workloads.Cells(Random(seed)), polls_max=10)
            asyncio.run(visit.work())
        try:
            visit.judge()
        except AssertionError:
            return
    pytest.fail(f"{VISITS_MAX} visits found nothing wrong with a node that does not validate")


def test_two_nodes_on_one_server_are_one(tmp_path: Path) -> None:
    """Clients of two nodes that share a PostgreSQL database see one strictly serializable store."""
    address = session_server().address()
    config = tmp_path / "node.toml"
    config.write_text(f'store = "{address}"\nstore_schema = "histories"\nstore_migrate = "apply"\n')
    with serving(tmp_path / "one", "--config", str(config)) as one:
        asyncio.run(deploy(one.url))
        # The other node has it from its start; one that runs already asks once a second.
        with serving(tmp_path / "two", "--config", str(config)) as two:
            visit = Visit((one.url, two.url), workloads.Cells(Random(3)), polls_max=1)
            asyncio.run(visit.work())
    # Messages may wait for two minutes until the other node takes them over: not judged here.
    assert_possible(visit.recorder.history(), visit.cells.plain_keys())

"""Many clients of a real node, over HTTP: what they saw is strictly serializable."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random

import pytest

import lithox
from tests.e2e.node.serving import make_data, serving
from tests.histories import broken_node, workloads
from tests.histories.broken_node import FAULTS
from tests.histories.judging import assert_possible
from tests.histories.records import Recorder, Step

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CLIENTS = 8
OPERATIONS = 100
"""Of each client."""


async def ask(client: lithox.Client, recorder: Recorder, number: int, steps: list[Step]) -> None:
    """Asks once and records how it ended."""
    call = workloads.call_for(steps)
    operation = recorder.invoke(number, steps)
    answer = await client.call(call.entity, call.handler, *call.args)
    recorder.succeed(operation, workloads.observe(steps, answer))


async def work(url: str, recorder: Recorder, cells: workloads.Cells) -> None:
    """Lets every client ask at once, each on a connection of its own, then reads all keys."""

    async def one(number: int) -> None:
        async with lithox.Client(url) as client:
            for _ in range(OPERATIONS):
                await ask(client, recorder, number, cells.draw())

    await asyncio.gather(*map(one, range(CLIENTS)))
    async with lithox.Client(url) as client:
        for steps in cells.last_reads():
            await ask(client, recorder, CLIENTS, steps)


def make_cells(folder: Path) -> Path:
    """Returns a data directory with the handlers deployed."""
    modules = {path.name: path.read_text() for path in workloads.BUNDLE.glob("*.lua")}
    manifest = (workloads.BUNDLE / "lithox.toml").read_text()
    return make_data(folder, manifest=manifest, modules=modules)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_clients_see_is_strictly_serializable(seed: int, tmp_path: Path) -> None:
    """Lists and registers, alone and in groups, whole and by ranges, on a few hot entities."""
    recorder, cells = Recorder(), workloads.Cells(Random(seed))
    with serving(make_cells(tmp_path)) as served:
        asyncio.run(work(served.url, recorder, cells))
    assert_possible(recorder.history(), cells.plain_keys())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_node_that_forgets_to_validate_is_found_out(fault: str, tmp_path: Path) -> None:
    """The same work on a node with a planted fault is refused: the test above can fail."""
    recorder, cells = Recorder(), workloads.Cells(Random(1))
    command = [sys.executable, broken_node.__file__, fault]
    with serving(make_cells(tmp_path), command=command) as served:
        asyncio.run(work(served.url, recorder, cells))
    with pytest.raises(AssertionError):
        assert_possible(recorder.history(), cells.plain_keys())

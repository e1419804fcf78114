"""Many clients of a real node, over HTTP: what they saw is strictly serializable."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

import lithox
from tests.e2e.node.serving import make_data, serving
from tests.histories import workloads
from tests.histories.judging import assert_possible
from tests.histories.records import Recorder, Step

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CLIENTS = 8
OPERATIONS = 150
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


@pytest.mark.parametrize("seed", [1, 2])
def test_what_clients_see_is_strictly_serializable(seed: int, tmp_path: Path) -> None:
    """Lists and registers, alone and in groups, whole and by ranges, on a few hot entities."""
    data = make_data(
        tmp_path,
        manifest=workloads.MANIFEST,
        modules={"cells.lua": workloads.SOURCE.read_text()},
    )
    recorder, cells = Recorder(), workloads.Cells(Random(seed))
    with serving(data) as served:
        asyncio.run(work(served.url, recorder, cells))
    assert_possible(recorder.history(), cells.plain_keys())

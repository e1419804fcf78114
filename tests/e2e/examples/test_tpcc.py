"""TPC-C's new-order and payment: the benchmark's consistency conditions, at rest and under load."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

import lithox
from examples.tpcc import terminals
from lithox.security.identities import LOCAL_OPERATOR
from tests.e2e.node.serving import make_data, serving
from tests.repo.checkout import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FOLDER = ROOT / "examples" / "tpcc"
SCALE = terminals.Scale(warehouses=2, districts=2, customers=4, items=30)
TERMINALS = 6
TURNS = 20


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a data directory with the handlers deployed."""
    modules = {path.name: path.read_text() for path in FOLDER.glob("*.lua")}
    manifest = (FOLDER / "lithox.toml").read_text()
    return make_data(tmp_path_factory.mktemp("tpcc"), manifest=manifest, modules=modules)


async def fill(client: lithox.Client) -> None:
    """Makes the first state."""
    for call in terminals.fill(SCALE):
        await client.call(call.entity, call.handler, *call.args)


async def sit_at(client: lithox.Client, number: int) -> list[str]:
    """Works at one terminal; returns the codes of refusals."""
    terminal = terminals.Terminal(Random(number), SCALE)
    codes: list[str] = []
    for _ in range(TURNS):
        call = terminal.draw()
        try:
            await client.call(call.entity, call.handler, *call.args)
        except lithox.LithoxError as error:
            codes.append(error.code)
    return codes


def test_the_conditions_hold_under_load_and_at_rest(deployed: Path) -> None:
    """Asked in the middle of everything and at the end, nothing is out of balance."""

    async def story(url: str) -> None:
        async with lithox.Client(url) as client:
            await fill(client)
            work = asyncio.gather(*(sit_at(client, number) for number in range(TERMINALS)))
            looks = 0
            while not work.done():
                assert await terminals.find_problems(client, SCALE) == []
                looks += 1
            refusals = [code for codes in await work for code in codes]
            assert looks > 1
            assert set(refusals) <= {"app.unused_item"}
            assert await terminals.find_problems(client, SCALE) == []
            assert await terminals.find_unbalanced(client, SCALE) == []
            checks = [await client.call(path, "check") for path in SCALE.district_paths()]
            assert sum(found["orders"] for found in checks) > 0
            assert sum(found["history"] for found in checks) > 0

    with serving(deployed) as served:
        asyncio.run(story(served.url))


def test_an_order_for_what_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    """The last line's item does not exist: no number is used, no stock taken."""

    async def story() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await node.deploy(FOLDER)
            for call in terminals.fill(SCALE):
                await node.call(call.entity, call.handler, *call.args)
            lines = [{"item": i, "quantity": 1, "from": "tpcc/1"} for i in (1, SCALE.items + 1)]
            district = "tpcc/1/district/1"
            before = await node.call(district, "check")
            with pytest.raises(lithox.LithoxError, match="there is no item 31"):
                await node.call(district, "new_order", 1, lines)
            assert await node.call(district, "check") == before
            assert (await node.call("tpcc/1/stock", "check"))["sold"] == 0
            made = await node.call(district, "new_order", 1, lines[:1])
            assert made["order"] == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("paid", 1, "9: history: 0 and 1"),
        ("next_order", 5, "2: newest order: 4 and 0"),
        ("new/00000007", True, "2: newest new order: 0 and 7"),
        ("line/00000001/01", {"quantity": 1}, "4: lines: 0 and 1"),
    ],
)
def test_the_conditions_can_fail(key: str, value: object, told: str, tmp_path: Path) -> None:
    """State put out of balance by hand is named by the condition that it breaks."""

    async def story() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await node.deploy(FOLDER)
            for call in terminals.fill(SCALE):
                await node.call(call.entity, call.handler, *call.args)
            await node.admin_put_state("tpcc/1/district/1", key, value, LOCAL_OPERATOR)
            problems = await terminals.find_problems(node, SCALE)
            assert f"tpcc/1/district/1: {told}" in problems
            assert ("tpcc/1: 1: paid: 0 and 1" in problems) is (key == "paid")

    asyncio.run(story())

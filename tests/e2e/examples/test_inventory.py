"""The inventory: nothing sold twice, holds that end by themselves, one parcel for a paid order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import lithox
from tests.repo.checkout import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FOLDER = ROOT / "examples" / "inventory"
LONG_MS = 3_600_000
POLLS_MAX = 5_000


async def wait_for(node: lithox.Node, entity: str, handler: str, wanted: Any) -> None:
    """Asks until the answer is `wanted`; each question takes its time."""
    found = None
    for _ in range(POLLS_MAX):
        found = await node.call(entity, handler)
        if found == wanted:
            return
    raise AssertionError(f"{entity}: {found}, not {wanted}")


async def code_of(node: lithox.Node, *call: Any) -> str:
    """Returns the code of the error a call ends with."""
    with pytest.raises(lithox.LithoxError) as caught:
        await node.call(*call)
    return caught.value.code


def test_an_order_holds_all_of_its_items_or_none(tmp_path: Path) -> None:
    """One item sold out: the other is not held; nothing is placed."""

    async def story() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await node.deploy(FOLDER)
            await node.call("stock/apples", "receive", 5)
            await node.call("stock/pears", "receive", 1)
            wanted = {"apples": 2, "pears": 2}
            assert await code_of(node, "order/1", "place", wanted, LONG_MS) == "app.sold_out"
            assert await node.call("stock/apples", "available") == 5
            assert (await node.call("order/1", "show"))["status"] == "new"
            await node.call("order/1", "place", {"apples": 5}, LONG_MS)
            assert await code_of(node, "order/2", "place", {"apples": 1}, LONG_MS) == "app.sold_out"

    asyncio.run(story())


def test_a_paid_order_is_shipped_once(tmp_path: Path) -> None:
    """Paying takes the items and packs one parcel, of which the order hears."""

    async def story() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await node.deploy(FOLDER)
            await node.call("stock/apples", "receive", 5)
            for number in (1, 2):
                await node.call(f"order/{number}", "place", {"apples": 2}, LONG_MS)
                await node.call(f"order/{number}", "pay", request_id=f"p{number}")
                await node.call(f"order/{number}", "pay", request_id=f"p{number}")
                shipped = {"status": "shipped", "parcel": number}
                await wait_for(node, f"order/{number}", "show", shipped)
            assert await node.call("shipping/main", "count") == 2
            assert await code_of(node, "order/1", "cancel") == "app.is_shipped"
            found = await node.call("stock/apples", "check")
            assert (found["on_hand"], found["sold"], found["held"]) == (1, 4, 0)

    asyncio.run(story())


def test_a_hold_ends_by_itself(tmp_path: Path) -> None:
    """Nobody pays: the items come back, and the order cannot be paid any more."""

    async def story() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await node.deploy(FOLDER)
            await node.call("stock/apples", "receive", 5)
            await node.call("order/1", "place", {"apples": 5}, 1)
            await wait_for(node, "stock/apples", "available", 5)
            assert await code_of(node, "order/1", "pay") == "app.expired"
            assert (await node.call("stock/apples", "check"))["expired"] == 1

    asyncio.run(story())


def test_a_released_hold_does_not_expire(tmp_path: Path) -> None:
    """Cancelling gives the items back and cancels the timer."""

    async def story() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await node.deploy(FOLDER)
            await node.call("stock/apples", "receive", 5)
            await node.call("order/1", "place", {"apples": 5}, 300)
            await node.call("order/1", "cancel")
            # A later timer of the same entity has run, so the first one would have, too.
            await node.call("order/2", "place", {"apples": 1}, 301)
            await wait_for(node, "stock/apples", "available", 5)
            found = await node.call("stock/apples", "check")
            assert (found["expired"], found["held"]) == (1, 0)

    asyncio.run(story())


def test_a_hold_ends_though_the_node_was_down(tmp_path: Path) -> None:
    """Its time comes while nobody is there: it runs at the next start."""

    async def story() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await node.deploy(FOLDER)
            await node.call("stock/apples", "receive", 5)
            await node.call("order/1", "place", {"apples": 5}, 400)
            assert await node.call("stock/apples", "available") == 0
        async with lithox.Node(tmp_path / "data") as node:
            await wait_for(node, "stock/apples", "available", 5)

    asyncio.run(story())

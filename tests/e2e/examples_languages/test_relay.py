"""State belongs to the entity, not to the language that wrote it."""

from __future__ import annotations

import asyncio
from itertools import product
from pathlib import Path

import pytest

from tests import built_guests
from tests.e2e.examples_languages.application import (
    LANGUAGES,
    START_MS,
    SetClock,
    Shop,
    folder_of,
    open_shop,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PAIRS = list(product(LANGUAGES, repeat=2))
PAY_WITHIN_MS = 15 * 60 * 1000


async def _begin(shop: Shop) -> None:
    await shop.call("limit/api", "configure", 10, 2)
    await shop.call("limit/api", "take", 7)
    await shop.call("document/plan", "put", "one", 0)
    await shop.call("document/plan", "put", "two", 1)
    await shop.call("document/plan", "restore", 1, 2)
    await shop.call("stock/apples", "receive", 9)
    for order in ("order/1", "order/2"):
        await shop.call(order, "create", "ann", "apples", 2)
    await shop.call("order/1", "pay", request_id="p-1")


async def _go_on(shop: Shop) -> None:
    shop.pass_ms(500)
    yes = {"allowed": True, "remaining": 0, "retry_after_ms": 0}
    assert await shop.call("limit/api", "take", 4) == yes
    assert await shop.call("document/plan", "put", "three", 3) == 4
    told = {"author": "operator", "saved_ms": START_MS}
    assert await shop.call("document/plan", "history") == {
        "revisions": [
            {"revision": 1, **told},
            {"revision": 2, **told},
            {"revision": 3, **told, "restored_from": 1},
            {"revision": 4, **told, "saved_ms": START_MS + 500},
        ],
        "more": False,
    }
    assert (await shop.call("document/plan", "get", 3))["text"] == "one"
    assert await shop.call("order/1", "refund") == "refunded"
    # The timer was set by the other language.
    shop.pass_ms(PAY_WITHIN_MS)
    await shop.wait_until(lambda count: count == 9, "stock/apples", "available")
    assert (await shop.call("order/1", "show"))["steps"] == ["create", "pay", "refund"]
    assert (await shop.call("order/2", "show"))["steps"] == ["create", "expire"]
    await shop.wait_until(lambda lines: len(lines) == 5, "notices/ann", "read")


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=[f"{one}-{other}" for one, other in PAIRS])
def test_one_language_goes_on_where_another_was(tmp_path: Path, one: str, other: str) -> None:
    """Deployed over the other's entities, it reads all of what that has written."""
    built_guests.require()

    async def story() -> None:
        clock = SetClock()
        async with open_shop(tmp_path / "data", clock) as shop:
            await shop.node.deploy(folder_of(one))
            await _begin(shop)
            await shop.node.deploy(folder_of(other))
            await _go_on(shop)

    asyncio.run(story())

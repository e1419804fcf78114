"""Orders, their stock and what customers are told promise the same in every language."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

import lithox
from tests.e2e.examples_languages.application import Shop, Tell

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PAY_WITHIN_MS = 15 * 60 * 1000
KEPT_MS = 24 * 3_600_000
COUNT_MAX = 1_000
STOCK_MAX = 1_000_000

PATHS: dict[str, list[str]] = {
    "new": [],
    "created": ["create"],
    "paid": ["create", "pay"],
    "shipped": ["create", "pay", "ship"],
    "delivered": ["create", "pay", "ship", "deliver"],
    "cancelled": ["create", "cancel"],
    "refunded": ["create", "pay", "refund"],
}
"""How an order comes to each status."""
ALLOWED = {
    ("created", "pay"): "paid",
    ("paid", "ship"): "shipped",
    ("shipped", "deliver"): "delivered",
    ("created", "cancel"): "cancelled",
    ("paid", "refund"): "refunded",
    ("delivered", "refund"): "refunded",
}
EVENTS = ("pay", "ship", "deliver", "cancel", "refund")


async def bring(shop: Shop, order: str, events: list[str]) -> None:
    """Makes `events` of an order for two apples of ann's."""
    for event in events:
        args = ("ann", "apples", 2) if event == "create" else ()
        await shop.call(order, event, *args)


async def wait_told(shop: Shop, order: str, *statuses: str) -> None:
    """Waits until ann has been told `statuses` of `order`; lines of others may stand between."""
    wanted = told(*((order, status) for status in statuses))
    await shop.wait_until(
        lambda lines: [line for line in lines if line["order"] == order] == wanted,
        "notices/ann",
        "read",
    )


def told(*lines: tuple[str, str]) -> list[dict[str, str]]:
    """Returns the notices of (order, status)."""
    return [{"order": order, "status": status} for order, status in lines]


def test_only_the_transitions_of_the_table_happen(tell: Tell) -> None:
    """Every event in every status: it leads where it should, or is refused and changes nothing."""

    async def story(shop: Shop) -> None:
        await shop.call("stock/apples", "receive", 1_000)
        numbers = count(1)
        for status, path in PATHS.items():
            for event in EVENTS:
                order = f"order/{next(numbers)}"
                await bring(shop, order, path)
                before = await shop.call(order, "show")
                assert before["status"] == status
                wanted = ALLOWED.get((status, event))
                if wanted is not None:
                    assert await shop.call(order, event) == wanted
                    after = await shop.call(order, "show")
                    steps = [*before["steps"], event]
                    assert after == {**before, "status": wanted, "steps": steps}
                else:
                    error = await shop.fail(order, event)
                    assert error.code == "app.not_allowed"
                    assert str(error) == f"{order} is {status}: no {event}"
                    assert await shop.call(order, "show") == before
        again = await shop.fail("order/6", "create", "bob", "apples", 1)
        assert str(again) == "order/6 is paid: no create"

    tell(story)


def test_an_order_shows_what_was_ordered(tell: Tell) -> None:
    """Who wants how many of what; of one that does not exist, only that it is new."""

    async def story(shop: Shop) -> None:
        await shop.call("stock/apples", "receive", 5)
        assert await shop.call("order/1", "create", "ann", "apples", 2) == "created"
        shown = {"customer": "ann", "item": "apples", "count": 2}
        wanted = {**shown, "status": "created", "steps": ["create"]}
        assert await shop.call("order/1", "show") == wanted
        assert await shop.call("order/2", "show") == {"status": "new", "steps": []}

    tell(story)


def test_goods_are_reserved_and_go_back(tell: Tell) -> None:
    """Created orders hold goods; cancelled and refunded ones give back what was not shipped."""

    async def story(shop: Shop) -> None:
        await shop.call("stock/apples", "receive", 20)
        orders = {"kept": "paid", "c": "cancelled", "r": "refunded", "d": "delivered"}
        for order, status in orders.items():
            await bring(shop, f"order/{order}", PATHS[status])
        await shop.call("order/d", "refund")
        assert await shop.call("stock/apples", "available") == 20 - 2 - 2

    tell(story)


def test_what_cannot_be_reserved_is_not_ordered(tell: Tell) -> None:
    """Sold out: no order, no timer, no notice; the stock's own error reaches the caller."""

    async def story(shop: Shop) -> None:
        await shop.call("stock/apples", "receive", 3)
        error = await shop.fail("order/1", "create", "ann", "apples", 4)
        assert (error.code, str(error)) == ("app.sold_out", "of stock/apples there are 3")
        assert await shop.call("order/1", "show") == {"status": "new", "steps": []}
        assert (await shop.node.timers_list("order/1"))[0] == []
        assert await shop.call("stock/apples", "available") == 3
        # A later message of the same order has come, so the first one would have, too.
        await shop.call("order/1", "create", "ann", "apples", 3)
        await wait_told(shop, "order/1", "created")
        assert await shop.call("notices/ann", "read") == told(("order/1", "created"))

    tell(story)


def test_of_many_orders_at_once_none_is_sold_twice(tell: Tell) -> None:
    """Seven who want two each of 9: four orders, one left over."""

    async def story(shop: Shop) -> None:
        await shop.call("stock/apples", "receive", 9)
        creates = [shop.call(f"order/{n}", "create", "ann", "apples", 2) for n in range(7)]
        ends = await asyncio.gather(*creates, return_exceptions=True)
        errors = [end for end in ends if isinstance(end, lithox.LithoxError)]
        assert ends.count("created") == 4
        assert [error.code for error in errors] == ["app.sold_out"] * 3
        assert await shop.call("stock/apples", "available") == 1

    tell(story)


def test_an_order_that_nobody_pays_is_cancelled(tell: Tell) -> None:
    """When its time is over, not before; the goods go back, and paying is refused."""

    async def story(shop: Shop) -> None:
        await shop.call("stock/apples", "receive", 5)
        await shop.call("order/1", "create", "ann", "apples", 2)
        shop.pass_ms(PAY_WITHIN_MS - 1)
        await shop.call("order/2", "create", "ann", "apples", 2)
        shop.pass_ms(1)
        await wait_told(shop, "order/1", "created", "cancelled")
        assert (await shop.call("order/1", "show"))["steps"] == ["create", "expire"]
        assert (await shop.call("order/2", "show"))["steps"] == ["create"]
        assert await shop.call("stock/apples", "available") == 3
        assert await shop.code("order/1", "pay") == "app.not_allowed"

    tell(story)


def test_an_order_that_was_paid_or_cancelled_does_not_expire(tell: Tell) -> None:
    """Its timer is gone with the step that made it pointless."""

    async def story(shop: Shop) -> None:
        await shop.call("stock/apples", "receive", 6)
        for order, event in (("order/1", "pay"), ("order/2", "cancel")):
            await bring(shop, order, ["create"])
            (rows, _) = await shop.node.timers_list(order)
            assert [row["handler"] for row in rows] == ["expire"]
            await shop.call(order, event)
            assert (await shop.node.timers_list(order))[0] == []
        await bring(shop, "order/3", ["create"])
        shop.pass_ms(PAY_WITHIN_MS)
        await wait_told(shop, "order/3", "created", "cancelled")
        assert (await shop.call("order/1", "show"))["steps"] == ["create", "pay"]
        assert (await shop.call("order/2", "show"))["steps"] == ["create", "cancel"]

    tell(story)


def test_only_time_can_expire_an_order(tell: Tell) -> None:
    """A caller who asks for it is refused, whoever it is."""

    async def story(shop: Shop) -> None:
        await shop.call("stock/apples", "receive", 5)
        await bring(shop, "order/1", ["create"])
        error = await shop.fail("order/1", "expire")
        assert (error.code, str(error)) == ("app.not_allowed", "only time can expire an order")
        assert (await shop.call("order/1", "show"))["status"] == "created"

    tell(story)


def test_a_step_asked_for_twice_happens_once_however_late(tell: Tell) -> None:
    """The node's record answers within a day, the order itself after that; others are refused."""

    async def story(shop: Shop) -> None:
        await shop.call("stock/apples", "receive", 5)
        for pause_ms in (0, KEPT_MS + 1):
            shop.pass_ms(pause_ms)
            args = ("order/1", "create", "ann", "apples", 2)
            assert await shop.call(*args, request_id="c-1") == "created"
            assert await shop.call("order/1", "pay", request_id="p-1") == "paid"
        assert await shop.call("order/1", "ship", request_id="s-1") == "shipped"
        shop.pass_ms(KEPT_MS + 1)
        assert await shop.call("order/1", "pay", request_id="p-1") == "paid"
        assert await shop.code("order/1", "pay", request_id="p-2") == "app.not_allowed"
        assert await shop.code("order/1", "pay") == "app.not_allowed"
        assert await shop.code("order/1", "deliver", request_id="p-1") == "request.id_reused"
        shown = await shop.call("order/1", "show")
        assert (shown["status"], shown["steps"]) == ("shipped", ["create", "pay", "ship"])
        assert await shop.call("stock/apples", "available") == 3
        await wait_told(shop, "order/1", "created", "paid", "shipped")
        shop.pass_ms(KEPT_MS + 1)
        assert await shop.call("order/1", "deliver", request_id="p-1") == "delivered"

    tell(story)


def test_customers_are_told_each_step_once_and_in_order(tell: Tell) -> None:
    """A message leaves with its step; refused steps send none; the newest hundred are kept."""

    async def story(shop: Shop) -> None:
        await shop.call("stock/apples", "receive", 200)
        await bring(shop, "order/1", ["create", "pay"])
        await shop.code("order/1", "pay")
        await bring(shop, "order/1", ["ship", "deliver", "refund"])
        await wait_told(shop, "order/1", "created", "paid", "shipped", "delivered", "refunded")
        for number in range(2, 53):
            await bring(shop, f"order/{number}", ["create", "cancel"])

        def are_the_newest(lines: list[dict[str, str]]) -> bool:
            orders = {line["order"] for line in lines}
            return len(lines) == 100 and "order/1" not in orders

        await shop.wait_until(are_the_newest, "notices/ann", "read")

    tell(story)


def test_what_is_out_of_bounds_is_refused(tell: Tell) -> None:
    """Names are text, counts whole numbers within bounds; nothing is reserved for others."""

    async def story(shop: Shop) -> None:
        await shop.call("stock/apples", "receive", 5_000)
        for bad in (0, -1, 0.5, "two", None, True, COUNT_MAX + 1, 2**63 - 1):
            error = await shop.fail("order/1", "create", "ann", "apples", bad)
            assert error.code == "app.bad_argument", bad
            assert str(error) == f"count is a whole number from 1 to {COUNT_MAX}"
        for bad in (None, 5, True, [], {}):
            for args in ((bad, "apples", 1), ("ann", bad, 1)):
                error = await shop.fail("order/1", "create", *args)
                assert error.code == "app.bad_argument", bad
                assert str(error) == "customer and item are names"
        for bad in (0, -1, 0.5, "two", None, True, STOCK_MAX + 1, 2**63 - 1):
            for handler in ("receive", "reserve", "release"):
                error = await shop.fail("stock/apples", handler, bad)
                assert error.code == "app.bad_argument", bad
                assert str(error) == f"count is a whole number from 1 to {STOCK_MAX}"
        for args in (("ann", "a//b", 1), ("", "apples", 1)):
            # The node refuses the name when the order uses it, and the order does not catch that.
            assert await shop.code("order/1", "create", *args) == "app.request.bad_arguments"
        assert await shop.call("order/1", "show") == {"status": "new", "steps": []}
        assert await shop.call("stock/apples", "available") == 5_000

    tell(story)


def test_helpers_cannot_be_called_from_outside(tell: Tell) -> None:
    """What a module uses itself is no handler, by whatever name."""

    async def story(shop: Shop) -> None:
        refusals = {"request.not_found", "request.bad_arguments"}
        for name in ("move", "current", "refuse", "_move", "_current", "_refuse"):
            assert await shop.code("order/1", name, "pay") in refusals

    tell(story)

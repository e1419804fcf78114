"""Stock, orders and parcels under torment: timers that must run, messages that must arrive once.

A client places an order, and later pays it, cancels it or lets its hold run out. The books know
what was acknowledged; what timers and messages have done is asked for in the end, when all of them
must have come.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import lithox
from tests.e2e.torment.jobs import EXAMPLES, Books, Job, Source, read_rows

ITEMS = ("apples", "pears", "plums")
HOLDS_MS = (50, 400, 3_000)
RECEIVED = 40
"""How many of an item come in at once."""
POLLS_MAX = 2_000


class Shop(Source):
    """Orders of a few items from little stock."""

    bundle = EXAMPLES / "inventory"

    def __init__(self, random: Random) -> None:
        self._random = random
        self._places, self._pays, self._cancels = Books(), Books(), Books()
        self._placed: list[str] = []
        """Orders nobody has yet asked to pay or cancel."""
        self._received: Counter[str] = Counter()

    async def begin(self, client: lithox.Client) -> None:
        """Fills the shelves."""
        for item in ITEMS:
            await client.call(f"stock/{item}", "receive", RECEIVED, request_id=f"first-{item}")
            self._received[item] += RECEIVED

    def draw(self, number: int, request_id: str) -> Job:
        """Returns an order, a payment, a cancellation, a delivery or a look at an item."""
        kind = self._random.random()
        item = self._random.choice(ITEMS)
        if kind < 0.1:
            return Job(self, f"stock/{item}", "check", [], is_read=True)
        if kind < 0.2:
            count = self._random.randint(1, RECEIVED)
            return Job(self, f"stock/{item}", "receive", [count], request_id, note=item)
        if kind < 0.55 and self._placed:
            order = self._placed.pop(self._random.randrange(len(self._placed)))
            act = "pay" if self._random.random() < 0.7 else "cancel"
            return Job(self, order, act, [], request_id)
        chosen = self._random.sample(ITEMS, self._random.randint(1, 2))
        items = {item: self._random.randint(1, 5) for item in chosen}
        hold_ms = self._random.choice(HOLDS_MS)
        return Job(self, f"order/{request_id}", "place", [items, hold_ms], request_id)

    def done(self, job: Job, value: Any) -> None:
        """Notes what was acknowledged; an item that is looked at must add up."""
        match job.handler:
            case "check":
                self._check_item(job.entity, value)
            case "receive":
                self._received[job.note] += job.args[0]
            case "place":
                self._places.acknowledged[job.entity] = job.args[0]
                self._placed.append(job.entity)
            case "pay":
                self._pays.acknowledged[job.entity] = job
            case _:
                self._cancels.acknowledged[job.entity] = job

    @staticmethod
    def _check_item(item: str, found: dict[str, int]) -> None:
        assert found["received"] == found["on_hand"] + found["sold"], f"{item}: {found}"
        assert 0 <= found["held"] <= found["on_hand"], f"{item}: {found}"
        assert found["held"] == found["holds"], f"{item}: {found}"

    def refused(self, job: Job, code: str) -> None:
        """Notes what could not be done: sold out, or held too long."""
        if job.handler == "place":
            assert code == "app.sold_out", code
            self._places.refused.add(job.entity)
        else:
            assert code == "app.expired", f"{job.handler}: {code}"

    async def check(self, client: lithox.Client) -> None:
        """Waits for the last timers and messages, then compares everything."""
        await self._wait_quiet(client)
        sold: Counter[str] = Counter()
        for order in self._pays.acknowledged:
            sold.update(self._places.acknowledged[order])
        for item in ITEMS:
            found = await client.call(f"stock/{item}", "check")
            self._check_item(item, found)
            assert found["held"] == 0, f"{item}: a hold never ended: {found}"
            assert found["received"] == self._received[item], f"{item}: {found}"
            assert found["sold"] == sold[item], f"{item}: {found}, {sold[item]} were paid"
        parcels = [row["order"] async for row in read_rows(client, "shipping/main", "parcel/")]
        self._pays.compare("shop, parcels", parcels)
        for number, order in enumerate(parcels, 1):
            shown = await client.call(order, "show")
            assert shown == {"status": "shipped", "parcel": number}, f"{order}: {shown}"
        for order in self._cancels.acknowledged:
            assert (await client.call(order, "show"))["status"] == "cancelled", order
        for order in self._places.refused:
            assert (await client.call(order, "show"))["status"] == "new", order

    async def _wait_quiet(self, client: lithox.Client) -> None:
        """Asks until every hold has ended and every paid order is shipped; bounded."""
        for _ in range(POLLS_MAX):
            held = [(await client.call(f"stock/{item}", "check"))["held"] for item in ITEMS]
            parcels = await client.call("shipping/main", "count")
            if not any(held) and parcels >= len(self._pays.acknowledged):
                return
        raise AssertionError(f"still held: {held}; parcels: {parcels}")

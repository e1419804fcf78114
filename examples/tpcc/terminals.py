"""TPC-C's terminals for the handlers beside this file: fill the warehouses, ask, compare.

    python terminals.py http://127.0.0.1:7070 --transactions 200

It is the benchmark's load scaled down, not the benchmark: no keying and thinking times, and of the
five transactions two. Every request has an id, so a terminal that lost its node asks again.
Source of numbers and rules: TPC-C Standard Specification, revision 5.11: 2.1.6 (the uneven choice
of customers and items), 2.4 (new-order), 2.5 (payment), 3.3.2 (the conditions), 4.3.2.3 (names).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import lithox

NAMES = ("BARBARBAR", "BARBAROUGHT", "BARBARABLE")
"""The first three of the benchmark's thousand."""
REMOTE_LINES_PERCENT = 1
REMOTE_PAYMENTS_PERCENT = 15
PAYMENTS_BY_NAME_PERCENT = 60
UNUSED_ITEMS_PERCENT = 1


class Call(NamedTuple):
    """One request: whom, what, with what."""

    entity: str
    handler: str
    args: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much there is of everything; the benchmark itself has 10, 3,000 and 100,000 of the last
    three. At most 12 warehouses: an order may ask all of them, and 16 entities are one transaction.
    """

    warehouses: int = 2
    districts: int = 3
    customers: int = 9
    items: int = 100

    def district_paths(self) -> list[str]:
        """Returns every district."""
        return [
            f"tpcc/{warehouse}/district/{district}"
            for warehouse in range(1, self.warehouses + 1)
            for district in range(1, self.districts + 1)
        ]


def name_of(customer: int) -> str:
    """Returns a last name that every third customer has."""
    return NAMES[customer % len(NAMES)]


def fill(scale: Scale) -> Iterator[Call]:
    """Gives the calls that make the first state."""
    yield Call("tpcc/catalogue", "fill", [scale.items])
    for warehouse in range(1, scale.warehouses + 1):
        yield Call(f"tpcc/{warehouse}", "open", [warehouse * 37 % 2000, scale.districts])
        yield Call(f"tpcc/{warehouse}/stock", "fill", [scale.items])
    for place, district in enumerate(scale.district_paths()):
        yield Call(district, "open", [place * 53 % 2000])
        for customer in range(1, scale.customers + 1):
            discount = (place + customer) * 101 % 5000
            yield Call(district, "enroll", [customer, name_of(customer), discount])


class Terminal:
    """Draws what one person at a terminal asks for.

    Args:
        dice: where chance comes from.
    """

    def __init__(self, dice: random.Random, scale: Scale) -> None:
        self._dice = dice
        self._scale = scale

    def draw(self) -> Call:
        """Returns a new order or a payment."""
        return self._new_order() if self._dice.random() < 0.5 else self._payment()

    def _uneven(self, spread: int, last: int) -> int:
        """Returns a number from 1 to `last`, some of them much more often."""
        return (self._dice.randint(0, spread) | self._dice.randint(1, last)) % last + 1

    def _is(self, percent: int) -> bool:
        return self._dice.randint(1, 100) <= percent

    def _warehouse(self) -> int:
        return self._dice.randint(1, self._scale.warehouses)

    def _district(self, warehouse: int) -> str:
        return f"tpcc/{warehouse}/district/{self._dice.randint(1, self._scale.districts)}"

    def _new_order(self) -> Call:
        home = self._warehouse()
        lines = [
            {
                "item": self._uneven(63, self._scale.items),
                "quantity": self._dice.randint(1, 10),
                "from": f"tpcc/{self._warehouse() if self._is(REMOTE_LINES_PERCENT) else home}",
            }
            for _ in range(self._dice.randint(5, 15))
        ]
        if self._is(UNUSED_ITEMS_PERCENT):
            lines[-1]["item"] = self._scale.items + 1
        customer = self._uneven(7, self._scale.customers)
        return Call(self._district(home), "new_order", [customer, lines])

    def _payment(self) -> Call:
        home = self._warehouse()
        district = self._district(home)
        amount = self._dice.randint(100, 500_000)
        is_remote = self._is(REMOTE_PAYMENTS_PERCENT)
        where = self._district(self._warehouse()) if is_remote else district
        customer = self._uneven(7, self._scale.customers)
        if self._is(PAYMENTS_BY_NAME_PERCENT):
            return Call(district, "pay_by_name", [where, name_of(customer), amount])
        return Call(district, "pay", [f"{where}/customer/{customer}", amount])


async def find_problems(client: lithox.Client | lithox.Node, scale: Scale) -> list[str]:
    """Returns which of the benchmark's conditions do not hold, and two of our own that do not.

    Each district and each warehouse is read in one transaction, so the first four may be asked at
    any time; the last two compare several answers and need everybody to be still.
    """
    problems: list[str] = []

    def compare(where: str, what: str, one: Any, other: Any) -> None:
        if one != other:
            problems.append(f"{where}: {what}: {one} and {other}")

    checks = {path: await client.call(path, "check") for path in scale.district_paths()}
    for path, found in checks.items():
        compare(path, "2: newest order", found["next_order"] - 1, found["newest"])
        compare(path, "2: newest new order", found["newest"], found["newest_new"])
        span = found["newest_new"] - found["oldest_new"] + 1 if found["new_orders"] else 0
        compare(path, "3: new orders without a gap", span, found["new_orders"])
        compare(path, "4: lines", found["lines_of_orders"], found["lines"])
        compare(path, "9: history", found["history"], found["paid"])
    for warehouse in range(1, scale.warehouses + 1):
        found = await client.call(f"tpcc/{warehouse}", "check")
        compare(f"tpcc/{warehouse}", "1: paid", found["paid"], found["districts"])
    return problems


async def find_unbalanced(client: lithox.Client, scale: Scale) -> list[str]:
    """Returns what does not add up across the whole company; everybody must be still."""
    problems: list[str] = []
    paid = sold = ordered = 0
    for path in scale.district_paths():
        paid += (await client.call(path, "check"))["paid"]
        for customer in range(1, scale.customers + 1):
            paid -= await client.call(f"{path}/customer/{customer}", "paid")
        after, more = "", True
        while more:
            lines, more = await client.state_list(path, "line/", after=after, limit=500)
            ordered += sum(line["quantity"] for line in lines.values())
            after = max(lines, default="")
    for warehouse in range(1, scale.warehouses + 1):
        found = await client.call(f"tpcc/{warehouse}/stock", "check")
        sold += found["sold"]
        if found["least"] < 0:
            problems.append(f"tpcc/{warehouse}/stock: {found['least']} of an item")
    if paid != 0:
        problems.append(f"districts were paid {paid} more than customers paid")
    if sold != ordered:
        problems.append(f"{sold} were taken from stock, {ordered} were ordered")
    return problems


async def work(url: str, *, terminals: int, transactions: int, seed: int) -> None:
    """Fills an empty node's warehouses, runs all terminals at once, prints rate and conditions."""
    scale = Scale()
    refused = 0

    async def one(number: int) -> None:
        nonlocal refused
        terminal = Terminal(random.Random(f"{seed}/{number}"), scale)
        async with lithox.Client(url) as client:
            for turn in range(transactions // terminals):
                call = terminal.draw()
                name = f"tpcc.{seed}.{number}.{turn}"
                try:
                    await client.call(call.entity, call.handler, *call.args, request_id=name)
                except lithox.LithoxError as error:
                    if error.code != "app.unused_item":
                        raise
                    refused += 1

    async with lithox.Client(url) as client:
        for call in fill(scale):
            await client.call(call.entity, call.handler, *call.args)
        begun_s = time.monotonic()
        await asyncio.gather(*map(one, range(terminals)))
        seconds = time.monotonic() - begun_s
        problems = await find_problems(client, scale) + await find_unbalanced(client, scale)
    done = transactions // terminals * terminals
    print(f"{done} transactions in {seconds:.1f} s, {refused} of them refused for an unused item")
    print("\n".join(problems) or "every condition holds")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="New orders and payments of TPC-C, scaled down.")
    parser.add_argument("url", help="such as http://127.0.0.1:7070")
    parser.add_argument("--terminals", type=int, default=8, help="how many ask at once (8)")
    parser.add_argument("--transactions", type=int, default=400, help="of all terminals (400)")
    parser.add_argument("--seed", type=int, default=1, help="which transactions are drawn (1)")
    asked = parser.parse_args()
    asyncio.run(
        work(
            asked.url,
            terminals=asked.terminals,
            transactions=asked.transactions,
            seed=asked.seed,
        )
    )

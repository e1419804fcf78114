"""The bank: statements that add up, and a total that is the same at every moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

import lithox
from tests.repo.checkout import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ACCOUNTS = [f"bank/p{number}" for number in range(6)]
FIRST = 50


async def open_bank(node: lithox.Node) -> None:
    """Deploys the bank and puts money into every account."""
    await node.deploy(ROOT / "examples" / "bank")
    for account in ACCOUNTS:
        await node.call(account, "deposit", FIRST)
    await node.call("branch/main", "open", ACCOUNTS)


async def transfer(node: lithox.Node, dice: Random) -> Any:
    """Tries one transfer; one that cannot be made is no error of the test."""
    source, target = dice.sample(ACCOUNTS, 2)
    try:
        return await node.call(source, "transfer", target, dice.randint(1, 40))
    except lithox.LithoxError as error:
        if error.code != "app.insufficient":
            raise
        return None


def test_the_total_is_the_same_at_every_moment(tmp_path: Path) -> None:
    """While money moves between all accounts, each look at all of them shows all of it."""

    async def story() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await open_bank(node)
            dice = Random(1)
            looks = [node.call("branch/main", "total") for _ in range(20)]
            moves = [transfer(node, dice) for _ in range(200)]
            mixed: list[Any] = [*moves, *looks]
            dice.shuffle(mixed)
            ends = await asyncio.gather(*mixed)
            assert ends.count(FIRST * len(ACCOUNTS)) == 20
            assert await node.call("branch/main", "total") == FIRST * len(ACCOUNTS)

    asyncio.run(story())


def test_a_statement_explains_the_balance(tmp_path: Path) -> None:
    """Every line follows from the one before; the last is the balance; both sides have the id."""

    async def story() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await open_bank(node)
            dice = Random(2)
            await asyncio.gather(*(transfer(node, dice) for _ in range(60)))
            await node.call(ACCOUNTS[0], "transfer", ACCOUNTS[1], 1, request_id="t-1")
            for account in ACCOUNTS:
                balance = 0
                for line in await node.call(account, "statement"):
                    balance += line["amount"]
                    assert line["balance"] == balance >= 0
                assert await node.call(account, "balance") == balance
            for account, amount in ((ACCOUNTS[0], -1), (ACCOUNTS[1], 1)):
                lines = await node.call(account, "statement")
                assert [one["amount"] for one in lines if one.get("request") == "t-1"] == [amount]

    asyncio.run(story())


def test_a_statement_comes_in_pages(tmp_path: Path) -> None:
    """At most a hundred lines at once, from behind the number asked for."""

    async def story() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await node.deploy(ROOT / "examples" / "bank")
            for _ in range(105):
                await node.call("bank/alice", "deposit", 1)
            assert len(await node.call("bank/alice", "statement")) == 100
            rest = await node.call("bank/alice", "statement", 100)
            assert [line["balance"] for line in rest] == [101, 102, 103, 104, 105]

    asyncio.run(story())

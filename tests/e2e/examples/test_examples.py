"""The examples do what their comments say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import lithox
from tests.repo.checkout import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXAMPLES = ROOT / "examples"
LUA_LINES_MAX = 100
Story = Callable[[lithox.Node], Awaitable[None]]


class SetClock:
    """A wall clock that a test sets; monotonic time and processor time stand still."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000

    def wall_ns(self) -> int:
        return self.now_ms * 1_000_000

    def monotonic_ns(self) -> int:
        return 0

    def thread_cpu_ns(self) -> int:
        return 0


def tell(folder: Path, example: str, story: Story, clock: SetClock | None = None) -> None:
    """Runs `story` on a node with `example` deployed."""

    async def run() -> None:
        async with lithox.Node(folder / "data", clock=clock) as node:
            await node.deploy(EXAMPLES / example)
            await story(node)

    asyncio.run(run())


async def code_of(work: Awaitable[Any]) -> str:
    """Returns the code of the error that `work` ends with."""
    with pytest.raises(lithox.LithoxError) as caught:
        await work
    return caught.value.code


def test_a_transfer_changes_both_accounts_or_neither(tmp_path: Path) -> None:
    """Money moves whole; a transfer that cannot be made leaves both accounts as they were."""

    async def story(node: lithox.Node) -> None:
        await node.call("bank/alice", "deposit", 100)
        assert await node.call("bank/alice", "transfer", "bank/bob", 30) == 70
        await node.call("bank/carol", "close")
        for to, amount, code in (
            ("bank/bob", 71, "app.insufficient"),
            ("bank/carol", 10, "app.closed"),
            ("bank/bob", -5, "app.bad_amount"),
            ("bank/bob", 0.5, "app.bad_amount"),
        ):
            assert await code_of(node.call("bank/alice", "transfer", to, amount)) == code
        assert await node.call("bank/alice", "balance") == 70
        assert await node.call("bank/bob", "balance") == 30
        assert await node.call("bank/carol", "balance") == 0

    tell(tmp_path, "bank", story)


def test_a_payment_that_fails_does_not_undo_the_others(tmp_path: Path) -> None:
    """Each call is a savepoint: of the one that failed nothing remains, the others are paid."""

    async def story(node: lithox.Node) -> None:
        await node.call("bank/alice", "deposit", 25)
        await node.call("bank/carol", "close")
        payees = ["bank/bob", "bank/carol", "bank/dave", "bank/eve"]
        assert await node.call("bank/alice", "pay_all", payees, 10) == ["bank/carol", "bank/eve"]
        balances = [
            await node.call(f"bank/{n}", "balance") for n in ("alice", "bob", "carol", "dave")
        ]
        assert balances == [5, 10, 0, 10]

    tell(tmp_path, "bank", story)


def test_concurrent_transfers_keep_the_sum(tmp_path: Path) -> None:
    """Money sent in circles at once, some of it in vain, is as much afterwards as before."""

    async def story(node: lithox.Node) -> None:
        names = [f"bank/p{number}" for number in range(4)]
        for name in names:
            await node.call(name, "deposit", 20)
        moves = [(names[i % 4], names[(i * 3 + 1) % 4], 1 + i % 9) for i in range(60)]
        await asyncio.gather(
            *(
                node.call(source, "transfer", to, amount)
                for source, to, amount in moves
                if source != to
            ),
            return_exceptions=True,
        )
        balances = [await node.call(name, "balance") for name in names]
        assert sum(balances) == 80
        assert min(balances) >= 0

    tell(tmp_path, "bank", story)


def test_a_bucket_empties_and_fills_with_time(tmp_path: Path) -> None:
    """As many as the capacity at once, then as many as time brings, never above the capacity."""
    clock = SetClock()

    async def story(node: lithox.Node) -> None:
        assert await code_of(node.call("limit/api", "take")) == "app.not_configured"
        await node.call("limit/api", "configure", 2, 4)
        taken = [(await node.call("limit/api", "take"))["allowed"] for _ in range(3)]
        assert taken == [True, True, False]
        clock.now_ms += 250
        assert await node.call("limit/api", "take") == {
            "allowed": True, "left": 0, "retry_after_ms": 0,
        }  # fmt: skip
        refused = await node.call("limit/api", "take", 2)
        assert refused == {"allowed": False, "left": 0, "retry_after_ms": 500}
        clock.now_ms += 3_600_000
        assert (await node.call("limit/api", "take", 2))["allowed"] is True
        assert (await node.call("limit/api", "take"))["allowed"] is False

    tell(tmp_path, "rate_limiter", story, clock)


def test_a_document_keeps_its_revisions(tmp_path: Path) -> None:
    """Every revision can be read; who has not seen the newest cannot overwrite it."""

    async def story(node: lithox.Node) -> None:
        assert await node.call("document/plan", "save", "one", 0) == 1
        assert await node.call("document/plan", "save", "second", 1) == 2
        assert await code_of(node.call("document/plan", "save", "late", 1)) == "app.stale"
        assert await node.call("document/plan", "read") == "second"
        assert await node.call("document/plan", "read", 1) == "one"
        assert await code_of(node.call("document/plan", "read", 3)) == "app.no_such_revision"
        assert await node.call("document/plan", "history") == [
            {"revision": 1, "author": "operator", "size": 3},
            {"revision": 2, "author": "operator", "size": 6},
        ]

    tell(tmp_path, "document", story)


def test_of_saves_at_one_moment_one_wins(tmp_path: Path) -> None:
    """Many who save on the same base: one revision is made, the others are told."""

    async def story(node: lithox.Node) -> None:
        saves = [node.call("document/plan", "save", f"text {i}", 0) for i in range(12)]
        ends = await asyncio.gather(*saves, return_exceptions=True)
        assert [end for end in ends if end == 1] == [1]
        codes = {end.code for end in ends if isinstance(end, lithox.LithoxError)}
        assert codes == {"app.stale"}

    tell(tmp_path, "document", story)


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*/*.lua")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_examples_stay_small(path: Path) -> None:
    """An example is read in one go: at most a hundred lines, the first of which says what it is."""
    lines = path.read_text().splitlines()
    assert len(lines) <= LUA_LINES_MAX
    assert lines[0].startswith("-- ")

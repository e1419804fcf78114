"""What clients ask of a tormented node, and the books of what they were told.

Each source draws jobs, hears how each ended, and says in the end what is wrong with the node's
state. In the end nothing is pending, so the books and the state must agree exactly: every id that
was acknowledged is there once, every other is not there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

import lithox
from examples.tpcc import terminals
from lithox.model.request import Answer
from tests.histories import workloads
from tests.histories.judging import assert_possible
from tests.histories.mail import Sent, find_disorder, find_missing
from tests.histories.records import Append, Read, Recorder, save
from tests.repo.checkout import ROOT

EXAMPLES = ROOT / "examples"
PAGE = 500
POLLS_MAX = 200
"""How often everything is read until the last message has arrived."""


@dataclass(slots=True)
class Job:
    """One request, asked until its outcome is known.

    Attributes:
        request_id: None: asked once only; if nobody answers, its outcome stays unknown.
        is_read: changes nothing, so it may be asked again without an id.
        note: what its source wants to remember.
    """

    source: Source
    entity: str
    handler: str
    args: list[Any]
    request_id: str | None = None
    is_read: bool = False
    note: Any = None

    async def put(self, client: lithox.Client) -> Answer:
        """Asks once."""
        return await client.ask(self.entity, self.handler, *self.args, request_id=self.request_id)


@dataclass(slots=True)
class Step(Job):
    """A job of the checker's workload, which knows more ways to the node."""

    asked: workloads.Asked = field(kw_only=True)
    operation: int = field(kw_only=True)
    begun_ns: int = field(default_factory=time.monotonic_ns)

    async def put(self, client: lithox.Client) -> Answer:
        """Asks once, in the way that was drawn."""
        return await self.asked.put(client, self.request_id)


class Source(Protocol):
    """A kind of work, and its books."""

    @property
    def bundle(self) -> Path:
        """The folder to deploy."""
        ...

    async def begin(self, client: lithox.Client) -> None:
        """Makes the first state on a node that is well."""

    def draw(self, number: int, request_id: str) -> Job:
        """Returns what client `number` asks next."""
        ...

    def done(self, job: Job, value: Any) -> None:
        """Notes an acknowledgement."""

    def refused(self, job: Job, code: str) -> None:
        """Notes that a handler has raised: nothing has happened."""

    async def check(self, client: lithox.Client) -> None:
        """Fails unless the state is what the books say; everybody is still."""


async def read_rows(client: lithox.Client, entity: str, prefix: str) -> AsyncIterator[Any]:
    """Gives every value below `prefix`, page by page."""
    after, more = "", True
    while more:
        rows, more = await client.state_list(entity, prefix, after=after, limit=PAGE)
        for row in rows.values():
            yield row
        after = max(rows, default="")


@dataclass(slots=True)
class Books:
    """Which ids were acknowledged, and which may not be there."""

    acknowledged: dict[str, Any] = field(default_factory=dict[str, Any])
    refused: set[str] = field(default_factory=set[str])

    def compare(self, where: str, found: list[str]) -> None:
        """Fails unless exactly the acknowledged ids were found, each once."""
        counts = Counter(found)
        twice = [one for one, count in counts.items() if count > 1]
        lost = [one for one in self.acknowledged if one not in counts]
        ghosts = [one for one in counts if one not in self.acknowledged]
        assert not twice, f"{where}: happened twice: {twice[:5]}"
        assert not lost, f"{where}: acknowledged and lost: {lost[:5]}"
        assert not ghosts, f"{where}: refused or never asked, and there: {ghosts[:5]}"


class Cells(Source):
    """Lists and registers; the history is the book."""

    bundle = workloads.BUNDLE

    def __init__(self, random: Random) -> None:
        self._random = random
        self._cells = workloads.Cells(random)
        self._recorder = Recorder()
        self._sent: list[Sent] = []
        self._lists: dict[str, tuple[int, ...]] = {}

    async def begin(self, client: lithox.Client) -> None:
        """Needs nothing: an entity is there once it is written."""

    def draw(self, number: int, request_id: str) -> Job:
        """Returns an operation; some writes go without an id, and may stay unknown."""
        asked = self._cells.draw()
        must_have_id = asked.way is workloads.Way.ACCEPTED
        has_id = must_have_id or (not asked.is_read and self._random.random() < 0.9)
        return self._job(number, asked, request_id if has_id else None)

    def _job(self, number: int, asked: workloads.Asked, request_id: str | None) -> Step:
        return Step(
            source=self,
            entity=asked.via,
            handler=asked.way,
            args=[],
            request_id=request_id,
            is_read=asked.is_read,
            asked=asked,
            operation=self._recorder.invoke(number, asked.steps),
        )

    def done(self, job: Job, value: Any) -> None:
        """Records what was seen; of a message only that it was sent."""
        assert isinstance(job, Step)
        first = job.asked.steps[0]
        if job.asked.way is workloads.Way.MAILED:
            assert isinstance(first, Append)
            told_ns = time.monotonic_ns()
            sent = Sent(job.asked.via, first.key, first.value, job.begun_ns, told_ns)
            self._sent.append(sent)
            return
        seen = job.asked.observe(value)
        self._recorder.succeed(job.operation, seen)
        if isinstance(seen[0], Read) and seen[0].values is not None:
            self._lists[seen[0].key] = seen[0].values

    def refused(self, job: Job, code: str) -> None:
        """Fails: these handlers raise nothing."""
        raise AssertionError(f"{job.entity}, {job.handler}: {code}")

    async def check(self, client: lithox.Client) -> None:
        """Reads every key until the last message has arrived, and has the history judged."""
        for _ in range(POLLS_MAX):
            for asked in self._cells.last_reads():
                job = self._job(-1, asked, None)
                answer = await job.put(client)
                assert answer.error is None, answer.error
                self.done(job, answer.value)
            if not find_missing(self._sent, self._lists):
                break
        assert_possible(self._recorder.history(), self._cells.plain_keys())
        assert find_missing(self._sent, self._lists) == [], "sent and lost"
        assert find_disorder(self._sent, self._lists) == []

    def save(self, path: Path) -> None:
        """Keeps the history for whoever looks into it."""
        save(self._recorder.history(), path)

    @property
    def operations(self) -> int:
        """How many operations were recorded."""
        return len(self._recorder.history())


class Bank(Source):
    """Transfers between accounts; every look at all of them shows the same total."""

    bundle = EXAMPLES / "bank"
    accounts = tuple(f"bank/p{number}" for number in range(8))
    first = 100

    def __init__(self, random: Random) -> None:
        self._random = random
        self._books = Books()

    async def begin(self, client: lithox.Client) -> None:
        """Puts money into every account."""
        for account in self.accounts:
            name = f"first-{account.replace('/', '-')}"
            await client.call(account, "deposit", self.first, request_id=name)
        await client.call("branch/main", "open", list(self.accounts))

    def draw(self, number: int, request_id: str) -> Job:
        """Returns a transfer, or a look at everything."""
        if self._random.random() < 0.2:
            return Job(self, "branch/main", "total", [], is_read=True)
        source, target = self._random.sample(self.accounts, 2)
        amount = self._random.randint(1, 60)
        return Job(self, source, "transfer", [target, amount], request_id, note=target)

    def done(self, job: Job, value: Any) -> None:
        """Notes a transfer; compares a total at once."""
        if job.handler == "total":
            assert value == self.first * len(self.accounts), f"the bank had {value}"
        else:
            self._books.acknowledged[str(job.request_id)] = job

    def refused(self, job: Job, code: str) -> None:
        """Notes a transfer that could not be made."""
        assert code == "app.insufficient", code
        self._books.refused.add(str(job.request_id))

    async def check(self, client: lithox.Client) -> None:
        """Compares statements with balances and with the books, both sides of each transfer."""
        sides: tuple[list[str], list[str]] = ([], [])
        total = 0
        for account in self.accounts:
            balance = 0
            async for line in read_rows(client, account, "line/"):
                balance += line["amount"]
                assert line["balance"] == balance >= 0, f"{account}: {line}"
                if not line["request"].startswith("first-"):
                    sides[line["amount"] > 0].append(line["request"])
                    self._compare(account, line)
            assert await client.call(account, "balance") == balance
            total += balance
        self._books.compare("bank, paid", sides[0])
        self._books.compare("bank, received", sides[1])
        assert total == self.first * len(self.accounts)

    def _compare(self, account: str, line: dict[str, Any]) -> None:
        job = self._books.acknowledged.get(line["request"])
        if job is not None:
            target, amount = job.args
            expected = (job.entity, -amount) if line["amount"] < 0 else (target, amount)
            assert (account, line["amount"]) == expected, line


class Tpcc(Source):
    """New orders and payments; the benchmark's conditions."""

    bundle = EXAMPLES / "tpcc"
    scale = terminals.Scale(warehouses=2, districts=2, customers=6, items=40)

    def __init__(self, random: Random) -> None:
        self._random = random
        self._terminal = terminals.Terminal(random, self.scale)
        self._orders, self._payments = Books(), Books()

    async def begin(self, client: lithox.Client) -> None:
        """Fills the warehouses."""
        for call in terminals.fill(self.scale):
            await client.call(call.entity, call.handler, *call.args)

    def draw(self, number: int, request_id: str) -> Job:
        """Returns a new order, a payment, or a look at a warehouse."""
        if self._random.random() < 0.05:
            warehouse = self._random.randint(1, self.scale.warehouses)
            return Job(self, f"tpcc/{warehouse}", "check", [], is_read=True)
        return Job(self, *self._terminal.draw(), request_id)

    def _books_of(self, job: Job) -> Books:
        return self._orders if job.handler == "new_order" else self._payments

    def done(self, job: Job, value: Any) -> None:
        """Notes an order or a payment; compares a warehouse with its districts at once."""
        if job.handler == "check":
            assert value["paid"] == value["districts"], f"{job.entity}: {value}"
        else:
            self._books_of(job).acknowledged[str(job.request_id)] = (job.entity, value)

    def refused(self, job: Job, code: str) -> None:
        """Notes an order for an item that is not there."""
        assert (job.handler, code) == ("new_order", "app.unused_item"), code
        self._books_of(job).refused.add(str(job.request_id))

    async def check(self, client: lithox.Client) -> None:
        """Compares the state with the benchmark's conditions and with the books."""
        problems = await terminals.find_problems(client, self.scale)
        problems += await terminals.find_unbalanced(client, self.scale)
        assert problems == []
        orders: list[str] = []
        payments: list[str] = []
        for district in self.scale.district_paths():
            number = 0
            async for order in read_rows(client, district, "order/"):
                number += 1
                orders.append(order["request"])
                told = self._orders.acknowledged.get(order["request"])
                if told is not None:
                    assert (told[0], told[1]["order"]) == (district, number), order
            payments += [p["request"] async for p in read_rows(client, district, "history/")]
        self._orders.compare("tpcc, orders", orders)
        self._payments.compare("tpcc, payments", payments)

"""A request with an origin takes part in its own commit; a run another node beat goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from lithox.dispatch.transaction import Transaction
from lithox.errors import Conflict, StoreUnavailable
from lithox.model.ids import EntityPath, HandlerName, RequestId
from lithox.model.request import Answer, Request
from lithox.model.values import decode_value
from lithox.store.contract import Commit, OnDone
from lithox.testing.script import Script, ScriptedSelf
from tests.unit.dispatch.house import ALICE, House

ROW = (EntityPath("~lithox/q/test"), "row")
"""What says that the run is due."""
WITHDRAWALS_MANY = 50


@dataclass
class RowOrigin:
    """Due while ROW is there; deletes it."""

    records_result: bool = False
    bodies: list[bytes] = field(default_factory=list[bytes])

    def is_due(self, transaction: Transaction) -> bool:
        return transaction.find(*ROW) is not None

    def complete(self, transaction: Transaction, body: bytes) -> None:
        self.bodies.append(body)
        transaction.put(*ROW, None)


def add(self: ScriptedSelf, by: int) -> Script:
    """Adds `by` to the count and returns it."""
    del self
    count = ((yield ("get", "count")) or 0) + by
    yield ("set", "count", count)
    return count


def look(self: ScriptedSelf) -> Script:
    """Returns the count without writing."""
    del self
    return (yield ("get", "count"))


def make_house() -> House:
    house = House()
    house.publish("c/*", {"add": add, "look": look})
    return house


def ask(house: House, origin: RowOrigin | None, request_id: str | None = None) -> list[Answer]:
    answers: list[Answer] = []
    house.dispatcher.submit(
        Request(
            entity=EntityPath("c/1"),
            handler=HandlerName("add"),
            args=[1],
            caller=ALICE,
            request_id=None if request_id is None else RequestId(request_id),
            origin=origin,
        ),
        answers.append,
    )
    house.run()
    return answers


def test_what_is_due_is_done_once_however_often_it_is_begun() -> None:
    """The run's commit takes its row away; without the row nothing runs and nil is the value."""
    house, origin = make_house(), RowOrigin()
    house.put({ROW: b"\xc0"})
    values = [answer.value for _ in range(3) for answer in ask(house, origin)]
    assert values == [1, None, None]
    assert [decode_value(body) for body in origin.bodies] == [1]
    assert house.get("c/1", "count") == 1
    assert house.get(*ROW) is None


def test_a_row_taken_away_meanwhile_makes_the_run_undone() -> None:
    """The row is a read like any other: a run that lost it begins again, and finds it is done."""
    house, origin = make_house(), RowOrigin()
    house.put({ROW: b"\x01"})
    answers: list[Answer] = []

    def steal() -> None:
        house.store.submit(Commit(house.store.visible_version, writes={ROW: None}), lambda _: None)

    real = origin.complete

    def complete(transaction: Transaction, body: bytes) -> None:
        real(transaction, body)
        steal()

    origin.complete = complete  # type: ignore[method-assign]
    answers = ask(house, origin)
    assert [answer.value for answer in answers] == [None]
    assert house.get("c/1", "count") is None


@pytest.mark.parametrize(("records", "found"), [(False, 0), (True, 1)])
def test_the_origin_says_whether_its_id_is_recorded(records: bool, found: int) -> None:
    """Of those that are once by their row, no answer is recorded."""
    house = make_house()
    house.put({ROW: b"\x01"})
    ask(house, RowOrigin(records_result=records), "r-1")
    assert house.store.count_results("alice") == found


class Faults:
    """Tells commits of runs that another node was first, `times` times."""

    def __init__(self, house: House, error: Exception, times: int) -> None:
        self.left = times
        self.error = error
        self.real = house.store.submit
        house.store.submit = self.submit  # type: ignore[method-assign]
        self.post = house.queue.append

    def submit(self, commit: Commit, on_done: OnDone) -> int | None:
        if not self.left:
            return self.real(commit, on_done)
        self.left -= 1
        self.post(lambda: on_done(self.error))  # type: ignore[arg-type]
        return commit.snapshot_version + 1


def test_a_run_that_another_node_beat_is_run_again() -> None:
    """Told of a conflict after its commit, the run begins anew; its caller sees one success."""
    house = make_house()
    Faults(house, Conflict("another node was first"), 2)
    assert house.call("c/1", "add", 5, request_id="r-1") == 5
    assert house.call("c/1", "add", 5, request_id="r-1") == 5
    assert house.get("c/1", "count") == 5


def test_a_run_that_is_always_beaten_ends_as_a_conflict() -> None:
    """Runs are begun anew a bounded number of times, and the id may be used again after."""
    house = make_house()
    faults = Faults(house, Conflict("another node was first"), WITHDRAWALS_MANY)
    with pytest.raises(Conflict):
        house.call("c/1", "add", 5, request_id="r-1")
    assert 0 < faults.left < WITHDRAWALS_MANY
    faults.left = 0
    assert house.call("c/1", "add", 5, request_id="r-1") == 5


def test_hooks_hear_of_each_commit_once_visible_and_once_durable() -> None:
    """In commit order, with the version; of withdrawn commits only the first is told."""
    house = make_house()
    told: list[tuple[str, Any]] = []
    runs = house.dispatcher.runs
    runs.on_committed.append(lambda job, _, version: told.append(("visible", version)))
    runs.on_durable.append(lambda job, _, version: told.append(("durable", version)))
    house.call("c/1", "add", 1)
    house.call("c/1", "look")
    assert [what for what, _ in told] == ["visible", "durable"]
    assert told[0][1] == told[1][1] == house.store.durable_version
    house.disk.fail(StoreUnavailable("no disk"))
    with pytest.raises(StoreUnavailable):
        house.call("c/1", "add", 1)
    assert [what for what, _ in told] == ["visible", "durable", "visible"]

"""Another node runs the same request at the same time: it takes effect once, one answer for both.

The other node is played by commits made behind the dispatcher's back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lithox.dispatch.inflight import digest_of_asked
from lithox.dispatch.job import REQUESTS_PLACE, derive_id
from lithox.errors import Conflict, IdReused, StoreUnavailable
from lithox.model.values import encode_value
from lithox.store.contract import Commit, OnDone, ResultRecord
from lithox.testing.clock import WALL_START_NS
from lithox.testing.script import Script, ScriptedSelf, ScriptError
from tests.unit.dispatch.house import House

HOUR_NS = 3600 * 1_000_000_000
BURN = 5_000_000
"""More than a first slice: the run suspends where it burns this."""


def add(_self: ScriptedSelf, by: int) -> Script:
    count = ((yield ("get", "count")) or 0) + by
    yield ("burn", BURN)
    yield ("set", "count", count)
    return count


def pay(_self: ScriptedSelf) -> Script:
    yield ("burn", BURN)
    if (yield ("get", "count")):
        raise ScriptError("is paid already", code="paid")
    yield ("set", "count", 1)
    return "paid"


def through(_self: ScriptedSelf, entity: str) -> Script:
    return (yield ("ask", "request", entity, "add", [5]))


def make_house() -> House:
    house = House()
    house.publish("c/*", {"add": add, "pay": pay, "through": through}, access=["entity:c/*"])
    return house


def answer_of_other(
    handler: str, args: list[Any], answer: Any, *, left_ns: int = HOUR_NS
) -> ResultRecord:
    return ResultRecord(
        identity="alice",
        entity="c/1",
        request_id="r-1",
        account="alice",
        asked_digest=digest_of_asked(handler, encode_value(args)),
        answer=encode_value(answer),
        expires_ns=WALL_START_NS + left_ns,
    )


def commit_of_other(house: House, record: ResultRecord, count: int | None = None) -> None:
    """Another node commits its run of the request."""
    writes = {} if count is None else {("c/1", "count"): encode_value(count)}
    commit = Commit(house.store.visible_version, (), (), writes, record)
    assert house.store.submit(commit, lambda _: None) is not None


def send_and_be_overtaken(house: House, handler: str, *args: Any) -> Callable[[], list[Any]]:
    """Begins a request whose run has suspended; what is returned lets it end."""
    house.long.is_held = True
    answers = house.send("c/1", handler, *args, request_id="r-1")
    house.run()
    assert answers == []

    def end() -> list[Any]:
        house.long.is_held = False
        for work in house.long.held:
            house.queue.append(work)
        house.long.held = []
        house.run()
        assert house.bugs == []
        assert house.dispatcher.processes() == []
        return answers

    return end


@pytest.mark.parametrize("count", [None, 5])
def test_a_run_that_was_overtaken_gets_the_answer_of_the_other(count: int | None) -> None:
    """Whether it lost by what it read or by the record alone: the recorded answer, no effect."""
    house = make_house()
    end = send_and_be_overtaken(house, "add", 7)
    commit_of_other(house, answer_of_other("add", [7], "theirs"), count)
    (answer,) = end()
    assert answer.error is None
    assert (answer.value, answer.is_recorded) == ("theirs", True)
    assert house.get("c/1", "count") == count


def test_a_run_that_fails_over_what_the_other_did_gets_its_answer() -> None:
    """The handler finds its own request done and raises: nobody is told that."""
    house = make_house()
    house.put({("c/1", "count"): encode_value(1)})
    end = send_and_be_overtaken(house, "pay")
    commit_of_other(house, answer_of_other("pay", [], "paid"))
    (answer,) = end()
    assert answer.error is None
    assert answer.value == "paid"


def test_the_same_id_for_something_else_is_refused_at_the_end_too() -> None:
    """The other node was asked something else under the id: nothing of this run remains."""
    house = make_house()
    end = send_and_be_overtaken(house, "add", 7)
    commit_of_other(house, answer_of_other("add", [8], 8), 8)
    (answer,) = end()
    assert isinstance(answer.error, IdReused)
    assert house.get("c/1", "count") == 8


def test_an_expired_answer_is_replaced() -> None:
    """An answer that no longer counts keeps nobody from running."""
    house = make_house()
    end = send_and_be_overtaken(house, "add", 7)
    commit_of_other(house, answer_of_other("add", [7], "theirs", left_ns=0))
    (answer,) = end()
    assert (answer.value, answer.is_recorded) == (7, False)
    assert house.get("c/1", "count") == 7


def test_a_run_beaten_in_the_database_gets_the_answer_of_the_other() -> None:
    """Told of it after its commit was let go: it is not begun anew but answered."""
    house = make_house()
    real, beaten = house.store.submit, []

    def submit(commit: Commit, on_done: OnDone) -> int | None:
        if beaten or commit.result is None:
            return real(commit, on_done)
        beaten.append(commit)
        commit_of_other(house, answer_of_other("add", [7], "theirs"), 7)
        house.queue.append(lambda: on_done(Conflict("another node was first")))
        return commit.snapshot_version + 1

    house.store.submit = submit  # type: ignore[method-assign]
    answer = house.send("c/1", "add", 7, request_id="r-1")
    house.run()
    assert [(one.value, one.is_recorded) for one in answer] == [("theirs", True)]
    assert house.get("c/1", "count") == 7


def test_a_waiter_looks_before_it_runs() -> None:
    """The first of two fails here; the second finds what another node has recorded meanwhile."""
    house = make_house()
    end = send_and_be_overtaken(house, "pay")
    second = house.send("c/1", "pay", request_id="r-1")
    house.run()
    house.put({("c/1", "count"): encode_value(1)})
    real = house.store.find_result
    looked: list[str] = []

    def find_result(identity: str, entity: str, request_id: str) -> ResultRecord | None:
        looked.append(request_id)
        if len(looked) == 2:
            commit_of_other(house, answer_of_other("pay", [], "paid"))
        return real(identity, entity, request_id)

    house.store.find_result = find_result  # type: ignore[method-assign]
    end()
    assert [one.value for one in second] == ["paid"]


def test_a_request_of_a_handler_is_made_once_by_two_nodes() -> None:
    """The same parent runs on two nodes: the child's answer of the other is taken."""
    house = make_house()
    end = send_and_be_overtaken(house, "through", "c/2")
    run_id = derive_id("i.", "alice", "c/1", "r-1")
    record = ResultRecord(
        identity="entity:c/1",
        entity=REQUESTS_PLACE,
        request_id=derive_id("q.", "entity:c/1", run_id, "0"),
        account="alice",
        asked_digest=digest_of_asked("c/2:add", encode_value([5])),
        answer=encode_value("theirs"),
        expires_ns=WALL_START_NS + HOUR_NS,
    )
    commit_of_other(house, record)
    (answer,) = end()
    assert answer.error is None
    assert answer.value == ["theirs"]
    assert house.get("c/2", "count") is None


def test_whether_the_other_was_faster_cannot_be_read() -> None:
    """A record that cannot be looked at: the node's own fault, and no error of the handler."""
    house = make_house()
    house.put({("c/1", "count"): encode_value(1)})
    end = send_and_be_overtaken(house, "pay")

    def find_result(identity: str, entity: str, request_id: str) -> ResultRecord | None:
        raise StoreUnavailable("cannot be reached")

    house.store.find_result = find_result  # type: ignore[method-assign]
    (answer,) = end()
    assert isinstance(answer.error, StoreUnavailable)

"""Concurrent runs: first committer wins, the loser runs again, then takes its turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lithox.dispatch.turns import Turn
from lithox.errors import Conflict, StoreUnavailable
from lithox.kernel.retry import DEFAULT_RETRY
from lithox.model.request import Answer
from lithox.testing.script import ScriptedSelf, ScriptError
from tests.unit.dispatch.house import House

BURN = 5_000_000
"""More than a first slice: the run suspends between its read and its write."""


def slow_add(_self: ScriptedSelf, by: int) -> Any:
    count = (yield ("get", "count")) or 0
    yield ("burn", BURN)
    yield ("set", "count", count + by)
    return count + by


def add(_self: ScriptedSelf, by: int) -> Any:
    count = (yield ("get", "count")) or 0
    yield ("set", "count", count + by)
    return count + by


def slow_read(_self: ScriptedSelf) -> Any:
    count = yield ("get", "count")
    yield ("burn", BURN)
    return count


def read(_self: ScriptedSelf) -> Any:
    yield ("burn", 1)
    return (yield ("get", "count"))


def slow_sum(_self: ScriptedSelf) -> Any:
    found = yield ("scan", "item/")
    yield ("burn", BURN)
    yield ("set", "sum", sum(value for _, value in found))
    return len(found)


def put_item(_self: ScriptedSelf, name: str, value: int) -> Any:
    yield ("set", f"item/{name}", value)


def slow_check(_self: ScriptedSelf) -> Any:
    count = (yield ("get", "count")) or 0
    yield ("burn", BURN)
    if count != 1:
        raise ScriptError("stale", code="stale")
    return "fine"


def slow_other(_self: ScriptedSelf, key: str) -> Any:
    yield ("get", key)
    yield ("burn", BURN)
    yield ("set", key, 1)


MODULE = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__
}


def crowd() -> House:
    house = House()
    house.publish("hot/*", MODULE)
    return house


def suspended(house: House, send: Callable[[], list[Answer]]) -> list[Answer]:
    """Sends a run and stops it after its first slice."""
    house.long.is_held = True
    answers = send()
    house.run()
    assert not answers
    return answers


def let_go(house: House) -> None:
    """Lets every suspended run go on to its end."""
    house.long.is_held = False
    held, house.long.held = house.long.held, []
    for work in held:
        work()
    house.run()


def test_loser_runs_again_on_the_newest_version() -> None:
    """A run whose read was overwritten before its commit repeats, and no update is lost."""
    house = crowd()
    answers = suspended(house, lambda: house.send("hot/a", "slow_add", 10))
    assert house.call("hot/a", "add", 1) == 1
    let_go(house)
    assert answers[0].value == 11
    assert answers[0].usage.attempts == 2
    assert house.dispatcher.counters.conflicts == 1


def test_other_keys_do_not_conflict() -> None:
    """Validation is by key: writes to what a run did not read let it commit."""
    house = crowd()
    answers = suspended(house, lambda: house.send("hot/a", "slow_other", "elsewhere"))
    house.call("hot/a", "add", 1)
    let_go(house)
    assert answers[0].usage.attempts == 2, "it also read that the entity did not exist yet"
    answers = suspended(house, lambda: house.send("hot/a", "slow_other", "elsewhere"))
    house.call("hot/a", "add", 1)
    let_go(house)
    assert answers[0].usage.attempts == 1


def test_scans_count_as_reads_of_what_is_absent() -> None:
    """A key that appears inside a scanned range before the commit makes the scan run again."""
    house = crowd()
    house.call("hot/a", "put_item", "one", 1)
    answers = suspended(house, lambda: house.send("hot/a", "slow_sum"))
    house.call("hot/a", "put_item", "two", 2)
    let_go(house)
    assert answers[0].value == 2
    assert house.get("hot/a", "sum") == 3


def test_no_error_on_a_state_that_never_was() -> None:
    """An error is validated like a commit: raised on stale reads it is run again instead."""
    house = crowd()
    answers = suspended(house, lambda: house.send("hot/a", "slow_check"))
    house.call("hot/a", "add", 1)
    let_go(house)
    assert (answers[0].error, answers[0].value) == (None, "fine")


def test_read_only_runs_neither_wait_nor_disturb() -> None:
    """Reads beside a suspended writer see the old state and do not make it run again."""
    house = crowd()
    house.call("hot/a", "add", 1)
    answers = suspended(house, lambda: house.send("hot/a", "slow_add", 10))
    assert house.call("hot/a", "read") == 1
    let_go(house)
    assert answers[0].usage.attempts == 1


def test_crowd_on_one_key_ends_exact_and_bounded() -> None:
    """Thirty slow writers of one key all succeed, none starves, and no update is lost."""
    house = crowd()
    answers = [house.send("hot/a", "slow_add", 1) for _ in range(30)]
    house.run()
    assert sorted(answer[0].value for answer in answers) == list(range(1, 31))
    assert max(answer[0].usage.attempts for answer in answers) <= 4
    assert not house.dispatcher.runs.table.turns


def test_run_that_holds_its_turn_cannot_lose() -> None:
    """While a turn is held, others that want to write wait for theirs; the holder commits."""
    house = crowd()
    house.call("hot/a", "add", 1)
    answers = suspended(house, lambda: house.send("hot/a", "slow_add", 100))
    for _ in range(2):
        house.call("hot/a", "add", 1)
        house.long.is_held = True
        for work in [house.long.held.pop()]:
            work()
        house.run()
    other = house.send("hot/a", "add", 1)
    house.run()
    assert not other, "it waits: the slow run holds the turn of hot/a"
    let_go(house)
    assert answers[0].value == 103
    assert other[0].value == 104
    assert answers[0].usage.attempts == 3


def test_conflicts_end_at_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that loses every time is answered as a conflict that may be tried again."""
    house = crowd()
    monkeypatch.setattr(house.store, "submit", lambda *_: None)
    answers = house.send("hot/a", "add", 1)
    house.run()
    assert isinstance(answers[0].error, Conflict)
    assert answers[0].usage.attempts == DEFAULT_RETRY.runs_max
    assert house.dispatcher.processes() == []
    assert not house.dispatcher.runs.table.turns


def test_answer_waits_until_its_commit_is_durable() -> None:
    """Visible and durable are two things: the next run sees the write, the answer waits."""
    house = crowd()
    house.disk.hold()
    first = house.send("hot/a", "add", 1)
    second = house.send("hot/a", "add", 1)
    reader = house.send("hot/a", "read")
    house.run()
    assert (first, second, reader) == ([], [], [])
    assert house.get("hot/a", "count") == 2
    house.disk.release()
    house.run()
    assert [one[0].value for one in (first, second, reader)] == [1, 2, 2]


def test_error_that_read_undurable_state_waits_for_it_too() -> None:
    """An error leaves only when the state it was decided on cannot be taken back."""
    house = crowd()
    house.disk.hold()
    house.send("hot/a", "add", 5)
    answers = house.send("hot/a", "slow_check")
    house.run()
    assert answers == []
    house.disk.release()
    house.run()
    assert getattr(answers[0].error, "code", "") == "app.stale"


def test_failed_sync_withdraws_all_that_read_it() -> None:
    """When a sync fails, writers and readers of it are told, and the old state is back."""
    house = crowd()
    house.call("hot/a", "add", 1)
    house.disk.hold()
    writer = house.send("hot/a", "add", 1)
    reader = house.send("hot/a", "read")
    house.run()
    house.disk.fail(StoreUnavailable("disk full"))
    house.disk.release()
    house.run()
    assert isinstance(writer[0].error, StoreUnavailable)
    assert isinstance(reader[0].error, StoreUnavailable)
    assert house.get("hot/a", "count") == 1
    house.disk.mend()
    house.run()
    assert house.call("hot/a", "add", 1) == 2


def test_withdrawn_id_may_run_again() -> None:
    """A request whose commit was withdrawn has done nothing, so its id runs anew."""
    house = crowd()
    house.disk.hold()
    first = house.send("hot/a", "add", 1, request_id="r")
    house.run()
    house.disk.fail(StoreUnavailable("disk full"))
    house.disk.release()
    house.run()
    assert isinstance(first[0].error, StoreUnavailable)
    house.disk.mend()
    house.run()
    assert house.call("hot/a", "add", 1, request_id="r") == 1


def test_read_only_run_never_answers_what_was_withdrawn() -> None:
    """A run that read a version whose sync then failed reads again before it answers."""
    house = crowd()
    house.call("hot/a", "add", 1)
    house.disk.hold()
    lost = house.send("hot/a", "add", 100)
    house.run()
    answers = suspended(house, lambda: house.send("hot/a", "slow_read"))
    house.disk.fail(StoreUnavailable("disk full"))
    house.disk.release()
    house.run()
    assert isinstance(lost[0].error, StoreUnavailable)
    let_go(house)
    assert answers[0].value == 1


def test_first_conflict_elsewhere_takes_no_turn() -> None:
    """A turn held on one entity makes nobody wait on another."""
    house = crowd()
    holder = Turn({"hot/z"}, lambda: None)
    house.dispatcher.runs.table.turns.ask(holder)
    answers = suspended(house, lambda: house.send("hot/a", "slow_add", 10))
    house.call("hot/a", "add", 1)
    let_go(house)
    assert answers[0].value == 11
    house.dispatcher.runs.table.turns.give_back(holder)

"""`self:request`: committed before it answers, once whatever happens to the run that asked."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.dispatch.job import REQUESTS_PLACE, derive_id
from lithox.dispatch.requesting import REQUEST_DEPTH_MAX
from lithox.dispatch.turns import Turn
from lithox.errors import (
    Cancelled,
    Conflict,
    DeadlinePassed,
    Diverged,
    GuestRaised,
    LimitExceeded,
    NotPermitted,
)
from lithox.model.limits import Limits
from lithox.model.request import Answer
from lithox.testing.script import Refused, ScriptedSelf, ScriptError
from tests.unit.dispatch.house import ADMIN, ALICE, BOB, House

BURN = 5_000_000
"""More than a first slice: the run suspends where it burns this."""


def request(entity: str, handler: str, *args: Any) -> tuple[Any, ...]:
    """The action a scripted handler yields for `self:request`; gives [value]."""
    return ("ask", "request", entity, handler, list(args))


def add(self: ScriptedSelf, by: int) -> Any:
    count = ((yield ("get", "count")) or 0) + by
    yield ("set", "count", count)
    yield ("set", "by", self.caller)
    return count


def fail_after(_self: ScriptedSelf) -> Any:
    yield ("set", "count", 1000)
    raise ScriptError("no", code="refused")


def ask_and_abort(_self: ScriptedSelf, other: str) -> Any:
    yield ("set", "asked", True)
    yield request(other, "add", 1)
    raise ScriptError("after all not", code="changed_mind")


def ask_twice(_self: ScriptedSelf, other: str) -> Any:
    first = yield request(other, "add", 1)
    second = yield request(other, "add", 1)
    yield ("set", "seen", second)
    return [*first, *second]


def ask_slowly(_self: ScriptedSelf, other: str) -> Any:
    """Reads, asks, and is suspended before it commits."""
    seen = (yield ("get", "count")) or 0
    found = yield request(other, "add", 1)
    yield ("burn", BURN)
    yield ("set", "count", seen + 100)
    return [seen, *found]


def ask_by_state(_self: ScriptedSelf, other: str) -> Any:
    """What it asks depends on what it read."""
    seen = (yield ("get", "count")) or 0
    try:
        found = yield request(other, "add", seen + 1)
    except Refused as refused:
        found = [refused.code]
    yield ("burn", BURN)
    yield ("set", "count", seen + 100)
    return found


def ask_if_zero(_self: ScriptedSelf, other: str) -> Any:
    """Asks the first time only."""
    seen = (yield ("get", "count")) or 0
    if not seen:
        yield request(other, "add", 1)
    yield ("burn", BURN)
    yield ("set", "count", seen + 100)


def ask_another(_self: ScriptedSelf, *others: str) -> Any:
    """Asks another entity each time the count has changed."""
    seen = (yield ("get", "count")) or 0
    yield request(others[seen], "add", 1)
    yield ("burn", BURN)
    yield ("set", "count", seen + 100)


def catch(_self: ScriptedSelf, other: str) -> Any:
    try:
        yield request(other, "fail_after")
    except Refused as refused:
        yield ("set", "why", refused.code)
        return refused.code
    return "?"


def go_down(self: ScriptedSelf, left: int) -> Any:
    if left == 0:
        return 0
    found = yield request(self.id, "go_down", left - 1)
    return found[0] + 1


def ask_spinner(_self: ScriptedSelf, other: str) -> Any:
    try:
        yield request(other, "spin")
    except Refused as refused:
        yield ("set", "why", refused.code)
        return refused.code
    return "?"


def spin(_self: ScriptedSelf) -> Any:
    yield ("set", "count", 1)
    yield ("spin",)


def ask_in_callee(_self: ScriptedSelf, middle: str, other: str) -> Any:
    return (yield ("call", middle, "ask_and_keep", other))


def ask_and_keep(_self: ScriptedSelf, other: str) -> Any:
    found = yield request(other, "add", 1)
    yield ("set", "kept", found[0])
    return found[0]


def ask_own(self: ScriptedSelf) -> Any:
    """Reads its own count, has it changed by a request of its own, writes another key."""
    before = (yield ("get", "count")) or 0
    found = yield request(self.id, "add", 1)
    yield ("set", "other", before)
    return [before, *found]


MODULE = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and name != "request"
}


def shop(**options: Any) -> House:
    house = House(**options)
    house.publish("shop/*", MODULE, access=["*"])
    return house


def suspend(house: House, *ask: Any, **options: Any) -> list[Answer]:
    """Sends a run and stops it where it burns."""
    house.long.is_held = True
    answers = house.send(*ask, **options)
    house.run()
    assert not answers
    return answers


def let_go(house: House) -> None:
    house.long.is_held = False
    held, house.long.held = house.long.held, []
    for work in held:
        work()
    house.run()


def test_request_is_committed_before_it_answers_and_stays() -> None:
    """The caller's abort takes back its own writes, not those of the request it made."""
    house = shop()
    with pytest.raises(GuestRaised, match="after all not"):
        house.call("shop/a", "ask_and_abort", "shop/b")
    assert (house.get("shop/a", "asked"), house.get("shop/b", "count")) == (None, 1)
    assert house.get("shop/b", "by") == "entity:shop/a"


def test_each_request_of_a_run_has_an_id_of_its_own() -> None:
    """Two requests that ask the same are two; the values come back in order."""
    house = shop()
    assert house.call("shop/a", "ask_twice", "shop/b") == [1, 2]
    assert house.get("shop/a", "seen") == [2]


def test_request_waits_until_its_commit_is_durable() -> None:
    """The parent goes on only when what the request did cannot be taken back any more."""
    house = shop()
    house.disk.hold()
    answers = house.send("shop/a", "ask_and_abort", "shop/b")
    house.run()
    assert not answers
    assert house.get("shop/b", "count") == 1
    house.disk.release()
    house.run()
    assert isinstance(answers[0].error, GuestRaised)


def test_failed_request_leaves_nothing_and_may_be_caught() -> None:
    """The child's error is raised in the parent, which may go on and commit."""
    house = shop()
    assert house.call("shop/a", "catch", "shop/b") == "app.refused"
    assert house.get("shop/a", "why") == "app.refused"
    assert house.get("shop/b", "count") is None


def test_rerun_of_the_parent_repeats_no_effect() -> None:
    """A parent that loses after its request runs again and gets the recorded answer."""
    house = shop()
    answers = suspend(house, "shop/a", "ask_slowly", "shop/b")
    house.call("shop/a", "add", 1, caller=BOB)
    let_go(house)
    assert answers[0].value == [1, 1]
    assert answers[0].usage.attempts == 2
    assert house.get("shop/b", "count") == 1
    assert house.get("shop/a", "count") == 101
    assert not house.dispatcher.runs.table.turns


def test_parent_that_has_requested_reruns_holding_its_turn() -> None:
    """After its first loss already, others that write its entity wait for it."""
    house = shop()
    house.call("shop/a", "add", 0)
    answers = suspend(house, "shop/a", "ask_slowly", "shop/b")
    house.long.is_held = False
    house.call("shop/a", "add", 1)
    house.long.is_held = True
    for work in [house.long.held.pop()]:
        work()
    house.run()
    turns = house.dispatcher.runs.table.turns
    assert turns.is_taken_by_other("shop/a", None)
    other = house.send("shop/a", "add", 1)
    house.run()
    assert not other
    let_go(house)
    assert answers[0].value == [1, 1]
    assert other[0].value == 102
    assert not turns


@pytest.mark.parametrize(
    ("handler", "others"),
    [
        ("ask_by_state", ["shop/b"]),
        ("ask_if_zero", ["shop/b"]),
        ("ask_another", ["shop/b", "shop/c"]),
    ],
)
def test_rerun_that_asks_for_something_else_has_diverged(handler: str, others: list[str]) -> None:
    """Other arguments, nothing at all or another entity: whatever the guest makes of it."""
    house = shop()
    answers = suspend(house, "shop/a", handler, *others)
    house.call("shop/a", "add", 1)
    let_go(house)
    assert isinstance(answers[0].error, Diverged)
    assert answers[0].error.message == (
        f"shop/a:{handler} was run again and asked for something else where a request of its own "
        "had committed; make what it asks depend on its arguments only"
    )
    assert house.get("shop/a", "count") == 1, "nothing of the parent remains"
    assert house.get("shop/b", "count") == 1, "what the request committed does"
    assert house.get("shop/c", "count") is None
    assert not house.dispatcher.runs.table.turns


def test_retry_after_a_lost_parent_repeats_no_effect() -> None:
    """A parent that ended between the child's commit and its own is asked again: one effect."""
    house = shop()
    answers = suspend(house, "shop/a", "ask_slowly", "shop/b", request_id="r-1")
    house.dispatcher.kill(house.dispatcher.processes()[0].pid)
    let_go(house)
    assert isinstance(answers[0].error, Cancelled)
    assert house.get("shop/b", "count") == 1
    assert house.call("shop/a", "ask_slowly", "shop/b", request_id="r-1") == [0, 1]
    assert house.get("shop/b", "count") == 1


def test_retry_after_a_lost_parent_that_asks_another_entity_has_diverged() -> None:
    """The record tells even without the memory of the first run: it is of no single entity."""
    house = shop()
    suspend(house, "shop/a", "ask_another", "shop/b", "shop/c", request_id="r-1")
    house.dispatcher.kill(house.dispatcher.processes()[0].pid)
    let_go(house)
    house.call("shop/a", "add", 1)
    with pytest.raises(Diverged):
        house.call("shop/a", "ask_another", "shop/b", "shop/c", request_id="r-1")
    assert (house.get("shop/b", "count"), house.get("shop/c", "count")) == (1, None)


def test_same_id_of_two_callers_or_entities_makes_two_requests() -> None:
    """Ids of requests are derived from who asked for what, not from the bare request id."""
    house = shop()
    house.call("shop/a", "ask_twice", "shop/z", request_id="r-1", caller=ALICE)
    house.call("shop/a", "ask_twice", "shop/z", request_id="r-1", caller=BOB)
    house.call("shop/b", "ask_twice", "shop/z", request_id="r-1", caller=BOB)
    assert house.get("shop/z", "count") == 6
    house.call("shop/b", "ask_twice", "shop/z", request_id="r-1", caller=BOB)
    assert house.get("shop/z", "count") == 6


def test_request_of_a_joined_callee_is_made_by_the_callee() -> None:
    """It acts as the callee; its answer reaches the callee and the group commits together."""
    house = shop()
    assert house.call("shop/a", "ask_in_callee", "shop/m", "shop/b") == 1
    assert house.get("shop/b", "by") == "entity:shop/m"
    assert house.get("shop/m", "kept") == 1


def test_request_to_the_own_entity_does_not_deadlock() -> None:
    """What the child changes of what the parent read makes the parent run again, once."""
    house = shop()
    house.call("shop/a", "add", 5)
    answers = house.send("shop/a", "ask_own")
    house.run()
    assert answers[0].value == [6, 6]
    assert answers[0].usage.attempts == 2
    assert not house.dispatcher.runs.table.turns


def test_parent_that_holds_a_turn_gives_it_back_while_it_waits() -> None:
    """A child may take its parent's entity: nobody who waits for an answer holds a turn."""
    house = shop()
    house.call("shop/a", "add", 1)
    answers = [house.send("shop/a", "ask_own") for _ in range(8)]
    house.run()
    values = sorted(answer[0].value[1] for answer in answers)
    assert values == list(range(2, 10))
    assert not house.dispatcher.runs.table.turns
    assert house.dispatcher.processes() == []


def test_run_that_began_with_a_turn_waits_without_it() -> None:
    """A parent that had waited its turn lets its child, which writes the same entity, have it."""
    house = shop()
    house.call("shop/a", "ask_own")
    turns = house.dispatcher.runs.table.turns
    holder = Turn({"shop/a"}, lambda: None)
    turns.ask(holder)
    answers = house.send("shop/a", "ask_own")
    house.run()
    assert not answers
    turns.give_back(holder)
    house.dispatcher.lanes.wake()
    house.run()
    assert answers[0].value == [2, 2]
    assert not turns


def test_requests_nest_down_to_a_bound() -> None:
    """Beyond it the innermost is refused and nobody waits for ever."""
    house = shop()
    depth = REQUEST_DEPTH_MAX - 1
    assert house.call("shop/a", "go_down", depth) == depth
    with pytest.raises(GuestRaised) as caught:
        house.call("shop/a", "go_down", depth + 1)
    assert caught.value.message == f"requests wait for each other at most {REQUEST_DEPTH_MAX} deep"


def test_killing_the_parent_ends_the_child_that_has_not_committed() -> None:
    """Nothing of either remains, and no process stays behind."""
    house = shop()
    answers = suspend(house, "shop/a", "ask_spinner", "shop/b")
    house.dispatcher.kill(house.dispatcher.processes()[0].pid)
    let_go(house)
    assert isinstance(answers[0].error, Cancelled)
    assert house.dispatcher.processes() == []
    assert house.dispatcher.open_count == 0
    assert house.get("shop/b", "count") is None


def test_child_ends_with_its_parents_time() -> None:
    """A request runs no longer than who waits for it."""
    house = shop()
    end_ns = house.clock.monotonic_ns() + 1_000_000
    answers = suspend(house, "shop/a", "ask_spinner", "shop/b", deadline_ns=end_ns)
    house.clock.advance(2_000_000)
    house.dispatcher.notify_time()
    let_go(house)
    assert isinstance(answers[0].error, DeadlinePassed)
    assert house.dispatcher.processes() == []


def test_child_runs_under_what_is_left_of_its_parent() -> None:
    """A low limit of the caller cannot be escaped by a request, and is charged for it."""
    house = shop()
    limits = Limits(fuel=10_000)
    with pytest.raises(LimitExceeded) as caught:
        house.call("shop/a", "ask_spinner", "shop/b", limits=limits)
    assert caught.value.fields["limit"] == "fuel"
    assert house.get("shop/b", "count") is None


def test_conflict_of_the_child_ends_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that loses at its bound says nothing about what it was asked: both end by that."""
    house = shop()
    house.call("shop/a", "add", 1)
    real = house.store.submit

    def submit(commit: Any, on_done: Any) -> int | None:
        if any(cell[0] == "shop/b" for cell in commit.writes):
            return None
        return real(commit, on_done)

    monkeypatch.setattr(house.store, "submit", submit)
    with pytest.raises(Conflict):
        house.call("shop/a", "ask_twice", "shop/b")
    assert house.get("shop/a", "seen") is None


def test_closing_node_still_takes_requests_of_running_handlers() -> None:
    """What runs when the node begins to close may end well."""
    house = shop()
    house.disk.hold()
    answers = house.send("shop/a", "ask_twice", "shop/b")
    house.run()
    house.dispatcher.is_closing = True
    house.disk.release()
    house.run()
    assert answers[0].value == [1, 2]


def test_requests_are_recorded_apart_from_those_of_callers() -> None:
    """The record stands under the asking entity's identity, in a place no caller can name."""
    house = shop()
    house.call("shop/a", "ask_and_keep", "shop/b", request_id="r-1", caller=ADMIN)
    assert house.store.count_results("root") == 2, "the payer is who began the chain"
    run_id = derive_id("i.", "root", "shop/a", "r-1")
    child_id = derive_id("q.", "entity:shop/a", run_id, "0")
    assert house.store.find_result("entity:shop/a", REQUESTS_PLACE, child_id) is not None
    with pytest.raises(NotPermitted):
        house.call(REQUESTS_PLACE, "add", 1, caller=ADMIN)

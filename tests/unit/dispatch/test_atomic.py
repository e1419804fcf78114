"""Groups of calls: all commit together or nothing remains, and an error names its call."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.dispatch.atomic import CALLS_MAX
from lithox.dispatch.job import ATOMIC_PLACE
from lithox.errors import (
    BadArguments,
    Conflict,
    GuestError,
    GuestRaised,
    IdReused,
    LimitExceeded,
    LimitTooHigh,
    NotFound,
    NotPermitted,
    StoreUnavailable,
)
from lithox.model.ids import EntityPath, HandlerName, RequestId
from lithox.model.limits import PARTICIPANTS_MAX, Limits
from lithox.model.request import Answer, Call, Caller, Request
from lithox.testing.script import ScriptedSelf, ScriptError
from tests.unit.dispatch.house import ALICE, BOB, House

BURN = 5_000_000
"""More than a first slice: the run suspends where it burns this."""


def add(_self: ScriptedSelf, by: int) -> Any:
    count = ((yield ("get", "count")) or 0) + by
    if count < 0:
        raise ScriptError("not enough", code="poor")
    yield ("set", "count", count)
    return count


def slow_add(_self: ScriptedSelf, by: int) -> Any:
    count = ((yield ("get", "count")) or 0) + by
    yield ("burn", BURN)
    yield ("set", "count", count)
    return count


def look(_self: ScriptedSelf) -> Any:
    return (yield ("get", "count"))


def who(self: ScriptedSelf) -> Any:
    yield ("burn", 1)
    return [self.id, self.caller, self.request_id]


def give(_self: ScriptedSelf, to: str, amount: int) -> Any:
    count = ((yield ("get", "count")) or 0) - amount
    yield ("set", "count", count)
    return (yield ("call", to, "add", amount))


def spin(_self: ScriptedSelf) -> Any:
    yield ("spin",)


def ask(_self: ScriptedSelf, other: str) -> Any:
    return (yield ("ask", "request", other, "add", [1]))[0]


def burn(_self: ScriptedSelf, fuel: int) -> Any:
    yield ("burn", fuel)


MODULE = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__
}


def bank(**options: Any) -> House:
    house = House(**options)
    house.publish("bank/*", MODULE, access=["entity:bank/*"])
    return house


def send(
    house: House,
    *calls: tuple[Any, ...],
    caller: Caller = ALICE,
    request_id: str | None = None,
    limits: Limits | None = None,
) -> list[Answer]:
    answers: list[Answer] = []
    house.dispatcher.submit(
        Request(
            entity=EntityPath(ATOMIC_PLACE),
            handler=HandlerName("atomic"),
            args=[],
            calls=tuple(
                Call(entity=EntityPath(entity), handler=HandlerName(handler), args=args)
                for entity, handler, *args in calls
            ),
            caller=caller,
            limits=limits,
            request_id=None if request_id is None else RequestId(request_id),
        ),
        answers.append,
    )
    return answers


def together(house: House, *calls: tuple[Any, ...], **options: Any) -> Any:
    """Sends a group, runs, and returns the values or raises the error."""
    answers = send(house, *calls, **options)
    house.run()
    assert len(answers) == 1
    assert not house.bugs, house.bugs
    assert house.dispatcher.processes() == []
    assert house.engine.guests_live == 0
    if answers[0].error is not None:
        raise answers[0].error
    return answers[0].value


def suspend(house: House, *calls: tuple[Any, ...]) -> list[Answer]:
    house.long.is_held = True
    answers = send(house, *calls)
    house.run()
    assert not answers
    return answers


def let_go(house: House) -> None:
    house.long.is_held = False
    held, house.long.held = house.long.held, []
    for work in held:
        work()
    house.run()


def test_calls_commit_together_and_give_their_values_in_order() -> None:
    """One commit holds the writes of all; each call sees those before it."""
    house = bank()
    before = house.store.visible_version
    values = together(
        house, ("bank/a", "add", 5), ("bank/b", "add", 7), ("bank/a", "add", 1), ("bank/a", "look")
    )
    assert values == [5, 7, 6, 6]
    assert house.store.visible_version == before + 1
    assert (house.get("bank/a", "count"), house.get("bank/b", "count")) == (6, 7)


def test_one_process_runs_them_all() -> None:
    """A group never counts as more than one process."""
    house = bank()
    answers = suspend(house, ("bank/a", "slow_add", 1), ("bank/b", "slow_add", 1))
    assert len(house.dispatcher.processes()) == 1
    let_go(house)
    assert answers[0].value == [1, 1]
    assert answers[0].usage.attempts == 1


def test_error_names_its_call_and_leaves_nothing() -> None:
    """What the calls before it wrote is gone; code and fields are the handler's own."""
    house = bank()
    with pytest.raises(GuestRaised) as caught:
        together(house, ("bank/a", "add", 5), ("bank/b", "add", -7), ("bank/c", "add", 1))
    assert caught.value.code == "app.poor"
    assert caught.value.fields["call"] == 1
    assert caught.value.message == "call 1, bank/b:add: not enough"
    assert [house.get(f"bank/{name}", "count") for name in "abc"] == [None] * 3


def test_each_call_runs_as_its_own_entity_for_the_caller() -> None:
    """Identity, caller and request id are those of a call made alone."""
    house = bank()
    values = together(house, ("bank/a", "who"), ("bank/b", "who"), request_id="r-1")
    assert values == [["bank/a", "alice", "r-1"], ["bank/b", "alice", "r-1"]]


def test_conflict_runs_the_whole_again_from_the_first_call() -> None:
    """A call that read what others changed since makes all of them run again."""
    house = bank()
    answers = suspend(house, ("bank/a", "add", 1), ("bank/b", "slow_add", 1))
    house.call("bank/a", "add", 10)
    let_go(house)
    assert answers[0].value == [11, 1]
    assert answers[0].usage.attempts == 2
    assert house.get("bank/a", "count") == 11


def test_crowd_of_groups_in_opposite_orders_ends_exact() -> None:
    """Turns are taken in one order whatever the calls' order: nobody waits for ever."""
    house = bank()
    answers = [
        send(house, *(call if number % 2 else reversed(call)))
        for number in range(20)
        for call in [(("bank/a", "slow_add", 1), ("bank/b", "slow_add", 1))]
    ]
    house.run()
    assert all(answer[0].error is None for answer in answers)
    assert (house.get("bank/a", "count"), house.get("bank/b", "count")) == (20, 20)
    assert not house.dispatcher.runs.table.turns


def test_group_joins_what_its_calls_call() -> None:
    """Joined callees commit with the group, and later calls see what they wrote."""
    house = bank()
    values = together(
        house, ("bank/a", "add", 9), ("bank/a", "give", "bank/b", 4), ("bank/b", "look")
    )
    assert values == [9, 4, 4]
    with pytest.raises(GuestRaised):
        together(house, ("bank/a", "give", "bank/b", 4), ("bank/b", "add", -100))
    assert (house.get("bank/a", "count"), house.get("bank/b", "count")) == (5, 4)


def test_every_call_needs_the_right_to_make_it() -> None:
    """One that is not allowed refuses the group before anything runs."""
    house = bank()
    house.publish("open/*", MODULE, access=["*"])
    before = house.engine.guests_started
    with pytest.raises(NotPermitted) as caught:
        together(house, ("open/a", "add", 1), ("bank/b", "add", 1), caller=BOB)
    assert caught.value.fields["call"] == 1
    assert house.engine.guests_started == before
    assert house.get("open/a", "count") is None


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (("nowhere/a", "add", 1), NotFound),
        (("bank/b", "missing"), NotFound),
        (("~node", "info"), NotPermitted),
        ((ATOMIC_PLACE, "add"), NotPermitted),
        (("~lithox/q/outbox", "add"), NotPermitted),
    ],
)
def test_calls_that_cannot_be_made_are_refused_by_number(
    call: tuple[Any, ...], error: type[Exception]
) -> None:
    """Unknown ones, the node itself and its own records."""
    house = bank()
    with pytest.raises(error) as caught:
        together(house, ("bank/a", "add", 1), call)
    assert getattr(caught.value, "fields")["call"] == 1  # noqa: B009 - of any LithoxError
    assert house.get("bank/a", "count") is None


def test_group_is_bounded() -> None:
    """In calls, and in the entities that take part."""
    house = bank()
    with pytest.raises(BadArguments):
        together(house, *[("bank/a", "add", 1)] * (CALLS_MAX + 1))
    assert together(house, *[("bank/a", "add", 1)] * CALLS_MAX)[-1] == CALLS_MAX
    with pytest.raises(GuestError) as caught:
        together(house, *[(f"bank/p{index}", "add", 1) for index in range(PARTICIPANTS_MAX + 1)])
    assert caught.value.code == "guest.out_of_participants"
    assert caught.value.fields["call"] == PARTICIPANTS_MAX


def test_limits_hold_for_each_call() -> None:
    """A call has its handler's own limits, lowered by the request's; none may ask for more."""
    house = bank(node_limits=Limits(fuel=1_000_000, wall_ns=1_000_000_000, state_bytes=100_000))
    together(house, *[("bank/a", "burn", 900_000)] * 3)
    with pytest.raises(LimitExceeded) as caught:
        together(house, ("bank/a", "burn", 10), ("bank/a", "burn", 900), limits=Limits(fuel=500))
    assert (caught.value.fields["call"], caught.value.fields["limit"]) == (1, "fuel")
    with pytest.raises(LimitTooHigh) as high:
        together(house, ("bank/a", "burn", 10), limits=Limits(fuel=2_000_000))
    assert high.value.fields["call"] == 0


def test_wall_time_is_that_of_the_whole() -> None:
    """However many calls, the group ends within the smallest of its handlers' wall limits."""
    house = bank(node_limits=Limits(fuel=10**9, wall_ns=1_000_000, state_bytes=100_000))
    answers = suspend(house, ("bank/a", "add", 1), ("bank/b", "spin"))
    house.clock.advance(2_000_000)
    house.dispatcher.notify_time()
    let_go(house)
    assert isinstance(answers[0].error, LimitExceeded)
    assert answers[0].error.fields["call"] == 1
    assert house.get("bank/a", "count") is None


def test_id_makes_a_group_idempotent() -> None:
    """The same calls under one id run once; other calls are refused; an entity's ids are apart."""
    house = bank()
    calls = (("bank/a", "add", 1), ("bank/b", "add", 2))
    assert together(house, *calls, request_id="r-1") == [1, 2]
    assert together(house, *calls, request_id="r-1") == [1, 2]
    assert house.get("bank/a", "count") == 1
    with pytest.raises(IdReused):
        together(house, calls[0], request_id="r-1")
    assert house.call("bank/a", "add", 1, request_id="r-1") == 2
    assert house.store.find_result("alice", ATOMIC_PLACE, "r-1") is not None


def test_recorded_values_are_given_to_who_may_still_call() -> None:
    """Whoever has lost the right to one of the calls is not told what it came to."""
    house = bank()
    house.publish("open/*", MODULE, access=["*"])
    assert together(house, ("open/a", "add", 1), caller=BOB, request_id="r-1") == [1]
    house.publish("open/*", MODULE, access=[])
    with pytest.raises(NotPermitted):
        together(house, ("open/a", "add", 1), caller=BOB, request_id="r-1")


def test_requests_of_a_group_have_ids_of_their_own() -> None:
    """Each call's request is made once, though the group runs again."""
    house = bank()
    answers = suspend(
        house, ("bank/a", "ask", "bank/z"), ("bank/a", "ask", "bank/z"), ("bank/b", "slow_add", 1)
    )
    house.call("bank/b", "add", 10)
    let_go(house)
    assert answers[0].value == [1, 2, 11]
    assert answers[0].usage.attempts == 2
    assert house.get("bank/z", "count") == 2


def test_reading_group_commits_nothing() -> None:
    """A group without writes reads one snapshot of all, beside writers under way."""
    house = bank()
    together(house, ("bank/a", "add", 1), ("bank/b", "add", 2))
    before = house.store.visible_version
    assert together(house, ("bank/a", "look"), ("bank/b", "look")) == [1, 2]
    assert house.store.visible_version == before


def test_withdrawn_group_leaves_nothing() -> None:
    """When its sync fails, no part of it remains and its id may run again."""
    house = bank()
    house.disk.hold()
    answers = send(house, ("bank/a", "add", 1), ("bank/b", "add", 2), request_id="r-1")
    house.run()
    house.disk.fail(StoreUnavailable("disk full"))
    house.disk.release()
    house.run()
    assert isinstance(answers[0].error, StoreUnavailable)
    house.disk.mend()
    house.run()
    assert together(house, ("bank/a", "add", 1), ("bank/b", "add", 2), request_id="r-1") == [1, 2]


def test_group_that_always_loses_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is run again a bounded number of times."""
    house = bank()
    monkeypatch.setattr(house.store, "submit", lambda *_: None)
    with pytest.raises(Conflict):
        together(house, ("bank/a", "add", 1), ("bank/b", "add", 2))
    assert not house.dispatcher.runs.table.turns

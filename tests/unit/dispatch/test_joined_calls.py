"""`self:call`: a callee joins its caller's transaction."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.dispatch.records import HandlerOverride
from lithox.errors import GuestRaised, LimitExceeded
from lithox.model.limits import CALL_DEPTH_MAX, PARTICIPANTS_MAX, Limits
from lithox.testing.script import Refused, ScriptedSelf, ScriptError
from tests.unit.dispatch.house import BOB, House


def deposit(_self: ScriptedSelf, amount: int) -> Any:
    balance = ((yield ("get", "balance")) or 0) + amount
    yield ("set", "balance", balance)
    if balance < 0:
        raise ScriptError("not enough", code="poor", data={"balance": balance})
    return balance


def transfer(_self: ScriptedSelf, to: str, amount: int) -> Any:
    balance = ((yield ("get", "balance")) or 0) - amount
    yield ("set", "balance", balance)
    other = yield ("call", to, "deposit", amount)
    return [balance, other]


def try_take(_self: ScriptedSelf, other: str) -> Any:
    yield ("set", "tried", True)
    try:
        yield ("call", other, "deposit", -1000)
    except Refused as refused:
        yield ("set", "why", refused.code)
        return refused.code
    return "taken"


def nest(self: ScriptedSelf, left: int) -> Any:
    if left == 0:
        return 0
    below = yield ("call", self.id, "nest", left - 1)
    return below + 1


def fan(_self: ScriptedSelf, count: int) -> Any:
    for number in range(count):
        yield ("call", f"bank/p{number}", "deposit", 1)
    return count


def cycle(self: ScriptedSelf, other: str) -> Any:
    yield ("set", "seen", "before")
    back = yield ("call", other, "look_back", self.id)
    return [back, (yield ("get", "seen"))]


def look_back(_self: ScriptedSelf, who: str) -> Any:
    return (yield ("call", who, "read_and_mark"))


def read_and_mark(_self: ScriptedSelf) -> Any:
    seen = yield ("get", "seen")
    yield ("set", "seen", "marked")
    return seen


def burn_in_callee(_self: ScriptedSelf, other: str) -> Any:
    yield ("call", other, "burn")
    yield ("burn", 600)
    return "left"


def burn(_self: ScriptedSelf) -> Any:
    yield ("burn", 500)


def call_spinner(_self: ScriptedSelf, other: str) -> Any:
    try:
        yield ("call", other, "spin")
    except Refused as refused:
        return refused.code
    return "?"


def spin(_self: ScriptedSelf) -> Any:
    yield ("set", "balance", 1_000_000)
    yield ("spin",)


def who(self: ScriptedSelf) -> Any:
    yield ("burn", 1)
    return self.caller


def ask_who(_self: ScriptedSelf, other: str) -> Any:
    return (yield ("call", other, "who"))


MODULE = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__
}


def bank(**options: Any) -> House:
    house = House(**options)
    house.publish("bank/*", MODULE, access=["entity:bank/*"])
    house.call("bank/a", "deposit", 100)
    return house


def test_call_commits_both_or_none() -> None:
    """A transfer changes both accounts in one commit; one that fails changes neither."""
    house = bank()
    version = house.store.visible_version
    assert house.call("bank/a", "transfer", "bank/b", 30) == [70, 30]
    assert house.store.visible_version == version + 1
    with pytest.raises(GuestRaised) as caught:
        house.call("bank/a", "transfer", "bank/b", -500)
    assert caught.value.code == "app.poor"
    assert (house.get("bank/a", "balance"), house.get("bank/b", "balance")) == (70, 30)


def test_callee_that_fails_leaves_nothing_and_may_be_caught() -> None:
    """A caught error rolls back the callee's writes only; the caller's own stay."""
    house = bank()
    assert house.call("bank/a", "try_take", "bank/b") == "app.poor"
    assert house.get("bank/a", "why") == "app.poor"
    assert house.get("bank/b", "balance") is None
    assert "bank/b" not in house.store.list_entities("bank", "", 10)


def test_cycle_sees_the_transactions_own_writes() -> None:
    """A callee that calls back sees what its caller wrote, and the caller what it changed."""
    house = bank()
    assert house.call("bank/a", "cycle", "bank/b") == ["before", "marked"]
    assert house.get("bank/a", "seen") == "marked"


def test_depth_is_bounded() -> None:
    """32 frames may nest; the next call is refused in the guest that makes it."""
    house = bank()
    assert house.call("bank/a", "nest", CALL_DEPTH_MAX - 1) == CALL_DEPTH_MAX - 1
    with pytest.raises(GuestRaised) as caught:
        house.call("bank/a", "nest", CALL_DEPTH_MAX)
    assert caught.value.code == "app.guest.out_of_depth"
    assert house.dispatcher.processes() == []


def test_participants_are_bounded() -> None:
    """16 entities may take part, the caller included."""
    house = bank()
    assert house.call("bank/a", "fan", PARTICIPANTS_MAX - 1) == PARTICIPANTS_MAX - 1
    with pytest.raises(GuestRaised):
        house.call("bank/a", "fan", PARTICIPANTS_MAX)
    assert house.get("bank/p0", "balance") == 1


def test_callers_fuel_pays_for_its_callee() -> None:
    """What a callee burns is gone from the caller's allowance."""
    house = bank()
    assert house.call("bank/a", "burn_in_callee", "bank/b", limits=Limits(fuel=2000)) == "left"
    with pytest.raises(LimitExceeded) as caught:
        house.call("bank/a", "burn_in_callee", "bank/b", limits=Limits(fuel=1000))
    assert caught.value.fields["limit"] == "fuel"


def test_callee_has_what_is_left_of_its_callers_limits() -> None:
    """Output, state, calls and wall time of a callee come out of its caller's allowance."""
    house = House()
    seen: list[Limits] = []

    def outer(_self: ScriptedSelf) -> Any:
        yield ("set", "k", "x" * 100)
        yield ("log", "info", "y" * 100, {})
        house.clock.advance(1_000_000)
        yield ("call", "l/b", "inner")
        used = yield ("usage",)
        return used["used"]["output"]

    def inner(_self: ScriptedSelf) -> Any:
        seen.append(house.dispatcher.runs.table.by_pid[2].limits)  # type: ignore[index]
        yield ("log", "info", "z" * 200, {})

    house.publish("l/*", {"outer": outer, "inner": inner}, access=["entity:l/*"])
    asked = Limits(fuel=100_000, wall_ns=9_000_000, output_bytes=2_000, calls=50, state_bytes=1_000)
    output = house.call("l/a", "outer", limits=asked)
    [given] = seen
    assert 0 < (given.fuel or 0) < 100_000
    assert given.wall_ns == 8_000_000
    assert 0 < (given.output_bytes or 0) < 1_900
    assert given.calls == 48
    assert given.memory_bytes == (8 << 20) - 65536, "what the caller holds is taken"
    assert 0 < (given.state_bytes or 0) < 900
    assert output > 300, "the callee's output is on the caller's account"


def test_callee_out_of_fuel_is_an_error_in_its_caller() -> None:
    """A callee's own limit ends the callee; the caller catches it and goes on."""
    house = House()
    house.publish(
        "bank/*",
        MODULE,
        access=["entity:bank/*"],
        handlers={"spin": HandlerOverride(limits={"fuel": 1000})},
    )
    assert house.call("bank/a", "call_spinner", "bank/b") == "guest.out_of_fuel"
    assert house.get("bank/b", "balance") is None


def test_callee_sees_its_caller_as_an_entity() -> None:
    """The originator of a joined call is the calling entity, whoever asked for the request."""
    house = bank()
    assert house.call("bank/a", "ask_who", "bank/b") == "entity:bank/a"


def test_callee_checks_its_own_access_list() -> None:
    """An entity of another owner is refused unless the callee's list names it."""
    house = bank()
    house.publish("closed/*", MODULE, owner="bob")
    house.publish("friendly/*", MODULE, owner="bob", access=["entity:bank/**"])
    with pytest.raises(GuestRaised) as caught:
        house.call("bank/a", "ask_who", "closed/x")
    assert caught.value.code == "app.request.not_permitted"
    assert house.call("bank/a", "ask_who", "friendly/x") == "entity:bank/a"


def test_deadline_in_a_callee_ends_the_whole_request() -> None:
    """Kill and deadline end caller and callee; nothing of either remains."""
    house = bank()
    house.long.is_held = True
    answers = house.send("bank/a", "call_spinner", "bank/b", deadline_ns=5_000_000_000)
    house.run()
    assert len(house.dispatcher.processes()) == 2
    house.clock.advance(10_000_000_000)
    house.dispatcher.notify_time()
    house.run()
    house.long.is_held = False
    for work in house.long.held:
        work()
    house.run()
    assert getattr(answers[0].error, "code", "") == "request.deadline_passed"
    assert house.dispatcher.processes() == []
    assert house.get("bank/b", "balance") is None


def test_entity_never_acts_with_its_owners_rights() -> None:
    """Who may call an entity cannot spend its owner's rights through it, at no time."""
    house = House()
    house.publish("vault/*", MODULE, owner="root")
    house.publish("open/*", MODULE, owner="root", access=["*"])
    house.publish("mine/*", MODULE, owner="root", access=["*"], owned_by="caller")
    for entity in ("open/x", "mine/x", "mine/x"):
        with pytest.raises(GuestRaised) as caught:
            house.call(entity, "ask_who", "vault/v", caller=BOB)
        assert caught.value.code == "app.request.not_permitted"
        house.call(entity, "deposit", 1, caller=BOB)


def test_entity_may_always_call_itself() -> None:
    """A call to the own entity needs no entry in the access list."""
    house = House()
    house.publish("bank/*", MODULE)
    assert house.call("bank/a", "nest", 2) == 2


def test_commit_is_validated_against_what_a_timed_out_callee_was_given() -> None:
    """A callee ended by its wall limit counts as having read its whole state."""
    house = House()

    def outer(_self: ScriptedSelf) -> Any:
        try:
            yield ("call", "w/b", "slow")
        except Refused as refused:
            yield ("set", "why", refused.code)
        return "caught"

    def slow(_self: ScriptedSelf) -> Any:
        yield ("get", "balance")
        yield ("burn", 20_000_000)

    house.publish(
        "w/*",
        {**MODULE, "outer": outer, "slow": slow},
        access=["entity:w/*"],
        handlers={"slow": HandlerOverride(limits={"wall_ms": 10, "fuel": 1_000_000_000})},
    )
    house.call("w/b", "deposit", 1)
    house.long.is_held = True
    answers = house.send("w/a", "outer")
    house.run()
    house.long.is_held = False
    house.call("w/b", "deposit", 1)
    house.clock.advance(20_000_000)
    house.dispatcher.notify_time()
    for work in house.long.held:
        work()
    house.long.held.clear()
    house.run()
    assert answers[0].value == "caught"
    assert answers[0].usage.attempts == 2

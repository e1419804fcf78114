"""A timer that is due once goes with the commit of the run it calls, and with no other."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.errors import StoreUnavailable
from lithox.testing.script import Module, Script, ScriptedSelf
from tests.unit.dispatch.schedules.clockwork import HOUR_MS, MINUTE_MS, MODULE, ClockHouse

NOTE = {"handler": "note", "args": ["ding"]}


def tick(self: ScriptedSelf, name: str, left: int) -> Script:
    """Notes how many timers it has, and sets itself again as long as `left` says."""
    rows, _ = yield ("ask", "timers", None)
    counts = (yield ("get", "counts")) or []
    yield ("set", "counts", [*counts, len(rows)])
    if left:
        spec = {"handler": "tick", "args": [name, left - 1], "after": 1_000, "name": name}
        yield ("ask", "schedule", spec)
    return None


def cancel_self(self: ScriptedSelf, name: str) -> Script:
    """Notes whether the timer whose call it is could be cancelled."""
    (was_there,) = yield ("ask", "cancel", name)
    yield ("set", "was_there", was_there)
    return None


class DirectHouse(ClockHouse):
    """A house whose timers look at themselves."""

    modules: ClassVar[dict[str, Module]] = {
        "clock/**": {**MODULE, "tick": tick, "cancel_self": cancel_self}
    }

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left of any timer."""
        timers, waiting = self.dispatcher.timers, self.dispatcher.mail.waiting
        return (self.rows_of("clock/a"), self.waiting_rows, waiting.count, timers.armed.count) == (
            (0, 0),
            0,
            0,
            0,
        )


def test_a_call_costs_one_commit() -> None:
    """The effect and the end of the timer are the same one; nothing passes through the outbox."""
    house = DirectHouse()
    house.call("clock/a", "arm", {**NOTE, "after": 1_000})
    before = house.store.statistics()["commits"]
    house.wait_ms(1_000)
    assert house.seen("clock/a") == ["ding"]
    assert house.store.statistics()["commits"] == before + 1
    assert house.is_clean


def test_a_timer_can_be_cancelled_until_its_run_has_committed() -> None:
    """Due, and waiting to be called: whoever cancels it then is told that it was there."""
    house = DirectHouse()
    house.call("clock/a", "arm", {**NOTE, "after": 1_000, "name": "x"})
    house.hold()
    house.wait_ms(2_000)
    assert house.call("clock/a", "cancel", "x") is True
    house.let_go()
    house.wait_ms(HOUR_MS)
    assert house.seen("clock/a") == []
    assert house.is_clean


def test_one_that_is_replaced_while_it_waits_is_not_called() -> None:
    """The new one calls at its own time, once."""
    house = DirectHouse()
    for word in ("first", "second"):
        spec = {"handler": "note", "args": [word], "after": 1_000, "name": "x"}
        house.call("clock/a", "arm", spec)
        house.hold()
        house.wait_ms(500 if word == "second" else 2_000)
    house.let_go()
    assert house.seen("clock/a") == []
    house.wait_ms(HOUR_MS)
    assert house.seen("clock/a") == ["second"]
    assert house.is_clean


def test_a_run_may_set_the_timer_it_was_called_by_again() -> None:
    """It does not find itself among its timers, has room for the next one, and ends when told."""
    house = DirectHouse(timers=TimerBounds(entity_max=1, account_max=1, node_max=1))
    spec = {"handler": "tick", "args": ["beat", 3], "after": 1_000, "name": "beat"}
    house.call("clock/a", "arm", spec)
    house.wait_ms(3_999)
    assert house.get("clock/a", "counts") == [0, 0, 0]
    house.wait_ms(HOUR_MS)
    assert house.get("clock/a", "counts") == [0, 0, 0, 0]
    assert house.is_clean


def test_a_run_cannot_cancel_the_timer_it_was_called_by() -> None:
    """It has gone already, as if somebody else had cancelled it."""
    house = DirectHouse()
    spec = {"handler": "cancel_self", "args": ["x"], "after": 1_000, "name": "x"}
    house.call("clock/a", "arm", spec)
    house.wait_ms(1_000)
    assert house.get("clock/a", "was_there") is False
    assert house.is_clean


def test_one_that_fails_becomes_a_message_and_is_tried_again() -> None:
    """It is a timer no more; tries and rests are those of messages, also after a restart."""
    house = DirectHouse()
    house.call("clock/a", "arm", {"handler": "fail_until", "args": ["x"], "after": 1_000})
    house.wait_ms(1_050)
    assert (house.rows_of("clock/a"), house.waiting_rows) == ((0, 0), 1)
    assert len(house.tries_rows) == 1
    assert house.dispatcher.timers.armed.count == 0
    again = DirectHouse(disk=house.disk, wall_ns=house.clock.wall_ns())
    again.call("clock/a", "mend")
    again.wait_ms(MINUTE_MS)
    assert again.seen("clock/a") == ["x"]
    assert again.is_clean
    assert again.tries_rows == []


def test_one_that_fails_for_ever_is_found_among_the_dead() -> None:
    """After as many tries as any message has."""
    house = DirectHouse(bounds=MessageBounds(tries_max=3))
    house.call("clock/a", "arm", {"handler": "fail_until", "args": ["x"], "after": 1_000})
    house.wait_ms(HOUR_MS)
    assert len(house.dead_rows) == 1
    assert house.is_clean


def test_a_call_that_was_withdrawn_is_made_again() -> None:
    """The sync of its commit fails: the timer is there again, and calls once."""
    house = DirectHouse()
    house.call("clock/a", "arm", {**NOTE, "after": 1_000})
    house.call("clock/a", "arm", {**NOTE, "after": 2 * HOUR_MS, "name": "later"})
    house.disk.fail(StoreUnavailable("no disk"))
    house.wait_ms(1_500)
    assert house.seen("clock/a") == []
    house.disk.mend()
    house.wait_ms(5 * MINUTE_MS)
    assert house.seen("clock/a") == ["ding"]
    assert house.dispatcher.timers.armed.count == 1
    house.call("clock/a", "cancel", "later")
    assert house.is_clean


def test_a_call_that_waits_outlasts_the_node() -> None:
    """Nothing but memory knew that it was due: the next node finds the timer, and calls it once."""
    house = DirectHouse()
    house.call("clock/a", "arm", {**NOTE, "after": 1_000})
    house.hold()
    house.wait_ms(2_000)
    again = house.reopen()
    again.run()
    assert again.seen("clock/a") == ["ding"]


@pytest.mark.parametrize("handler", ["missing", "_hidden"])
def test_a_handler_that_is_not_there_buries_the_call(handler: str) -> None:
    """A timer may name a handler that the module does not have when it is due."""
    house = DirectHouse(bounds=MessageBounds(tries_max=2))
    spec: dict[str, Any] = {"handler": handler, "args": [], "after": 1_000}
    house.call("clock/a", "arm", spec)
    house.wait_ms(HOUR_MS)
    assert len(house.dead_rows) == 1
    assert house.is_clean

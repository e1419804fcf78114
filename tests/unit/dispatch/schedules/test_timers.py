"""A timer is state of its entity: armed by a commit, due once, cancelled by a commit."""

from __future__ import annotations

import pytest

from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.records import ENTITY_KEY
from lithox.dispatch.schedules.batches import Batch
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.dispatch.schedules.records import DUE, due_key, encode_account
from lithox.dispatch.schedules.timers import Timers
from lithox.dispatch.schedules.window import Window
from lithox.errors import GuestRaised, StoreUnavailable
from tests.unit.dispatch.house import BOB
from tests.unit.dispatch.schedules.clockwork import HOUR_MS, MINUTE_MS, ClockHouse

NOTE = {"handler": "note", "args": ["ding"]}


def test_a_timer_calls_its_handler_when_it_is_due_and_not_before() -> None:
    """`after` counts from the commit's clock; nothing of the timer is left when it has called."""
    house = ClockHouse()
    timer_id = house.call("clock/a", "arm", {**NOTE, "after": 5_000})
    assert timer_id.startswith("t.")
    house.wait_ms(4_999)
    assert house.seen("clock/a") == []
    house.wait_ms(1)
    assert house.seen("clock/a") == ["ding"]
    assert (house.rows_of("clock/a"), house.waiting_rows) == ((0, 0), 0)
    assert house.dispatcher.timers.armed.count == 0


@pytest.mark.parametrize("offset_ms", [-HOUR_MS, 0, 7])
def test_at_a_time_that_has_passed_means_now(offset_ms: int) -> None:
    """Also without any waiting, like `after` 0."""
    house = ClockHouse()
    house.call("clock/a", "arm", {**NOTE, "at": house.wall_ms + offset_ms})
    house.wait_ms(max(0, offset_ms))
    assert house.seen("clock/a") == ["ding"]


def test_a_run_that_fails_has_armed_nothing() -> None:
    """The timer goes with the rest of what the run wrote."""
    house = ClockHouse()
    with pytest.raises(GuestRaised):
        house.call("clock/a", "arm_and_fail", {**NOTE, "after": 1})
    house.wait_ms(HOUR_MS)
    assert (house.seen("clock/a"), house.rows_of("clock/a")) == ([], (0, 0))
    assert house.dispatcher.timers.armed.count == 0


def test_an_entity_that_only_sets_a_timer_exists() -> None:
    """Timers are part of its state, so whoever deletes the entity finds it."""
    house = ClockHouse()
    house.call("clock/a", "arm", {**NOTE, "after": HOUR_MS})
    assert house.get("clock/a", ENTITY_KEY) is not None


def test_a_cancelled_timer_does_not_call() -> None:
    """`cancel` says whether it was there; the second time it was not."""
    house = ClockHouse()
    timer_id = house.call("clock/a", "arm", {**NOTE, "after": 1_000})
    assert house.call("clock/a", "cancel", timer_id) is True
    assert house.call("clock/a", "cancel", timer_id) is False
    house.wait_ms(HOUR_MS)
    assert (house.seen("clock/a"), house.rows_of("clock/a")) == ([], (0, 0))
    assert house.dispatcher.timers.armed.count == 0


def test_what_is_armed_and_cancelled_in_one_run_was_never_there() -> None:
    """Neither in the store nor in the counts."""
    house = ClockHouse()
    assert house.call("clock/a", "arm_and_cancel", {**NOTE, "after": 1}) == [True, False]
    assert house.rows_of("clock/a") == (0, 0)
    assert house.dispatcher.timers.armed.count == 0
    house.call("clock/a", "arm", {**NOTE, "name": "x", "after": HOUR_MS})
    spec = {**NOTE, "name": "x", "after": HOUR_MS}
    assert house.call("clock/a", "arm_and_cancel", spec) == [True, False]
    assert house.dispatcher.timers.armed.count == 0


def test_an_entity_reaches_only_its_own_timers() -> None:
    """Another's id is nobody's to it."""
    house = ClockHouse()
    timer_id = house.call("clock/a", "arm", {**NOTE, "after": 1_000})
    assert house.call("clock/b", "cancel", timer_id) is False
    assert house.call("clock/b", "timers") == [[], False]
    house.wait_ms(1_000)
    assert house.seen("clock/a") == ["ding"]


def test_a_name_replaces_the_timer_of_that_name() -> None:
    """The earlier one is gone, whether the new one is due before or after."""
    house = ClockHouse()
    for word, after in (("first", 1_000), ("second", 3_000), ("third", 2_000)):
        spec = {"handler": "note", "args": [word], "after": after, "name": "alarm"}
        assert house.call("clock/a", "arm", spec) == "alarm"
    assert house.rows_of("clock/a") == (1, 1)
    assert house.dispatcher.timers.armed.count == 1
    house.wait_ms(HOUR_MS)
    assert house.seen("clock/a") == ["third"]


def test_timers_lists_what_is_armed_by_id() -> None:
    """With what it calls, when, and how it repeats; in pages."""
    house = ClockHouse()
    now = house.wall_ms
    house.call("clock/a", "arm", {**NOTE, "after": 1_000, "name": "a"})
    house.call("clock/a", "arm", {**NOTE, "every": MINUTE_MS, "name": "b", "missed": "all"})
    cron = {**NOTE, "cron": "0 6 * * *", "zone": "Europe/Berlin", "name": "c"}
    house.call("clock/a", "arm", cron)
    rows, more = house.call("clock/a", "timers")
    assert more is False
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert rows[0]["due"] == now + 1_000
    assert (rows[1]["every"], rows[1]["missed"]) == (MINUTE_MS, "all")
    assert (rows[2]["cron"], rows[2]["zone"]) == ("0 6 * * *", "Europe/Berlin")
    assert [row["id"] for row in house.call("clock/a", "timers", "a")[0]] == ["b", "c"]


def test_many_due_at_once_all_run_once() -> None:
    """In batches, each by one commit."""
    house = ClockHouse(timers=TimerBounds(batch_max=7))
    for number in range(5):
        house.call(f"clock/{number}", "arm_many", 10, 1_000)
    house.wait_ms(1_000)
    for number in range(5):
        assert sorted(house.seen(f"clock/{number}"), key=int) == [str(n) for n in range(10)]
    assert house.dispatcher.timers.counters.fired == 50


def test_timers_outlast_a_restart() -> None:
    """What came due meanwhile calls at once, the rest at its time."""
    house = ClockHouse()
    for after in (1_000, 10_000):
        house.call("clock/a", "arm", {"handler": "note", "args": [str(after)], "after": after})
    again = house.reopen(off_ms=2_000)
    again.run()
    assert again.seen("clock/a") == ["1000"]
    assert again.dispatcher.timers.armed.count == 1
    again.wait_ms(8_000)
    assert again.seen("clock/a") == ["1000", "10000"]


def test_memory_holds_only_what_comes_next() -> None:
    """However many are armed; those that were let go are read when their time comes nearer."""
    house = ClockHouse(timers=TimerBounds(held_max=8, batch_max=4))
    for number in range(40):
        spec = {"handler": "note", "args": [str(number)], "after": 1_000 * (40 - number)}
        house.call("clock/a", "arm", spec)
        assert house.dispatcher.timers.statistics()["held"] <= 8
    assert house.dispatcher.timers.armed.count == 40
    house.wait_ms(40_000)
    assert house.seen("clock/a") == [str(n) for n in reversed(range(40))]


def test_armed_timers_ask_for_nothing_while_they_wait() -> None:
    """An hour with a thousand timers costs one wake-up a minute, as many as with one."""
    wakes: list[int] = []
    for count in (1, 1_000):
        house = ClockHouse()
        house.call("clock/a", "arm_many", count, 2 * HOUR_MS)
        before = house.wakes
        house.wait_ms(HOUR_MS)
        wakes.append(house.wakes - before)
    assert wakes[0] == wakes[1] <= 61


def test_a_wall_clock_set_forward_is_noticed_within_a_minute() -> None:
    """What became due by the jump is late by a minute at most; set back, it is due later."""
    house = ClockHouse()
    house.call("clock/a", "arm", {**NOTE, "after": HOUR_MS})
    house.clock.shift_wall(2 * HOUR_MS * 1_000_000)
    house.wait_ms(MINUTE_MS)
    assert house.seen("clock/a") == ["ding"]
    house.call("clock/b", "arm", {**NOTE, "after": MINUTE_MS})
    house.clock.shift_wall(-HOUR_MS * 1_000_000)
    house.wait_ms(HOUR_MS)
    assert house.seen("clock/b") == []
    house.wait_ms(MINUTE_MS)
    assert house.seen("clock/b") == ["ding"]


def test_a_withdrawn_cancel_leaves_the_timer_armed() -> None:
    """The sync of the cancelling commit fails: the timer is there again, and calls."""
    house = ClockHouse()
    timer_id = house.call("clock/a", "arm", {**NOTE, "after": 10 * MINUTE_MS})
    house.disk.fail(StoreUnavailable("no disk"))
    with pytest.raises(StoreUnavailable):
        house.call("clock/a", "cancel", timer_id)
    house.disk.mend()
    house.wait_ms(11 * MINUTE_MS)
    assert house.seen("clock/a") == ["ding"]


def test_a_withdrawn_move_is_made_again() -> None:
    """The sync of the commit that took the timer fails; it calls once all the same."""
    house = ClockHouse()
    house.call("clock/a", "arm", {**NOTE, "after": 1_000})
    house.disk.fail(StoreUnavailable("no disk"))
    house.wait_ms(1_000)
    assert house.seen("clock/a") == []
    house.disk.mend()
    house.wait_ms(3 * MINUTE_MS)
    assert house.seen("clock/a") == ["ding"]
    assert (house.rows_of("clock/a"), house.waiting_rows) == ((0, 0), 0)


@pytest.mark.parametrize(
    ("bounds", "whose"),
    [
        (TimerBounds(entity_max=2), "this entity"),
        (TimerBounds(account_max=2), "this account"),
        (TimerBounds(node_max=2), "this node"),
    ],
)
def test_too_many_timers_are_refused(bounds: TimerBounds, whose: str) -> None:
    """Those of the run itself count; replacing one is no more."""
    house = ClockHouse(timers=bounds)
    with pytest.raises(GuestRaised) as raised:
        house.call("clock/a", "arm_many", 3, HOUR_MS)
    assert raised.value.code == "app.guest.too_many_timers"
    assert raised.value.message.startswith(whose)
    for name in ("x", "y", "x"):
        house.call("clock/a", "arm", {**NOTE, "after": HOUR_MS, "name": name})
    with pytest.raises(GuestRaised):
        house.call("clock/a", "arm", {**NOTE, "after": HOUR_MS})
    house.call("clock/a", "cancel", "y")
    house.call("clock/a", "arm", {**NOTE, "after": HOUR_MS})


def test_a_timer_that_is_due_once_waits_for_room() -> None:
    """With the outbox full it stays due, and calls when there is room."""
    house = ClockHouse(bounds=MessageBounds(account_max=1))
    house.call("clock/a", "arm_many", 3, 1_000)
    house.hold()
    house.wait_ms(5_000)
    assert house.dispatcher.mail.waiting.count == 1
    assert (house.waiting_rows, house.rows_of("clock/a")) == (0, (3, 3))
    house.let_go()
    house.wait_ms(5_000)
    assert sorted(house.seen("clock/a")) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"handler": "note"}, "a timer says one of after, at, every, cron; found 0 of them"),
        ({**NOTE, "after": 1, "at": 2}, "a timer says one of after, at, every, cron; found 2"),
        ({**NOTE, "after": -1}, "after is not negative; found -1"),
        ({**NOTE, "after": "1"}, "after is a whole number of milliseconds; found '1'"),
        ({**NOTE, "after": 1.5}, "after is a whole number of milliseconds; found 1.5"),
        ({**NOTE, "at": 1 << 60}, "at is before the year 10,000"),
        ({**NOTE, "every": 99}, "every is at least 100 milliseconds; found 99"),
        ({**NOTE, "cron": "* * * *"}, "a cron line is five fields"),
        ({**NOTE, "cron": "61 * * * *"}, "cron line '61 * * * *': Bad minute"),
        ({**NOTE, "cron": "0 0 * * 1#5"}, "a cron line is five fields"),
        ({**NOTE, "cron": "0 0 * * *", "zone": "Mars"}, "no time zone 'Mars'"),
        ({**NOTE, "cron": "0 0 * * *", "zone": "../etc/passwd"}, "no time zone"),
        ({**NOTE, "cron": 5}, "cron is a line of five fields"),
        ({**NOTE, "after": 1, "zone": "UTC"}, "zone is for cron lines only"),
        ({**NOTE, "after": 1, "missed": "some"}, "missed is one of once, all, none"),
        ({**NOTE, "after": 1, "name": "a/b"}, "a timer's name is 1-128 of"),
        ({**NOTE, "after": 1, "color": 1}, "a timer has no 'color'"),
        ({"handler": "Note", "after": 1}, "a handler name is"),
        ({"handler": "note", "args": {}, "after": 1}, "the arguments of a handler are a list"),
        ([1], "a timer is described by a map with text keys"),
    ],
)
def test_what_is_wrong_with_a_timer_is_told(spec: object, text: str) -> None:
    """The handler is told in words; nothing is armed."""
    house = ClockHouse()
    with pytest.raises(GuestRaised) as raised:
        house.call("clock/a", "arm", spec)
    assert raised.value.message.startswith(text)
    assert raised.value.code == "app.request.bad_arguments"
    assert house.rows_of("clock/a") == (0, 0)


def test_an_overdue_timer_of_another_node_is_taken_over() -> None:
    """Rows nobody here knows are moved once they are a minute overdue."""
    house = ClockHouse()
    house.run()
    house.dispatcher.timers._window.first()
    house.dispatcher.timers._window.add = lambda key: None  # type: ignore[method-assign]
    house.call("clock/a", "arm", {**NOTE, "after": 1_000})
    del house.dispatcher.timers._window.add  # type: ignore[method-assign]
    house.wait_ms(30_000)
    house.dispatcher.timers.adopt_old()
    house.run()
    assert house.seen("clock/a") == []
    house.wait_ms(32_000)
    house.dispatcher.timers.adopt_old()
    house.run()
    assert house.seen("clock/a") == ["ding"]


def test_timers_that_one_run_sets_count_for_the_entity_that_has_them() -> None:
    """A run that arms for two entities is bound by what each of them has, not by their sum."""
    house = ClockHouse(timers=TimerBounds(entity_max=2))
    house.call("clock/a", "arm_and_call", {**NOTE, "after": HOUR_MS}, ["clock/b", "clock/c"])
    assert house.dispatcher.timers.armed.count == 4
    house.call("clock/b", "arm", {**NOTE, "after": HOUR_MS})
    with pytest.raises(GuestRaised, match="this entity"):
        house.call("clock/b", "arm", {**NOTE, "after": HOUR_MS})


def test_a_timer_that_is_cancelled_makes_room_in_the_same_run() -> None:
    """One in, one out: the bound is never passed."""
    house = ClockHouse(timers=TimerBounds(entity_max=1))
    timer_id = house.call("clock/a", "arm", {**NOTE, "after": HOUR_MS})
    house.call("clock/a", "cancel_and_arm", timer_id, {**NOTE, "after": HOUR_MS})
    assert house.rows_of("clock/a") == (1, 1)


@pytest.mark.patches_source
def test_a_full_outbox_costs_a_bounded_look_and_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many timers of an account wait for room, one go looks at a batch of them."""
    taken: list[int] = [0]
    take, plan = Window.take, Timers._plan

    def count_take(window: Window) -> str:
        taken[-1] += 1
        return take(window)

    def begin_plan(timers: Timers, batch: Batch) -> bool:
        taken.append(0)
        assert timers.statistics()["held"] <= 16
        return plan(timers, batch)

    monkeypatch.setattr(Window, "take", count_take)
    monkeypatch.setattr(Timers, "_plan", begin_plan)
    bounds = TimerBounds(batch_max=8, held_max=16)
    house = ClockHouse(bounds=MessageBounds(account_max=2), timers=bounds)
    house.call("clock/a", "arm_many", 200, 1_000)
    house.hold()
    house.wait_ms(60_000)
    assert house.dispatcher.mail.waiting.count == 2
    assert (house.waiting_rows, house.rows_of("clock/a")) == (0, (200, 200))
    assert (max(taken), sum(taken)) == (8, 200)
    house.let_go()
    house.wait_ms(300_000)
    assert sorted(house.seen("clock/a"), key=int) == [str(n) for n in range(200)]
    assert len(house.dispatcher.timers._backlog) == 0


def test_one_account_without_room_holds_back_no_other() -> None:
    """Timers behind those of the full account, beyond what memory holds, call in time."""
    house = ClockHouse(
        bounds=MessageBounds(account_max=2), timers=TimerBounds(batch_max=4, held_max=8)
    )
    house.call("clock/a", "arm_many", 50, 1_000)
    house.call("clock/b", "arm", {**NOTE, "after": 1_001}, caller=BOB)
    timers = house.dispatcher.timers
    full = timers._mail.waiting.count_of_account
    timers._mail.waiting.count_of_account = (  # type: ignore[method-assign]
        lambda account: 2 if account == "alice" else full(account)
    )
    house.wait_ms(2_000)
    assert house.seen("clock/b") == ["ding"]
    assert house.seen("clock/a") == []
    timers._mail.waiting.count_of_account = full  # type: ignore[method-assign]
    house.wait_ms(60_000)
    assert sorted(house.seen("clock/a"), key=int) == [str(n) for n in range(50)]
    assert len(timers._backlog) == 0


def test_a_store_that_takes_no_writes_is_asked_less_and_less() -> None:
    """Due timers stay where they are, rest longer each time, and all call once it is mended."""
    house = ClockHouse(timers=TimerBounds(batch_max=4, held_max=8))
    house.call("clock/a", "arm_many", 50, 1_000)
    real, asked = house.store.submit, []

    def refuse(*_: object) -> None:
        asked.append(1)
        raise StoreUnavailable("the disk is full")

    house.store.submit = refuse  # type: ignore[method-assign,assignment]
    house.wait_ms(10_900)
    # After 0.1, 0.2 ... 6.4 s at the most: each waits twice as long as before.
    assert 0 < len(asked) <= 50 * 7
    assert house.dispatcher.timers.statistics()["held"] <= 8
    house.store.submit = real  # type: ignore[method-assign]
    house.wait_ms(30_000)
    assert sorted(house.seen("clock/a"), key=int) == [str(n) for n in range(50)]


def test_a_row_of_the_index_whose_timer_is_due_later_calls_nothing() -> None:
    """It is removed when its time comes; the timer calls at its own."""
    house = ClockHouse()
    timer_id = house.call("clock/a", "arm", {**NOTE, "after": 10_000})
    stale = due_key(house.wall_ms + 1_000, "clock/a", timer_id)
    house.put({(DUE, stale): encode_account("alice")})
    house.dispatcher.timers.notify_added({stale: "alice"})
    house.wait_ms(5_000)
    assert (house.seen("clock/a"), house.rows_of("clock/a")) == ([], (1, 1))
    house.wait_ms(5_000)
    assert (house.seen("clock/a"), house.rows_of("clock/a")) == (["ding"], (0, 0))
    assert house.dispatcher.timers.armed.count == 0

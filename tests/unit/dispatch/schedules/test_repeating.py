"""Timers that repeat: their next time, what is missed, and what is not piled up."""

from __future__ import annotations

import pytest

from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.schedules import batches
from lithox.dispatch.schedules.batches import Batch
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.dispatch.schedules.calendar import times_passed
from lithox.dispatch.schedules.records import ScheduleRecord
from lithox.dispatch.schedules.timers import STEPS_MAX, Timers
from tests.unit.dispatch.schedules.clockwork import HOUR_MS, MINUTE_MS, ClockHouse

TICK = {"handler": "count_time"}


def times(house: ClockHouse, entity: str = "clock/a") -> list[int]:
    """Returns when `count_time` has run, in wall-clock milliseconds."""
    return house.get(entity, "times") or []


def test_every_calls_at_each_interval() -> None:
    """Counted from the time before, so nothing drifts; until it is cancelled."""
    house = ClockHouse()
    start = house.wall_ms
    house.call("clock/a", "arm", {**TICK, "every": 1_000, "name": "tick"})
    house.wait_ms(3_500)
    assert times(house) == [start + 1_000, start + 2_000, start + 3_000]
    house.call("clock/a", "cancel", "tick")
    house.wait_ms(HOUR_MS)
    assert len(times(house)) == 3
    assert house.rows_of("clock/a") == (0, 0)


def test_cron_calls_at_its_times() -> None:
    """The house's clock begins at 2026-01-01 00:00 UTC."""
    house = ClockHouse()
    start = house.wall_ms
    house.call("clock/a", "arm", {**TICK, "cron": "*/15 * * * *"})
    house.wait_ms(HOUR_MS)
    assert times(house) == [start + n * 15 * MINUTE_MS for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(("missed", "count"), [("once", 1), ("all", 61), ("none", 1), (None, 1)])
def test_what_was_missed_while_no_node_ran_follows_the_policy(
    missed: str | None, count: int
) -> None:
    """After 61 intervals one call, one for each, or (the newest being just due) that one."""
    house = ClockHouse()
    spec = {**TICK, "every": MINUTE_MS}
    house.call("clock/a", "arm", spec if missed is None else {**spec, "missed": missed})
    again = house.reopen(off_ms=61 * MINUTE_MS)
    again.run()
    assert len(times(again)) == count
    again.wait_ms(MINUTE_MS)
    assert len(times(again)) == count + 1


def test_none_means_that_what_is_late_is_not_made_up_for() -> None:
    """A daily call missed by half an hour is left out; the next one comes at its time."""
    house = ClockHouse()
    house.call("clock/a", "arm", {**TICK, "cron": "0 6 * * *", "missed": "none"})
    again = house.reopen(off_ms=6 * HOUR_MS + 30 * MINUTE_MS)
    again.run()
    assert times(again) == []
    assert again.dispatcher.timers.counters.skipped == 1
    again.wait_ms(24 * HOUR_MS)
    assert len(times(again)) == 1


def test_all_makes_up_for_a_bounded_number() -> None:
    """Of an hour's minutes the newest ten."""
    house = ClockHouse()
    house.call("clock/a", "arm", {**TICK, "every": MINUTE_MS, "missed": "all"})
    again = house.reopen(off_ms=60 * MINUTE_MS, timers=TimerBounds(missed_max=10))
    again.run()
    assert len(times(again)) == 10
    assert again.rows_of("clock/a") == (1, 1)


def test_a_timer_is_not_piled_upon_its_own_call() -> None:
    """While one call waits or fails, its times pass without another; `all` queues them."""
    house = ClockHouse(bounds=MessageBounds(pause_first_ms=10_000, pause_last_ms=10_000))
    spec = {"handler": "fail_until", "args": ["x"], "every": 1_000}
    house.call("clock/a", "arm", spec)
    house.call("clock/b", "arm", {**spec, "missed": "all"})
    house.wait_ms(5_000)
    assert house.waiting_rows == 1 + 5
    assert house.dispatcher.timers.counters.skipped == 4


def test_a_full_lane_of_a_timer_skips_its_times() -> None:
    """Even with `all`, no more wait than a pair may."""
    house = ClockHouse(bounds=MessageBounds(pair_max=3))
    house.call("clock/a", "arm", {**TICK, "every": 1_000, "missed": "all"})
    house.hold()
    house.wait_ms(10_000)
    assert house.waiting_rows == 3
    house.let_go()
    house.wait_ms(1_000)
    assert len(times(house)) == 4


def test_no_time_is_looked_for_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full lane costs one look for the next time, however many were missed in between."""
    asked: list[int] = []

    def passed(record: ScheduleRecord, now_ms: int, times_max: int) -> list[int]:
        asked.append(times_max)
        return times_passed(record, now_ms, times_max)

    house = ClockHouse(bounds=MessageBounds(pair_max=3))
    house.call("clock/a", "arm", {**TICK, "cron": "* * * * *", "missed": "all"})
    monkeypatch.setattr(batches, "times_passed", passed)
    house.hold()
    for _ in range(3):
        house.wait_ms(MINUTE_MS)
    house.clock.advance(48 * HOUR_MS * 1_000_000)
    house.wait_ms(MINUTE_MS)
    assert house.waiting_rows == 3
    # One more than there is room for, for as long as there is some.
    assert asked == [4, 3, 2]
    house.let_go()
    house.wait_ms(MINUTE_MS)
    assert len(times(house)) == 4


@pytest.mark.patches_source
def test_a_batch_looks_for_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left goes into batches of its own, between which others have their turn."""
    steps: list[int] = []
    commit = Timers._commit

    def note_steps(timers: Timers, batch: Batch) -> None:
        steps.append(batch.steps)
        commit(timers, batch)

    monkeypatch.setattr(Timers, "_commit", note_steps)
    house = ClockHouse(timers=TimerBounds(batch_max=1_000))
    for number in range(STEPS_MAX):
        spec = {**TICK, "cron": "* * * * *", "name": f"t{number}"}
        house.call("clock/a", "arm", spec)
    house.wait_ms(MINUTE_MS)
    assert len(times(house)) == STEPS_MAX
    assert steps == [STEPS_MAX, STEPS_MAX]


def test_one_timer_that_fails_holds_back_no_other() -> None:
    """Each timer has an order of its own."""
    house = ClockHouse()
    house.call("clock/a", "arm", {"handler": "fail_until", "args": ["x"], "after": 1_000})
    house.call("clock/a", "arm", {**TICK, "after": 1_001})
    house.wait_ms(1_001)
    assert len(times(house)) == 1


def test_a_repeating_timer_begins_a_chain_of_messages_each_time() -> None:
    """Its hops do not add up; those of a timer due once, which sets itself again, do."""
    house = ClockHouse(bounds=MessageBounds(hops_max=3, tries_max=1))
    house.call("clock/a", "arm", {**TICK, "every": 1_000})
    house.wait_ms(10_000)
    assert len(times(house)) == 10
    assert house.dead_rows == []

"""Time that moves by hand only."""

from __future__ import annotations

from lithox.testing import FakeClock


def test_timers_fire_in_order_of_time_then_of_asking() -> None:
    """Each timer sees the clock at its own time; equal times keep the order of asking."""
    clock = FakeClock()
    fired: list[tuple[str, int]] = []
    for name, at_ns in (("late", 30), ("first", 10), ("second", 10)):
        clock.call_at(at_ns, lambda name=name: fired.append((name, clock.monotonic_ns())))
    clock.advance(20)
    assert fired == [("first", 10), ("second", 10)]
    assert clock.monotonic_ns() == 20
    clock.advance_to(30)
    assert fired[2:] == [("late", 30)]


def test_a_timer_may_plan_another_that_is_due_on_the_way() -> None:
    """What a timer plans within the span still fires within it."""
    clock = FakeClock()
    fired: list[int] = []
    clock.call_at(10, lambda: clock.call_after(5, lambda: fired.append(clock.monotonic_ns())))
    clock.advance(20)
    assert fired == [15]


def test_a_cancelled_timer_does_nothing() -> None:
    """Cancelling twice is fine, and the clock has nothing left to fire."""
    clock = FakeClock()
    timer = clock.call_after(10, lambda: None)
    timer.cancel()
    timer.cancel()
    assert clock.next_timer_ns() is None
    assert not clock.run_next()


def test_wall_time_may_jump_and_monotonic_time_does_not_notice() -> None:
    """A shifted wall clock changes wall time only."""
    clock = FakeClock(wall_ns=1_000)
    clock.advance(10)
    clock.shift_wall(-500)
    assert (clock.monotonic_ns(), clock.wall_ns()) == (10, 510)


def test_burned_time_passes_for_everybody() -> None:
    """Processor time is counted, moves the clock, and fires what is due meanwhile."""
    clock = FakeClock()
    fired: list[int] = []
    clock.call_at(5, lambda: fired.append(clock.monotonic_ns()))
    clock.burn(8)
    assert (clock.thread_cpu_ns(), clock.monotonic_ns(), fired) == (8, 8, [5])


def test_a_timer_that_has_passed_fires_next_and_never_in_the_past() -> None:
    """Time does not go back for a timer that was asked for too late."""
    clock = FakeClock(monotonic_ns=100)
    fired: list[int] = []
    clock.call_at(50, lambda: fired.append(clock.monotonic_ns()))
    assert clock.run_next()
    assert fired == [100]

"""Time that moves only when a test moves it.

Invariants: time never goes backwards; timers fire in order of (time, order of asking), each with
the clock standing exactly at its time; nothing fires but inside `advance`, `advance_to` or
`run_next`. The same object is the event queue of every simulation, so all actors share one order.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from lithox.errors import InternalError

WALL_START_NS: Final = 1_767_225_600_000_000_000
"""Wall time at monotonic 0: 2026-01-01 00:00 UTC, so that a date in a failed test is readable."""
TIMERS_MAX: Final = 1_000_000
"""Timers that may wait at once; more is a loop in the test."""


class Timer:
    """A function that will be called at `at_ns`, unless cancelled before."""

    __slots__ = ("action", "at_ns")

    def __init__(self, at_ns: int, action: Callable[[], None]) -> None:
        self.at_ns = at_ns
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Makes the timer do nothing. Idempotent."""
        self.action = None


class FakeClock:
    """Monotonic, wall and processor time of a test; has the methods of the node's own clock.

    Args:
        monotonic_ns: where monotonic time begins.
        wall_ns: wall-clock nanoseconds since 1970 at that moment.
    """

    def __init__(self, *, monotonic_ns: int = 0, wall_ns: int = WALL_START_NS) -> None:
        self._now_ns = monotonic_ns
        self._wall_offset_ns = wall_ns - monotonic_ns
        self._cpu_ns = 0
        self._timers: list[tuple[int, int, Timer]] = []
        self._asked = 0

    def monotonic_ns(self) -> int:
        """Returns nanoseconds that never go back."""
        return self._now_ns

    def wall_ns(self) -> int:
        """Returns nanoseconds since 1970."""
        return self._now_ns + self._wall_offset_ns

    def thread_cpu_ns(self) -> int:
        """Returns processor time; only `burn` uses any."""
        return self._cpu_ns

    def burn(self, duration_ns: int) -> None:
        """Uses processor time, which passes for everybody; fires the timers on the way."""
        self._cpu_ns += duration_ns
        self.advance(duration_ns)

    def shift_wall(self, duration_ns: int) -> None:
        """Sets the wall clock forward, or back when negative; monotonic time does not notice."""
        self._wall_offset_ns += duration_ns

    def call_at(self, at_ns: int, action: Callable[[], None]) -> Timer:
        """Plans `action` for monotonic `at_ns`; a time that has passed means "next"."""
        if len(self._timers) >= TIMERS_MAX:
            raise InternalError(f"more than {TIMERS_MAX} timers wait; something plans in a loop")
        timer = Timer(max(at_ns, self._now_ns), action)
        self._asked += 1
        heappush(self._timers, (timer.at_ns, self._asked, timer))
        return timer

    def call_after(self, duration_ns: int, action: Callable[[], None]) -> Timer:
        """Plans `action` for `duration_ns` from now."""
        return self.call_at(self._now_ns + duration_ns, action)

    def next_timer_ns(self) -> int | None:
        """Returns when the next timer fires, or None."""
        while self._timers and self._timers[0][2].action is None:
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def run_next(self) -> bool:
        """Moves to the next timer and fires it; returns False when there is none."""
        if self.next_timer_ns() is None:
            return False
        at_ns, _, timer = heappop(self._timers)
        # A timer may have burned time past the next one, which then fires late, not in the past.
        self._now_ns = max(self._now_ns, at_ns)
        action, timer.action = timer.action, None
        assert action is not None
        action()
        return True

    def advance_to(self, at_ns: int) -> None:
        """Moves to `at_ns` and fires every timer up to it, those planned on the way included."""
        while (next_ns := self.next_timer_ns()) is not None and next_ns <= at_ns:
            self.run_next()
        self._now_ns = max(self._now_ns, at_ns)

    def advance(self, duration_ns: int) -> None:
        """Moves `duration_ns` forward; see `advance_to`."""
        self.advance_to(self._now_ns + duration_ns)

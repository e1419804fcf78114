"""A house whose entities set timers, and the scripts that do."""

from __future__ import annotations

from typing import Any, ClassVar

from lithox.dispatch.schedules.records import DUE, schedules_of
from lithox.testing.script import Module, Script, ScriptedSelf, ScriptError
from tests.unit.dispatch.messages.post import MODULE as POST_MODULE
from tests.unit.dispatch.messages.post import PostHouse

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def arm(self: ScriptedSelf, spec: dict[str, Any]) -> Script:
    """Arms one timer; returns its id."""
    (timer_id,) = yield ("ask", "schedule", spec)
    return timer_id


def arm_many(self: ScriptedSelf, count: int, after: int) -> Script:
    """Arms `count` timers that note their numbers."""
    for number in range(count):
        spec = {"handler": "note", "args": [str(number)], "after": after}
        yield ("ask", "schedule", spec)
    return None


def arm_and_fail(self: ScriptedSelf, spec: dict[str, Any]) -> Script:
    """Arms, then raises."""
    yield ("ask", "schedule", spec)
    raise ScriptError("after arming")


def arm_and_cancel(self: ScriptedSelf, spec: dict[str, Any]) -> Script:
    """Arms and cancels in one run; returns whether it was there, twice."""
    (timer_id,) = yield ("ask", "schedule", spec)
    (first,) = yield ("ask", "cancel", timer_id)
    (second,) = yield ("ask", "cancel", timer_id)
    return [first, second]


def arm_and_call(self: ScriptedSelf, spec: dict[str, Any], others: list[str]) -> Script:
    """Arms two timers, and one of each of `others`."""
    yield ("ask", "schedule", spec)
    for entity in others:
        yield ("call", entity, "arm", spec)
    yield ("ask", "schedule", spec)
    return None


def cancel_and_arm(self: ScriptedSelf, timer_id: str, spec: dict[str, Any]) -> Script:
    """Cancels one timer and arms another."""
    yield ("ask", "cancel", timer_id)
    yield ("ask", "schedule", spec)
    return None


def cancel(self: ScriptedSelf, timer_id: str) -> Script:
    """Cancels a timer; returns whether it was there."""
    (was_there,) = yield ("ask", "cancel", timer_id)
    return was_there


def timers(self: ScriptedSelf, after: str | None = None) -> Script:
    """Returns a page of its own timers, and whether there are more."""
    rows, more = yield ("ask", "timers", after)
    return [rows, more]


def count_time(self: ScriptedSelf) -> Script:
    """Adds the run's start to the list `times`."""
    times = (yield ("get", "times")) or []
    yield ("set", "times", [*times, self.now_ms])
    return None


MODULE = {
    **POST_MODULE,
    "arm": arm,
    "arm_many": arm_many,
    "arm_and_fail": arm_and_fail,
    "arm_and_cancel": arm_and_cancel,
    "arm_and_call": arm_and_call,
    "cancel_and_arm": cancel_and_arm,
    "cancel": cancel,
    "timers": timers,
    "count_time": count_time,
}


class ClockHouse(PostHouse):
    """A house with entities `clock/*`."""

    modules: ClassVar[dict[str, Module]] = {"clock/**": MODULE}

    def wait_ms(self, duration_ms: int) -> None:
        """Lets time pass."""
        self.wait(duration_ms * 1_000_000)

    @property
    def wall_ms(self) -> int:
        return self.clock.wall_ns() // 1_000_000

    def rows_of(self, entity: str) -> tuple[int, int]:
        """Returns how many rows of timers and of the index there are."""
        return len(self.rows(schedules_of(entity))), len(self.rows(DUE))

    def reopen(self, *, off_ms: int = 0, **options: Any) -> ClockHouse:
        """Returns a new house over what is durable here, `off_ms` later."""
        self.disk.cut_power()
        wall_ns = self.clock.wall_ns() + off_ms * 1_000_000
        return ClockHouse(disk=self.disk, wall_ns=wall_ns, **options)

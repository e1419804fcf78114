"""What became of every timer: the books of a simulation about what is armed, and what fires.

A timer that is due once is gone in the commit of the run it calls, or in the one that makes a
message of it when that has failed; one that repeats becomes at most one message for each time that
has passed and stays, armed for later. None fires early, none
that nobody set, and none that was cancelled before.

Invariants: these books hold the records of timers as the disk has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lithox.dispatch.messages.records import OUTBOX, MessageRecord, decode_message
from lithox.dispatch.schedules.records import (
    DUE,
    SCHEDULES_PREFIX,
    ScheduleRecord,
    decode_schedule,
    due_key,
)
from lithox.model.values import decode_value
from lithox.store.contract import Cell
from lithox.testing.simulated_disk import SimulatedDisk
from lithox.testing.world import InvariantBroken


def plain_timer(row: bytes) -> dict[str, Any]:
    """Returns what of a stored timer its setter decides: the serial model knows no clock."""
    record = decode_schedule(row)
    args: list[Any] = decode_value(bytes(record.args))
    return {"handler": record.handler, "args": args, "every": record.every_ms}


class Alarms:
    """All timers of a simulation, as the disk has them.

    Args:
        wall_ms: the true wall-clock milliseconds since 1970.
    """

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self._armed: dict[Cell, ScheduleRecord] = {}
        self.fired = 0

    @property
    def armed(self) -> int:
        """Timers that will fire."""
        return len(self._armed)

    def note_written(self, writes: Mapping[Cell, bytes | None]) -> None:
        """Takes what a commit does to timers, whoever made it."""
        for cell, row in writes.items():
            if not cell[0].startswith(SCHEDULES_PREFIX):
                continue
            if row is None:
                self._armed.pop(cell, None)
            else:
                self._armed[cell] = decode_schedule(row)

    def check_fired(self, writes: Mapping[Cell, bytes | None]) -> None:
        """Checks a commit of the node itself that moves timers into the outbox."""
        now_ms = self._wall_ms()
        messages: dict[Cell, list[MessageRecord]] = {}
        for (entity, _), row in writes.items():
            if entity == OUTBOX and row is not None:
                record = decode_message(row)
                cell = (f"{SCHEDULES_PREFIX}{record.sender}", record.lane)
                messages.setdefault(cell, []).append(record)
        moved = {cell for cell in writes if cell[0].startswith(SCHEDULES_PREFIX)}
        for cell in sorted(moved | messages.keys()):
            self._check_one(cell, messages.get(cell, []), writes, now_ms)

    def check_called(self, cell: Cell, call: tuple[str, str, list[Any]]) -> None:
        """Checks the commit of a run that is the call of a timer that is due once."""
        what = f"timer {cell[1]} of {cell[0].removeprefix(SCHEDULES_PREFIX)}"
        timer = self._armed.get(cell)
        if timer is None:
            raise InvariantBroken(f"{what} called, but was not armed")
        self.fired += 1
        if self._wall_ms() < timer.due_ms:
            raise InvariantBroken(f"{what} called {timer.due_ms - self._wall_ms()} ms early")
        entity = cell[0].removeprefix(SCHEDULES_PREFIX)
        args: list[Any] = decode_value(bytes(timer.args))
        if call != (entity, timer.handler, args):
            raise InvariantBroken(f"{what} called {call!r}, not {timer.handler}")
        if timer.is_repeated:
            raise InvariantBroken(f"{what} repeats, and was called as one that is due once")

    def _check_one(
        self,
        cell: Cell,
        messages: list[MessageRecord],
        writes: Mapping[Cell, bytes | None],
        now_ms: int,
    ) -> None:
        what = f"timer {cell[1]} of {cell[0].removeprefix(SCHEDULES_PREFIX)}"
        timer = self._armed.get(cell)
        if timer is None or cell not in writes:
            raise InvariantBroken(f"{what} fired, but was not armed, or stays as it was")
        self.fired += len(messages)
        if messages and now_ms < timer.due_ms:
            raise InvariantBroken(f"{what} fired {timer.due_ms - now_ms} ms early")
        for message in messages:
            if (message.handler, bytes(message.args)) != (timer.handler, bytes(timer.args)):
                raise InvariantBroken(f"{what} fired for {message.handler}, not {timer.handler}")
        row = writes[cell]
        if not timer.is_repeated:
            if row is not None or len(messages) != 1:
                raise InvariantBroken(f"{what} is due once; it fired {len(messages)} times")
            return
        if row is None or decode_schedule(row).due_ms <= timer.due_ms:
            raise InvariantBroken(f"{what} repeats, and is not armed for later")
        if len(messages) > 1:
            raise InvariantBroken(f"{what} makes up for what was missed once, not more often")

    def check_disk(self, disk: SimulatedDisk) -> None:
        """Raises InvariantBroken when a timer on the disk is not in the index."""
        index = disk.read_entity(DUE)
        for (place, timer_id), record in self._armed.items():
            entity = place.removeprefix(SCHEDULES_PREFIX)
            if due_key(record.due_ms, entity, timer_id) not in index:
                raise InvariantBroken(f"timer {timer_id} of {entity} is in no index")

    def check_at_rest(self, disk: SimulatedDisk) -> None:
        """Raises InvariantBroken when a timer is armed, though nothing happens any more."""
        if self._armed:
            place, timer_id = next(iter(self._armed))
            entity = place.removeprefix(SCHEDULES_PREFIX)
            raise InvariantBroken(f"timer {timer_id} of {entity} never fires")
        if left := disk.read_entity(DUE):
            raise InvariantBroken(f"the index of timers holds {sorted(left)} for nobody")

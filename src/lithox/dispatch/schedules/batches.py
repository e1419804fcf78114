"""What becomes of timers that are due: rows that go, rows that move on, messages in their place.

Reads a snapshot and changes nothing; `Timers` commits what is planned here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import msgspec

from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.outbox import MESSAGE_PREFIX
from lithox.dispatch.messages.records import (
    OUTBOX,
    PairKey,
    derive_id,
    encode_message,
)
from lithox.dispatch.messages.waiting import Waiting
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.dispatch.schedules.calendar import next_due_ms, times_passed
from lithox.dispatch.schedules.direct import DueCall, message_of
from lithox.dispatch.schedules.records import (
    DUE,
    MISSED_ALL,
    MISSED_NONE,
    DueKey,
    ScheduleRecord,
    decode_account,
    decode_schedule,
    due_key,
    encode_account,
    encode_schedule,
    parse_due_key,
    schedules_of,
)
from lithox.store.contract import Cell, Item, Snapshot

MESSAGE_BYTES_MORE: Final = 512
"""About what the message of a timer has beside its arguments: names, id and numbers."""

LOADED_BYTES_MAX: Final = 16 << 10
"""Timers of one entity that are read together: about a hundred."""


class Room(Enum):
    """Whether there was room for what a timer calls."""

    FOUND = "found"
    LANE_FULL = "lane_full"
    """As many of its own calls wait as may."""
    OUTBOX_FULL = "outbox_full"
    """As many messages of its account, or of the node, wait as may."""


@dataclass(slots=True, kw_only=True)
class Batch:
    """What one commit does to timers that are due."""

    keys: list[str] = field(default_factory=list[str])
    reads: list[Cell] = field(default_factory=list[Cell])
    writes: dict[Cell, bytes | None] = field(default_factory=dict[Cell, "bytes | None"])
    rearmed: list[str] = field(default_factory=list[str])
    gone: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """(entity, account) of timers that are armed no more."""
    messages: int = 0
    message_bytes: int = 0
    by_account: dict[str, int] = field(default_factory=dict[str, int])
    bytes_by_account: dict[str, int] = field(default_factory=dict[str, int])
    steps: int = 0
    """Times that were looked for in a cron line; about 30 us each."""
    skipped: int = 0
    """Times without a call; of one timer, those beyond what has room count as one."""
    calls: list[DueCall] = field(default_factory=list["DueCall"])
    """What is called without a message; the commit has nothing of it."""

    def count(self, account: str, size_bytes: int) -> None:
        """Counts a message, or a call without one, for the bounds."""
        self.messages += 1
        self.message_bytes += size_bytes
        self.by_account[account] = self.by_account.get(account, 0) + 1
        self.bytes_by_account[account] = self.bytes_by_account.get(account, 0) + size_bytes


@dataclass(slots=True, kw_only=True)
class Planner:
    """Decides what becomes of timers that are due.

    Attributes:
        waiting: how many messages wait already.
        on_moved, on_failed: what the calls of timers tell; see `DueCall`.
    """

    bounds: TimerBounds
    message_bounds: MessageBounds
    waiting: Waiting
    on_moved: Callable[[DueCall], None]
    on_failed: Callable[[Exception], None]

    def plan_one(self, batch: Batch, snapshot: Snapshot, key: str, now_ms: int) -> Room:
        """Adds what is to be done about one row of the index.

        Args:
            batch: what is planned so far.
            snapshot: what is read.
            key: a row whose time has come.
            now_ms: wall-clock milliseconds since 1970.

        Returns:
            Other than FOUND when a timer that is due once has no room, so it stays due.

        Raises:
            StoreCorrupt: a row cannot be read.
        """
        due = parse_due_key(key)
        index, cell = (DUE, key), (schedules_of(due.entity), due.timer_id)
        # One look at the disk for all timers of an entity that has few of them.
        own = snapshot.load(cell[0], LOADED_BYTES_MAX)
        item = own.items.get(cell[1]) if own.is_complete else snapshot.find(*cell)
        record = None if item is None else decode_schedule(item.value)
        if item is None or record is None or record.due_ms != due.due_ms:
            row = snapshot.find(*index)
            if row is None:
                return Room.FOUND
            batch.reads += (index, cell)
            batch.writes[index] = None
            batch.gone.append((due.entity, decode_account(row.value)))
            return Room.FOUND
        times = self._times_to_call(batch, due, record, now_ms)
        if isinstance(times, Room):
            return times
        if not record.is_repeated:
            return self._add_call(batch, due, record, (item, now_ms))
        batch.reads += (index, cell)
        batch.writes[index] = None
        for time_ms in times:
            self._add_message(batch, due, record, (item, time_ms, now_ms))
        next_ms = next_due_ms(record, now_ms)
        batch.steps += bool(record.cron)
        if next_ms is None:
            batch.writes[cell] = None
            batch.gone.append((due.entity, record.account))
            return Room.FOUND
        moved = due_key(next_ms, due.entity, due.timer_id)
        batch.writes[cell] = encode_schedule(msgspec.structs.replace(record, due_ms=next_ms))
        batch.writes[DUE, moved] = encode_account(record.account)
        batch.rearmed.append(moved)
        return Room.FOUND

    def _times_to_call(
        self, batch: Batch, due: DueKey, record: ScheduleRecord, now_ms: int
    ) -> list[int] | Room:
        """Returns the times for which the timer calls now, by its policy and what may wait.

        A `Room` that is full: a timer that is due once has none, so it stays due.
        """
        waiting, bounds = self.waiting, self.message_bounds
        own = batch.by_account.get(record.account, 0)
        in_lane = waiting.count_of_pair(PairKey(due.entity, due.entity, due.timer_id))
        room = min(
            bounds.pair_max - in_lane,
            bounds.account_max - waiting.count_of_account(record.account) - own,
            bounds.node_max - waiting.count - batch.messages,
        )
        room = min(room, self._room_for_bytes(batch, record))
        if not record.is_repeated:
            if room > 0:
                return [record.due_ms]
            return Room.LANE_FULL if in_lane >= bounds.pair_max else Room.OUTBOX_FULL
        # One that has not ended, or not even begun, is not piled upon.
        if room < 1 or (in_lane and record.missed != MISSED_ALL):
            batch.skipped += 1
            return []
        times_max = self.bounds.missed_max if record.missed == MISSED_ALL else 1
        # One more than there is room for: it tells that some are skipped, not how many.
        times = times_passed(record, now_ms, min(times_max, room + 1))
        if record.cron:
            batch.steps += len(times)
        is_late = record.missed == MISSED_NONE and now_ms - times[-1] > self.bounds.late_ms
        called = [] if is_late else times[-room:]
        batch.skipped += len(times) - len(called)
        return called

    def _room_for_bytes(self, batch: Batch, record: ScheduleRecord) -> int:
        """Returns how many messages of a timer its account and the node have bytes for."""
        waiting, bounds = self.waiting, self.message_bounds
        own_bytes = batch.bytes_by_account.get(record.account, 0)
        left_bytes = min(
            bounds.account_bytes_max - waiting.bytes_of_account(record.account) - own_bytes,
            bounds.node_bytes_max - waiting.bytes_waiting - batch.message_bytes,
        )
        return left_bytes // (len(record.args) + MESSAGE_BYTES_MORE)

    def _add_call(
        self, batch: Batch, due: DueKey, record: ScheduleRecord, when: tuple[Item, int]
    ) -> Room:
        """Adds the call of a timer that is due once; its rows go with the run's own commit."""
        item, now_ms = when
        message_id = _message_id(due, record.due_ms, item)
        if self.waiting.has(message_id):
            # It was found due before, and all timers were read anew since.
            return Room.LANE_FULL
        size_bytes = len(record.args) + MESSAGE_BYTES_MORE
        batch.calls.append(
            DueCall(
                id=message_id,
                due=due,
                record=record,
                version=item.version,
                now_ms=now_ms,
                on_moved=self.on_moved,
                on_failed=self.on_failed,
            )
        )
        batch.count(record.account, size_bytes)
        return Room.FOUND

    def _add_message(
        self, batch: Batch, due: DueKey, record: ScheduleRecord, when: tuple[Item, int, int]
    ) -> None:
        item, time_ms, now_ms = when
        message_id = _message_id(due, time_ms, item)
        message = message_of(due, record, now_ms=now_ms, position=batch.messages + 1)
        row = encode_message(message)
        batch.count(record.account, len(row) + len(message_id))
        batch.writes[OUTBOX, message_id] = row


def _message_id(due: DueKey, time_ms: int, item: Item) -> str:
    """Returns the id of the call of a timer for one of its times.

    The version tells apart two timers of one name that are due at one time.
    """
    return derive_id(MESSAGE_PREFIX, "timer", due.entity, due.timer_id, time_ms, item.version)

"""A timer that is due once calls its handler directly: it goes with the commit of that run.

The run begins by taking the timer away, as if its handler had cancelled it first: so it may set one
of the same name again, and does not find itself among its own. Whoever cancels or replaces the
timer meanwhile changes the row the run has read, and one of the two is run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lithox.dispatch.messages.records import MessageRecord
from lithox.dispatch.messages.unsent import Move
from lithox.dispatch.schedules.records import (
    DUE,
    DueKey,
    ScheduleRecord,
    due_key,
    removal_of,
    schedules_of,
)

if TYPE_CHECKING:
    from lithox.dispatch.transaction import Transaction
    from lithox.store.contract import Snapshot


@dataclass(slots=True, kw_only=True, frozen=True)
class DueCall:
    """One timer that is due; see `messages.unsent.Unsent`.

    Attributes:
        id: of the message it would be.
        version: of the timer's row: tells apart two timers of one name that are due at one time.
        now_ms: when it was found due, wall-clock milliseconds since 1970.
        on_moved: told when it has become a row of the outbox.
        on_failed: told when a try has failed.
    """

    id: str
    due: DueKey
    record: ScheduleRecord
    version: int
    now_ms: int
    on_moved: Callable[[DueCall], None]
    on_failed: Callable[[Exception], None]

    records_result = False
    """It is the origin of its run, too; nobody asks for that run's value."""

    def to_message(self) -> MessageRecord:
        """Returns the message it would be."""
        return message_of(self.due, self.record, now_ms=self.now_ms, position=0)

    def origin(self) -> DueCall:
        """Returns itself; see `dispatch.origin.Origin`."""
        return self

    def is_due(self, transaction: Transaction) -> bool:
        """Takes the timer away; False when it is gone already, or is another one."""
        entity, timer_id = self.due.entity, self.due.timer_id
        own = schedules_of(entity)
        if transaction.find_version(own, timer_id) != self.version:
            return False
        account = self.record.account
        key = due_key(self.due.due_ms, entity, timer_id)
        transaction.put(own, timer_id, None)
        transaction.put(DUE, key, None)
        transaction.sent.append(removal_of(key, account))
        return True

    def complete(self, transaction: Transaction, body: bytes) -> None:
        """Has nothing to add: the timer went first."""

    def room_for(self, entity: str, account: str) -> tuple[int, int, int]:
        """Returns what its run may arm more of an entity, of an account, and in all: itself."""
        return int(entity == self.due.entity), int(account == self.record.account), 1

    def plan_move(self, snapshot: Snapshot) -> Move | None:
        """Returns what makes a row of the outbox of it; None when it is due no more."""
        entity, timer_id = self.due.entity, self.due.timer_id
        own = schedules_of(entity)
        item = snapshot.find(own, timer_id)
        if item is None or item.version != self.version:
            return None
        index = (DUE, due_key(self.due.due_ms, entity, timer_id))
        return Move([(own, timer_id)], {(own, timer_id): None, index: None})

    def notify_moved(self) -> None:
        """Hears that it waits in the outbox now."""
        self.on_moved(self)

    def notify_failed(self, error: Exception) -> None:
        """Hears why a try has failed, or why its move was withdrawn."""
        self.on_failed(error)


def message_of(due: DueKey, record: ScheduleRecord, *, now_ms: int, position: int) -> MessageRecord:
    """Returns the message of a timer to its own entity."""
    return MessageRecord(
        sender=due.entity,
        receiver=due.entity,
        handler=record.handler,
        args=record.args,
        account=record.account,
        owner=record.owner,
        hops=record.hops,
        sent_ms=now_ms,
        position=position,
        lane=due.timer_id,
    )


def count_timer(transaction: Transaction, entity: str, account: str, change: int) -> None:
    """Counts a timer that a run has set (1) or taken away (-1)."""
    transaction.count(DUE, change)
    transaction.count((DUE, "entity", entity), change)
    transaction.count((DUE, "account", account), change)

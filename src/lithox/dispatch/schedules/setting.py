"""`self:after`, `at`, `every`, `cron`, `schedule`, `cancel` and `timers`: timers as state.

A timer is two rows among the writes of the run that sets it, so it is armed when the run commits
and not before, and a run that fails has armed or cancelled nothing. Only an entity's own timers can
be reached. Bounds are checked here; like those of messages they count what is committed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from lithox.dispatch.endpoints import Endpoint
from lithox.dispatch.job import Frame
from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.outbox import check_state_limit, derive_own_id, next_hop
from lithox.dispatch.schedules.armed import Armed
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.dispatch.schedules.direct import DueCall, count_timer
from lithox.dispatch.schedules.records import (
    DUE,
    ScheduleRecord,
    decode_schedule,
    due_key,
    encode_account,
    encode_schedule,
    removal_of,
    schedules_of,
)
from lithox.dispatch.schedules.spec import TimerSpec, check_timer_id, parse_spec
from lithox.dispatch.transaction import Transaction
from lithox.errors import TooLarge, TooManyTimers
from lithox.sandbox import messages
from lithox.sandbox.said import GuestDecoder
from lithox.store.contract import Range

TIMER_PREFIX: Final = "t."
LIST_PAGE_MAX: Final = 256
LIST_BYTES_MAX: Final = 1 << 20
RETRY_AFTER_MS: Final = 1_000
_text: Final = GuestDecoder(msgspec.msgpack.Decoder(str))
_maybe_text: Final = GuestDecoder(msgspec.msgpack.Decoder(str | None))


@dataclass(slots=True, kw_only=True)
class Setting:
    """Answers what handlers ask about their timers.

    Attributes:
        armed: how many timers are committed.
        wall_ms: wall-clock milliseconds since 1970.
    """

    bounds: TimerBounds
    message_bounds: MessageBounds
    armed: Armed
    wall_ms: Callable[[], int]

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """The system calls, by name."""
        return {
            messages.CALL_SCHEDULE: self.schedule,
            messages.CALL_CANCEL: self.cancel,
            messages.CALL_TIMERS: self.timers,
        }

    def schedule(self, frame: Frame, call: list[msgspec.Raw]) -> bytes:
        """Answers [0, "schedule", map]: arms a timer and returns its id.

        Raises:
            BadArguments: what is wrong with the map.
            TooManyTimers: the entity, the account or the node has as many as it may.
            TooManyHops, TooLarge, LimitExceeded: as for a message.
        """
        transaction = frame.job.transaction
        assert transaction is not None
        now_ms = self.wall_ms()
        spec = parse_spec(call[2], now_ms, self.bounds)
        record = self._record_of(frame, spec, now_ms)
        frame.job.position += 1
        timer_id = spec.name or derive_own_id(frame, TIMER_PREFIX)
        if spec.name is None or not self._remove(transaction, frame, timer_id):
            self._check_room(frame, transaction)
        row = encode_schedule(record)
        if len(row) > self.message_bounds.message_bytes_max:
            raise TooLarge(
                f"a timer has at most {self.message_bounds.message_bytes_max} bytes; "
                f"found {len(row)}",
                allowed=self.message_bounds.message_bytes_max,
                used=len(row),
            )
        key = due_key(record.due_ms, frame.entity, timer_id)
        transaction.put(schedules_of(frame.entity), timer_id, row)
        transaction.put(DUE, key, encode_account(record.account))
        transaction.sent.append((DUE, key))
        count_timer(transaction, frame.entity, record.account, 1)
        check_state_limit(frame)
        return messages.encode_answer(timer_id)

    def _record_of(self, frame: Frame, spec: TimerSpec, now_ms: int) -> ScheduleRecord:
        job = frame.job
        # A repeated timer begins a chain each time; one that is due once goes on with its own.
        is_repeated = bool(spec.every_ms or spec.cron)
        hops = 1 if is_repeated else next_hop(job.request.hops, self.message_bounds)
        return ScheduleRecord(
            handler=spec.handler,
            args=spec.args,
            due_ms=spec.due_ms,
            every_ms=spec.every_ms,
            cron=spec.cron,
            zone=spec.zone,
            missed=spec.missed,
            account=job.account,
            owner=frame.resolution.owner_for(frame.actor),
            hops=hops,
            set_ms=now_ms,
        )

    def cancel(self, frame: Frame, call: list[msgspec.Raw]) -> bytes:
        """Answers [0, "cancel", id]: whether there was such a timer; it is gone now."""
        transaction = frame.job.transaction
        assert transaction is not None
        was_there = self._remove(transaction, frame, check_timer_id(_text.decode(call[2])))
        return messages.encode_answer(was_there)

    @staticmethod
    def _remove(transaction: Transaction, frame: Frame, timer_id: str) -> bool:
        row = transaction.find(schedules_of(frame.entity), timer_id)
        if row is None:
            return False
        record = decode_schedule(row)
        key = due_key(record.due_ms, frame.entity, timer_id)
        transaction.put(schedules_of(frame.entity), timer_id, None)
        transaction.put(DUE, key, None)
        transaction.sent.append(removal_of(key, record.account))
        count_timer(transaction, frame.entity, record.account, -1)
        return True

    def timers(self, frame: Frame, call: list[msgspec.Raw]) -> bytes:
        """Answers [0, "timers", after | nil]: a page of the entity's timers by id, and if more."""
        transaction = frame.job.transaction
        assert transaction is not None
        after = _maybe_text.decode(call[2])
        own = schedules_of(frame.entity)
        area = Range(own, after + "\x00" if after else "", None)
        found, more = transaction.scan(own, area, LIST_PAGE_MAX, bytes_max=LIST_BYTES_MAX)
        rows = [describe(timer_id, decode_schedule(row)) for timer_id, row in found]
        return messages.encode_answer(rows, more)

    def _check_room(self, frame: Frame, transaction: Transaction) -> None:
        """Raises TooManyTimers when one more would pass a bound."""
        armed, account, own = self.armed, frame.job.account, transaction.tally
        of_entity = armed.count_of_entity(frame.entity) + own.get((DUE, "entity", frame.entity))
        of_account = armed.count_of_account(account) + own.get((DUE, "account", account))
        origin = frame.job.request.origin
        # The timer whose call this is goes with it.
        more = origin.room_for(frame.entity, account) if isinstance(origin, DueCall) else (0, 0, 0)
        for count, allowed, whose in (
            (of_entity - more[0], self.bounds.entity_max, "this entity"),
            (of_account - more[1], self.bounds.account_max, "this account"),
            (armed.count + own.get(DUE) - more[2], self.bounds.node_max, "this node"),
        ):
            if count >= allowed:
                raise TooManyTimers(
                    f"{whose} has {allowed} timers, which is as many as it may; cancel some",
                    retry_after_ms=RETRY_AFTER_MS,
                    allowed=allowed,
                )


def describe(timer_id: str, record: ScheduleRecord) -> dict[str, Any]:
    """Returns a timer as plain data: what a handler, a client and the command line see."""
    return {
        "id": timer_id,
        "handler": record.handler,
        "due": record.due_ms,
        "every": record.every_ms or None,
        "cron": record.cron or None,
        "zone": record.zone or None,
        "missed": record.missed if record.is_repeated else None,
    }

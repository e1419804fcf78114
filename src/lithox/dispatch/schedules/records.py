"""What a timer is while it is armed, and the cells it lives in.

    ~lithox/s/<entity>  <timer id> -> ScheduleRecord       the timer, as state of its entity
    ~lithox/q/due       <due>/<entity>/<timer id> -> account        the index by which it is found

`<due>` is the wall-clock millisecond since 1970 in 16 hexadecimal digits, so keys are in the order
of time. Invariant: both rows change in one commit; a row of the index whose timer is not there, or
is due at another time, means nothing and is removed when its time comes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from lithox.errors import StoreCorrupt
from lithox.model.ids import EntityPath
from lithox.store.contract import Cell

DUE: Final = EntityPath("~lithox/q/due")
SCHEDULES_PREFIX: Final = "~lithox/s/"
DUE_DIGITS: Final = 16
TIME_MS_MAX: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, where calendars of Python end."""

MISSED_ONCE: Final = "once"
MISSED_ALL: Final = "all"
MISSED_NONE: Final = "none"
MISSED: Final = (MISSED_ONCE, MISSED_ALL, MISSED_NONE)
"""What becomes of the times that passed while no node ran: one call, a call for each, none."""


_REMOVED: Final = "removed:"
"""Before an account in `Transaction.sent`: the run has taken away a row of the index."""


class ScheduleRecord(msgspec.Struct, array_like=True, frozen=True):
    """One timer as stored.

    Attributes:
        args: MessagePack array of arguments.
        due_ms: when it is due next, wall-clock milliseconds since 1970.
        every_ms: its interval, or 0.
        cron: its five fields, or "".
        zone: the time zone of `cron`.
        missed: one of `MISSED`; a timer that is due once is never missed.
        account: who pays for what it starts.
        owner: who owned the entity when it was set.
        hops: those of the message it sends when it is due once; 1 for a repeated one.
        set_ms: when it was set.
    """

    handler: str
    args: msgspec.Raw
    due_ms: int
    every_ms: int
    cron: str
    zone: str
    missed: str
    account: str
    owner: str
    hops: int
    set_ms: int

    @property
    def is_repeated(self) -> bool:
        """Whether it is armed again when it has been due."""
        return bool(self.every_ms or self.cron)


class DueKey(NamedTuple):
    """A key of the index, taken apart."""

    due_ms: int
    entity: EntityPath
    timer_id: str


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(ScheduleRecord)
_text_decoder: Final = msgspec.msgpack.Decoder(str)
encode_schedule = _encoder.encode
encode_account = _encoder.encode


def schedules_of(entity: str) -> EntityPath:
    """Returns the system entity that holds the timers of `entity`."""
    return EntityPath(SCHEDULES_PREFIX + entity)


def due_key(due_ms: int, entity: str, timer_id: str) -> str:
    """Returns the key of the index for a timer."""
    return f"{due_ms:016x}/{entity}/{timer_id}"


def due_end(now_ms: int) -> str:
    """Returns what the keys of all timers that are due at `now_ms` are less than, and no others."""
    return f"{now_ms + 1:016x}"


def parse_due_key(key: str) -> DueKey:
    """Returns the parts of a key of the index; an id has no slash in it."""
    entity, _, timer_id = key[DUE_DIGITS + 1 :].rpartition("/")
    return DueKey(int(key[:DUE_DIGITS], 16), EntityPath(entity), timer_id)


def entity_of_due_key(key: str) -> str:
    """Returns the entity in a key of the index."""
    return key[DUE_DIGITS + 1 :].rpartition("/")[0]


def removal_of(key: str, account: str) -> Cell:
    """Returns what stands in `Transaction.sent` for a row of the index that was taken away."""
    return _REMOVED + account, key


def account_of_removal(mark: str) -> str | None:
    """Returns whose row was taken away, for the first part of such a mark; else None."""
    return mark.removeprefix(_REMOVED) if mark.startswith(_REMOVED) else None


def decode_schedule(data: bytes) -> ScheduleRecord:
    """Returns the timer that was stored; raises StoreCorrupt for anything else."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(
            f"a stored timer cannot be read ({error}); restore the data from a backup"
        ) from None


def decode_account(data: bytes) -> str:
    """Returns the account in a row of the index; raises StoreCorrupt for anything else."""
    try:
        return _text_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(
            f"a stored row of timers cannot be read ({error}); restore the data from a backup"
        ) from None

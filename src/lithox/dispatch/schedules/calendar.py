"""When is a timer due next: intervals, and cron lines in a time zone.

Pure but for the time-zone database, which zoneinfo reads from the system or from `tzdata`.

A cron line has five fields (minute, hour, day of month, month, day of week) of `*`, numbers, names
(MON, JAN), ranges, steps and lists. As in Debian's cron, when neither day field begins with `*`
either of them is enough. Where clocks are put forward, a line for a fixed time in the gap runs at
the first minute after it; where they are put back, such a line runs once, at the first of the two
times, while lines with `*` as minute or hour run in both. Source: cronsim, which follows Debian's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from lithox.dispatch.schedules.records import TIME_MS_MAX, ScheduleRecord
from lithox.errors import BadArguments

CRON_CHARACTERS_MAX: Final = 200
ZONE_CHARACTERS_MAX: Final = 64
ZONES_KEPT_MAX: Final = 64
"""Time zones kept in memory; there are about 600."""
_NAMES: Final = "SUN|MON|TUE|WED|THU|FRI|SAT|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_CRON: Final = re.compile(rf"(?:[0-9*,/ \t-]|{_NAMES})+\Z", re.IGNORECASE)
"""What may stand in a line. Words for last days, nearest weekdays and n-th weekdays may not: the
next time of some is half a century away, and the search takes as long."""
_ZONE: Final = re.compile(r"[A-Za-z0-9_+/-]+\Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=ZONES_KEPT_MAX)
def find_zone(name: str) -> tzinfo:
    """Returns the time zone called `name`; raises BadArguments when there is none."""
    if name == "UTC":
        return UTC
    try:
        if len(name) > ZONE_CHARACTERS_MAX or _ZONE.match(name) is None:
            raise ValueError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadArguments(f"no time zone {name[:80]!r}; they are named as Europe/Berlin") from None


def check_cron(line: str, zone: str) -> None:
    """Raises BadArguments unless `line` is five fields and `zone` a time zone."""
    is_plain = len(line) <= CRON_CHARACTERS_MAX and _CRON.match(line) is not None
    if not is_plain or len(line.split()) != 5:
        raise BadArguments(
            "a cron line is five fields (minute, hour, day, month, weekday) of numbers, names, "
            f"'*', ranges, steps and lists; found {line[:80]!r}"
        )
    try:
        CronSim(line, datetime(2000, 1, 1, tzinfo=find_zone(zone)))
    except CronSimError as error:
        raise BadArguments(f"cron line {line[:80]!r}: {error}") from None


def next_cron_ms(line: str, zone: str, after_ms: int) -> int | None:
    """Returns the first time of a checked line after `after_ms`, or None: none in 50 years."""
    # Times are read by whole milliseconds: floats of seconds lose them far from 1970.
    start = (_EPOCH + timedelta(milliseconds=after_ms)).astimezone(find_zone(zone))
    try:
        moments = CronSim(line, start)
        while True:
            due_ms = (next(moments) - _EPOCH) // timedelta(milliseconds=1)
            # The second of two equal times of day comes after the first one has been due.
            if due_ms > after_ms:
                return due_ms
    except (StopIteration, OverflowError, ValueError):
        return None


def next_due_ms(record: ScheduleRecord, after_ms: int) -> int | None:
    """Returns when a timer is due for the first time after `after_ms`; None: never again.

    Intervals are counted from the time it was due last, so that a call that came late moves none.
    """
    if record.every_ms:
        missed = max(0, (after_ms - record.due_ms) // record.every_ms)
        due_ms = record.due_ms + (missed + 1) * record.every_ms
        return due_ms if due_ms <= TIME_MS_MAX else None
    if record.cron:
        return next_cron_ms(record.cron, record.zone, after_ms)
    return None


def times_passed(record: ScheduleRecord, now_ms: int, times_max: int) -> list[int]:
    """Returns the newest `times_max` times from `due_ms` up to `now_ms`, oldest first; never empty.

    Args:
        record: a timer that is due, so `due_ms` is not after `now_ms`.
        now_ms: wall-clock milliseconds since 1970.
        times_max: at least 1.
    """
    if record.every_ms:
        count = (now_ms - record.due_ms) // record.every_ms + 1
        first = max(0, count - times_max)
        return [record.due_ms + index * record.every_ms for index in range(first, count)]
    if not record.cron:
        return [record.due_ms]
    # Backwards from now: nobody wants to walk through the years a node was off.
    times = list(islice(_cron_backwards(record, now_ms), times_max))
    return times[::-1] or [record.due_ms]


def _cron_backwards(record: ScheduleRecord, now_ms: int) -> Iterator[int]:
    """Returns the times of a cron line from `now_ms` back to `due_ms`, newest first."""
    # It begins before the second it is given, and leaves out fractions.
    start = (_EPOCH + timedelta(milliseconds=now_ms + 1_000)).astimezone(find_zone(record.zone))
    before_ms = now_ms + 1
    for moment in CronSim(record.cron, start, reverse=True):
        due_ms = (moment - _EPOCH) // timedelta(milliseconds=1)
        if due_ms < record.due_ms:
            return
        if due_ms < before_ms:
            before_ms = due_ms
            yield due_ms

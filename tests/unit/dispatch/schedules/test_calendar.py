"""Next times: intervals, cron lines in time zones, and what clocks put forward or back do."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from lithox.dispatch.schedules.calendar import next_cron_ms, next_due_ms, times_passed
from lithox.dispatch.schedules.records import ScheduleRecord


def ms(text: str, zone: str = "UTC") -> int:
    """Returns a local time as milliseconds since 1970."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def record(due_ms: int, *, every_ms: int = 0, cron: str = "", zone: str = "UTC") -> ScheduleRecord:
    return ScheduleRecord(
        handler="h",
        args=msgspec.Raw(b"\x90"),
        due_ms=due_ms,
        every_ms=every_ms,
        cron=cron,
        zone=zone,
        missed="once",
        account="a",
        owner="o",
        hops=1,
        set_ms=0,
    )


@pytest.mark.parametrize(
    ("line", "after", "due"),
    [
        ("* * * * *", "2026-01-01T00:00", "2026-01-01T00:01"),
        ("30 6 * * *", "2026-01-01T06:30", "2026-01-02T06:30"),
        ("0 0 1 * *", "2026-01-15T00:00", "2026-02-01T00:00"),
        ("0 0 29 feb *", "2026-01-01T00:00", "2028-02-29T00:00"),
        ("0 9 * * MON-FRI", "2026-01-02T10:00", "2026-01-05T09:00"),
        ("0 0 13 * 5", "2026-01-01T00:00", "2026-01-02T00:00"),
        ("5,35 8-10/2 * * *", "2026-01-01T08:35", "2026-01-01T10:05"),
    ],
)
def test_cron_lines_say_their_next_time(line: str, after: str, due: str) -> None:
    """Five fields as in Debian's cron; the first time strictly after."""
    assert next_cron_ms(line, "UTC", ms(after)) == ms(due)


def test_cron_counts_in_its_own_zone() -> None:
    """Six o'clock in Berlin is another moment in summer than in winter."""
    winter, summer = ms("2026-01-10T00:00"), ms("2026-07-10T00:00")
    assert next_cron_ms("0 6 * * *", "Europe/Berlin", winter) == ms("2026-01-10T05:00")
    assert next_cron_ms("0 6 * * *", "Europe/Berlin", summer) == ms("2026-07-10T04:00")


def test_a_time_that_is_left_out_comes_right_after_the_gap() -> None:
    """On 2026-03-29 there is no 02:30 in Berlin: it is 03:00 then."""
    before = ms("2026-03-29T00:00", "Europe/Berlin")
    due = next_cron_ms("30 2 * * *", "Europe/Berlin", before)
    assert due == ms("2026-03-29T03:00", "Europe/Berlin")
    assert next_cron_ms("30 2 * * *", "Europe/Berlin", due) == ms(
        "2026-03-30T02:30", "Europe/Berlin"
    )


def test_a_time_that_comes_twice_is_due_once_and_a_wildcard_in_both() -> None:
    """On 2026-10-25 there are two 02:30 in Berlin, an hour apart."""
    before = ms("2026-10-25T00:00", "Europe/Berlin")
    first = next_cron_ms("30 2 * * *", "Europe/Berlin", before)
    assert first == ms("2026-10-25T00:30")
    assert next_cron_ms("30 2 * * *", "Europe/Berlin", first) == ms(
        "2026-10-26T02:30", "Europe/Berlin"
    )
    assert next_cron_ms("30 * * * *", "Europe/Berlin", first) == ms("2026-10-25T01:30")


def test_a_line_no_day_matches_has_no_next_time() -> None:
    """The last year of calendars has no day after its last."""
    assert next_cron_ms("0 0 1 1 *", "UTC", ms("9999-06-01T00:00")) is None


def test_intervals_keep_their_phase() -> None:
    """A call that came late moves none of the following."""
    timer = record(1_000, every_ms=300)
    assert next_due_ms(timer, 1_000) == 1_300
    assert next_due_ms(timer, 1_650) == 1_900
    assert next_due_ms(timer, 1_900) == 2_200
    assert next_due_ms(record(1_000), 5_000) is None


def test_times_passed_are_the_newest_oldest_first() -> None:
    """The same for intervals and cron lines, and never more than asked for."""
    timer = record(1_000, every_ms=300)
    assert times_passed(timer, 1_000, 9) == [1_000]
    assert times_passed(timer, 1_950, 9) == [1_000, 1_300, 1_600, 1_900]
    assert times_passed(timer, 1_950, 2) == [1_600, 1_900]
    start = ms("2026-01-01T00:00")
    cron = record(start, cron="0 * * * *")
    hours = [start + n * 3_600_000 for n in range(4)]
    assert times_passed(cron, hours[3], 9) == hours
    assert times_passed(cron, hours[3] + 1, 2) == hours[2:]
    assert times_passed(cron, start, 9) == [start]
    assert times_passed(record(7), 9, 3) == [7]


def test_times_passed_of_years_are_found_quickly() -> None:
    """From the newest backwards: a node that was off for years does not walk through them."""
    cron = record(ms("2001-01-01T00:00"), cron="* * * * *", zone="Europe/Berlin")
    now = ms("2026-01-01T00:00")
    assert times_passed(cron, now, 3) == [now - 120_000, now - 60_000, now]

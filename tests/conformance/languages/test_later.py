"""What leaves with the commit: messages and timers; and the log, which leaves at once."""

from __future__ import annotations

import logging

import pytest

from tests.conformance.languages.world import World, is_refusal

FAR_MS = 3_600_000
TIMERS_PAGE = 256
"""Timers that the node gives for one call."""


def wait_for_count(world: World, entity: str, count: int) -> None:
    """Waits until the entity's counter has come so far."""
    world.run(
        world.until(lambda: world.state(entity).get("count") == count, f"count {count} of {entity}")
    )


def test_message_arrives_after_the_commit(world: World) -> None:
    """A message has an id, and its handler runs once, as the sender."""
    one, other = world.fresh(), world.fresh()
    sent = world.call(one, "send", other, "increment", [3])
    assert isinstance(sent, str)
    assert sent
    wait_for_count(world, other, 3)


def test_messages_arrive_in_order(world: World) -> None:
    """What one run after the other sends comes in that order."""
    one, other = world.fresh(), world.fresh()
    for place in range(5):
        world.call(one, "send", other, "put", ["last", place])
    world.call(one, "send", other, "increment")
    wait_for_count(world, other, 1)
    assert world.state(other)["last"] == 4


def test_message_of_a_failed_run_is_never_sent(world: World) -> None:
    """A run that fails after sending has sent nothing."""
    one, other = world.fresh(), world.fresh()
    assert world.fail(one, "send_fail", other, "increment", [1]).code == "app.after_send"
    world.call(one, "send", other, "increment", [10])
    wait_for_count(world, other, 10)


def test_timer_calls_its_entity(world: World) -> None:
    """A timer that is due runs its handler with its arguments, once."""
    entity = world.fresh()
    timer = world.call(entity, "after", 1, "increment", [7])
    assert isinstance(timer, str)
    wait_for_count(world, entity, 7)
    assert world.call(entity, "timers") == []


def test_timers_are_listed_and_cancelled(world: World) -> None:
    """A timer is in the list with what it will do, and after its end in none."""
    entity = world.fresh()
    timer = world.call(entity, "after", FAR_MS, "increment")
    (listed,) = world.call(entity, "timers")
    assert (listed["id"], listed["handler"]) == (timer, "increment")
    now_ms = world.call(entity, "now")
    assert now_ms < listed["due"] <= now_ms + FAR_MS
    assert world.call(entity, "cancel", timer) is True
    assert world.call(entity, "cancel", timer) is False
    assert world.call(entity, "timers") == []


def test_more_timers_than_a_page_are_all_found(world: World) -> None:
    """No timer is left out without a word, however many there are; those behind an id too."""
    entity, count = world.fresh(), TIMERS_PAGE + 5
    names = [f"n{number:03}" for number in range(count)]
    for name in names:
        world.call(entity, "schedule", {"handler": "increment", "every": FAR_MS, "name": name})
    rows = world.call(entity, "timers")
    if not world.language.expected("timers_at_once"):
        assert len(rows) == TIMERS_PAGE
        rows += world.call(entity, "timers", rows[-1]["id"])
        assert world.call(entity, "timers", rows[-1]["id"]) == []
    assert [row["id"] for row in rows] == names


def test_timer_with_everything_said(world: World) -> None:
    """Options reach the node as they are named, and a name replaces the timer of that name."""
    entity = world.fresh()
    options = {
        "handler": "increment",
        "args": [1],
        "cron": "30 6 * * MON-FRI",
        "zone": "Europe/Berlin",
        "name": "daily",
        "missed": "none",
    }
    assert world.call(entity, "schedule", options) == "daily"
    assert world.call(entity, "schedule", options | {"cron": "0 7 * * *"}) == "daily"
    (listed,) = world.call(entity, "timers")
    assert listed["cron"] == "0 7 * * *"
    assert listed["zone"] == "Europe/Berlin"
    every = {"handler": "increment", "every": FAR_MS, "name": "hourly"}
    assert world.call(entity, "schedule", every) == "hourly"
    assert [one["id"] for one in world.call(entity, "timers")] == ["daily", "hourly"]
    for name in ("daily", "hourly"):
        assert world.call(entity, "cancel", name) is True


def test_timer_that_cannot_be_is_refused(world: World) -> None:
    """A wrong cron line is told by the node's code, and leaves no timer."""
    entity = world.fresh()
    error = world.fail(entity, "schedule", {"handler": "increment", "cron": "never"})
    assert error.code == "app.request.bad_arguments"
    assert world.call(entity, "timers") == []


def test_log_lines_have_level_text_and_fields(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Each level is its own, fields are optional, and `print` is a line too."""
    entity = world.fresh()
    with caplog.at_level(logging.DEBUG, logger="lithox.guest"):
        for level in ("debug", "info", "warning", "error"):
            world.call(entity, "log", level, f"{level} ä", {"a": 1})
        world.call(entity, "log", "info", "no fields")
        world.call(entity, "say", "said")
    lines = [(line.levelname.lower(), line.getMessage().rstrip("\n")) for line in caplog.records]
    assert lines[:4] == [(level, f"{level} ä") for level in ("debug", "info", "warning", "error")]
    assert lines[4] == ("info", "no fields")
    printed = world.language.expected("log_print")
    assert lines[5:] == ([] if printed is None else [(printed, "said")])
    assert [vars(line)["fields"] for line in caplog.records][:5] == [{"a": 1}] * 4 + [{}]


def test_log_line_is_bounded(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A line is cut at its bound, and too many of them end the run by its output."""
    from lithox.model.limits import Limits

    entity = world.fresh()
    with caplog.at_level(logging.DEBUG, logger="lithox.guest"):
        world.call(entity, "log", "info", "x" * 100_000)
        error = world.fail(entity, "log_often", 10_000, 1_000, limits=Limits(output_bytes=100_000))
    assert error.code == "guest.out_of_output"
    assert max(len(line.getMessage()) for line in caplog.records) <= 8192
    assert sum(len(line.getMessage()) for line in caplog.records) < 250_000


def test_wrong_level_is_refused(world: World) -> None:
    """A level that is none is an error of the handler."""
    error = world.fail(world.fresh(), "log", "loud", "text")
    assert is_refusal(error.code), error

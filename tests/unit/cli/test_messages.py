"""`lithox messages` and `lithox timers`: what they ask of a node, and how they show it."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from lithox.cli import commands_messages, commands_timers
from lithox.cli.commands_messages import messages
from lithox.cli.commands_timers import timers
from tests.unit.gateway.fake_messages import FakeMessages


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> FakeMessages:
    """Gives the node that commands get; none is opened."""
    fake = FakeMessages()
    fake.message_acts = []

    class Opened:
        async def __aenter__(self) -> FakeMessages:
            return fake

        async def __aexit__(self, *_: object) -> None:
            return None

    for module in (commands_messages, commands_timers):
        monkeypatch.setattr(module, "open_backend", lambda *_args, **_options: Opened())
    return fake


def run(group: Any, *arguments: str) -> str:
    done = CliRunner().invoke(group, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_lists_are_tables_and_say_when_more_follow(node: FakeMessages) -> None:
    """One row a message; `--after` goes on."""
    out = run(messages, "ls", "--after", "m.0", "--limit", "9")
    assert "m.1\ta/b\tc/d\tnote\t\t2\t70" in out
    assert "more follow: --after m.1" in out
    assert "guest.raised" in run(messages, "dead")
    assert node.message_acts == [("list", ("m.0", 9)), ("dead", ("", 100))]


def test_which_dead_letters_is_said_each_time(node: FakeMessages) -> None:
    """Ids or --all; neither or both is a wrong command line, and nothing is asked."""
    assert run(messages, "retry", "m.1", "m.2") == "2 dead letters delivered again\n"
    assert run(messages, "purge", "m.1") == "1 dead letter forgotten\n"
    assert run(messages, "purge", "--all", "--json") == '{"count": 2}\n'
    asked = list(node.message_acts)
    assert asked == [("retry", ["m.1", "m.2"]), ("purge", ["m.1"]), ("purge", None)]
    for arguments in (["retry"], ["purge"], ["purge", "m.1", "--all"]):
        assert CliRunner().invoke(messages, arguments).exit_code == 2
    assert node.message_acts == asked


def test_timers_are_shown_with_their_times(node: FakeMessages) -> None:
    """Due in UTC, the interval with its unit; a cancel names both."""
    assert "t.1\ttick\t2026-01-01T00:00:00.000Z\tevery 1s\tonce" in run(timers, "ls", "a/b")
    assert run(timers, "cancel", "a/b", "t.1") == "cancelled t.1 of a/b\n"
    assert node.message_acts == [("timers", ("a/b", "", 100)), ("cancel", ("a/b", "t.1"))]

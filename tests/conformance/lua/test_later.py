"""What a handler asks for after its commit, as the host hears it: messages, timers, requests."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.sandbox import messages
from tests.conformance.lua.driver import Host, run_source


def host_answering(*values: Any) -> Host:
    """Returns a host that gives these values to every call of this page."""
    answer = messages.encode_answer(*values)
    names = ("send", "schedule", "cancel", "timers", "request")
    return Host(answers=dict.fromkeys(names, answer))


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ('self:send("a/b", "go", 1, "x", nil)', ["send", "a/b", "go", [1, "x", None]]),
        ('self:send("a/b", "go")', ["send", "a/b", "go", []]),
        ('self:request("a/b", "go", {})', ["request", "a/b", "go", [{}]]),
        (
            'self:after(1500, "ring", 1)',
            ["schedule", {"after": 1500, "handler": "ring", "args": [1]}],
        ),
        (
            'self:at(1764000000000, "ring")',
            ["schedule", {"at": 1_764_000_000_000, "handler": "ring", "args": []}],
        ),
        (
            'self:every(60e3, "ring")',
            ["schedule", {"every": 60_000, "handler": "ring", "args": []}],
        ),
        (
            'self:cron("0 9 * * 1-5", "ring", {a = 1})',
            ["schedule", {"cron": "0 9 * * 1-5", "handler": "ring", "args": [{"a": 1}]}],
        ),
        (
            """self:schedule{handler = "ring", args = {}, cron = "@daily", zone = "Europe/Berlin",
            name = "nightly", missed = "all"}""",
            [
                "schedule",
                {
                    "handler": "ring",
                    "args": [],
                    "cron": "@daily",
                    "zone": "Europe/Berlin",
                    "name": "nightly",
                    "missed": "all",
                },
            ],
        ),
        (
            'self:schedule{handler = "ring", args = {1, {}}, after = 5}',
            ["schedule", {"handler": "ring", "args": [1, {}], "after": 5}],
        ),
        ('self:cancel("t1")', ["cancel", "t1"]),
        ("self:timers()", ["timers", None]),
        ('self:timers("t1")', ["timers", "t1"]),
    ],
)
def test_what_is_asked(code: str, asked: list[Any]) -> None:
    """Each method is one call of the protocol, with its arguments in their places."""
    host = host_answering("answer", True)
    outcome = run_source(f"return ({code})", host=host)
    assert outcome.error is None, outcome.error
    assert host.calls == [asked]
    assert outcome.value == "answer"


def test_timers_come_with_whether_there_are_more() -> None:
    """A page of timers is a list and a boolean."""
    host = host_answering([{"id": "t1", "due": 5}], True)
    outcome = run_source("local list, more = self:timers() return {list, more}", host=host)
    assert outcome.value == [[{"id": "t1", "due": 5}], True]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('self.after(5, "ring")', "methods are called with a colon"),
        ('self:after("soon", "ring")', "number expected"),
        ('self:after(1.5, "ring")', "no integer representation"),
        ("self:after(5)", "string expected"),
        ('self:cron("\\255", "ring")', "valid UTF-8"),
        ('self:send("a/b", "go", print)', "a function is not a value"),
        ("self:schedule(5)", "table expected"),
        ('self:schedule{handler = "x", afer = 5}', "found 'afer'"),
        ('self:schedule{handler = "x", 5}', "found '1'"),
        ("self:cancel()", "string expected"),
    ],
)
def test_what_is_no_order_is_refused_before_it_is_sent(code: str, words: str) -> None:
    """A mistake is an error in the handler's own line, and the host hears nothing."""
    host = host_answering("answer")
    outcome = run_source(f"return {code}", host=host)
    assert outcome.error is not None
    assert words in outcome.error.message
    assert host.calls == []


def test_a_refusal_is_raised_with_its_code() -> None:
    """What the host refuses can be caught; code, message and fields are the error's."""
    refusal = messages.encode_refusal(66, "message.queue_full", "too many", {"waiting": 3})
    host = Host(answers={"send": refusal})
    outcome = run_source(
        'local ok, e = pcall(self.send, self, "a", "go") return {ok, e.code, e.waiting}', host=host
    )
    assert outcome.value == [False, "message.queue_full", 3]


def test_a_failed_send_leaves_no_half_message() -> None:
    """The next call is whole after one that broke off in its middle."""
    host = host_answering("answer")
    outcome = run_source(
        'pcall(self.send, self, "a/b", "go", 1, print) return self:send("a/b", "go", 2)', host=host
    )
    assert (outcome.value, host.calls) == ("answer", [["send", "a/b", "go", [2]]])

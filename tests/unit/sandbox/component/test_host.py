"""Tests of `lithox.sandbox.component.host`: what is asked of the node, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from lithox.sandbox import messages
from lithox.sandbox.component import host
from lithox.sandbox.component.ended import Ended
from lithox.sandbox.component.host import Ask, answer, read_reply
from lithox.sandbox.component.run import Run
from tests.repo.checkout import ROOT


def make_run(*, complete: bool = True, **state: Any) -> Run:
    """Returns a run that was sent `state`."""
    message = messages.RunMessage(
        handler="h",
        args=msgspec.Raw(b"\x90"),
        entity="e/1",
        caller="me",
        request_id="r",
        attempt=2,
        now_ms=5,
        seed=9,
        state={key: msgspec.Raw(msgspec.msgpack.encode(value)) for key, value in state.items()},
        complete=complete,
    )
    return Run(messages.encode_run(message))


def ask(name: str, run: Run, *arguments: Any) -> tuple[list[Any], Ask]:
    """Returns tuple of (the system call a function makes, decoded; the ask itself)."""
    asked = answer(name, run, list(arguments))
    assert isinstance(asked, Ask)
    return msgspec.msgpack.decode(asked.message), asked


def test_host_functions_are_those_of_the_world() -> None:
    """The table has the functions of `wit/handler.wit`, no more and no fewer."""
    text = (ROOT / "wit" / "handler.wit").read_text()
    inside = text[text.index("interface host") : text.index("world handler")]
    assert set(re.findall(r"^    ([a-z-]+): func", inside, re.MULTILINE)) == set(host.FUNCTIONS)


def test_host_tells_whose_run_it_is() -> None:
    """`info` has entity, caller, request id, attempt, start and seed; `now` the start."""
    assert answer("info", make_run(), []) == (b"e/1", b"me", b"r", 2, 5, 9)
    assert answer("now", make_run(), []) == 5


def test_host_gets_and_puts_json() -> None:
    """State is shown as JSON, and what is put is stored canonically."""
    run = make_run(a={"b": [1, b"x"]})
    assert answer("get", run, [b"a"]) == (True, b'{"b":[1,{"$bytes":"eA=="}]}')
    assert answer("put", run, [b"c", b'{"z": 1, "a": 2}']) == (True, None)
    assert run.state.pending == {"c": b"\x82\xa1a\x02\xa1z\x01"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (b"", b"1", "a state key is 1-512 bytes"),
        (b"\0a", b"1", "a state key is 1-512 bytes"),
        (b"k", b"{", "malformed JSON"),
        (b"k", b"1" * 30, "integers are 64-bit signed"),
        (b"k", b"[" * 70 + b"]" * 70, "values nest at most 64 levels deep"),
        (b"k", b"[" * 100_000, "values nest at most 64 levels deep"),
        (b"k", b'{"$big": {"size": 1, "digest": "x"}}', "values are None, bool"),
        (b"k", b'{"$odd": 1}', "a map whose first key starts with"),
    ],
)
def test_host_refuses_what_is_no_state(key: bytes, value: bytes, message: str) -> None:
    """Keys and values that cannot be are refused with the reason; nothing is written."""
    run = make_run()
    is_ok, error = answer("put", run, [key, value])
    assert (is_ok, error[0]) == (False, b"request.bad_arguments")
    assert message in error[1].decode()
    assert run.state.pending == {}


def test_host_tells_writes_before_what_depends_on_them() -> None:
    """A scan, a call and a big value's opening bring what was put, once."""
    run = make_run(a=1)
    answer("get", run, [b"a"])
    answer("put", run, [b"b", b"2"])
    call, _ = ask("call", run, b"e/2", b"h", b"[1]")
    assert call == [0, "call", "e/2", "h", [1], ["a"], [], {"b": 2}]
    answer("put", run, [b"c", b"3"])
    call, _ = ask("scan", run, b"p", None, 10)
    assert call == [0, "scan", "p", None, 10, {"c": 3}]
    call, _ = ask("range", run, b"a", b"z", b"m", 5)
    assert call == [0, "range", "a", "z", "m", 5, {}]


def test_host_forgets_state_that_a_call_has_changed() -> None:
    """When a cycle of calls has changed the state, it is asked for again, and the number tells."""
    run = make_run(a=1)
    _, asked = ask("call", run, b"e/2", b"h", b"[]")
    assert read_reply(asked, messages.encode_answer("got", True)) == (True, b'"got"')
    assert answer("generation", run, []) == 1
    call, _ = ask("get", run, b"a")
    assert call == [0, "get", "a"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("call", (b"e", b"h", b"{}")),
        ("send", (b"e", b"h", b"1")),
        ("request", (b"e", b"h", b"null")),
        ("schedule", (b"[]",)),
        ("log", (b"info", b"text", b"[]")),
    ],
)
def test_host_refuses_arguments_of_another_kind(name: str, arguments: tuple[bytes, ...]) -> None:
    """Arguments are a list, a timer and a log line's fields a map."""
    is_ok, error = answer(name, make_run(), list(arguments))
    assert (is_ok, error[0]) == (False, b"request.bad_arguments")


def test_host_reply_that_refuses_is_an_error() -> None:
    """A refusal has the node's code, message and fields."""
    _, asked = ask("send", make_run(), b"e", b"h", b"[]")
    refused = messages.encode_refusal(10, "request.not_found", "no such entity", {"at": "e"})
    error = (b"request.not_found", b"no such entity", b'{"at":"e"}', b"")
    assert read_reply(asked, refused) == (False, error)


def test_host_ends_the_run_for_its_allocator() -> None:
    """`out-of-memory` ends the run with that limit."""
    with pytest.raises(Ended) as caught:
        answer("out-of-memory", make_run(), [])
    assert caught.value.code == "guest.out_of_memory"


@pytest.mark.parametrize("name", sorted(set(host.FUNCTIONS) - host.LOADING))
def test_host_is_not_there_while_loading(name: str) -> None:
    """While a component is asked for its handlers, nothing but the log answers."""
    run = Run(None)
    if host.FUNCTIONS[name][1].startswith("result<"):
        is_ok, error = answer(name, run, [])
        assert (is_ok, error[0]) == (False, b"request.not_available")
    else:
        with pytest.raises(Ended, match="is not available while a component is loaded"):
            answer(name, run, [])

"""Messages a stranger's module made by hand: each has its own end, none is a fault of the node."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithox.errors import GuestProtocolError, LimitExceeded, LithoxError
from lithox.sandbox import messages, said
from lithox.sandbox.contract import Step, StepKind
from lithox.testing.script import Refused, ScriptedSelf
from lithox.testing.scripted import ScriptedGuest
from tests.unit.dispatch.house import House

ENCODE = msgspec.msgpack.encode
BAD_TEXT = b"\xa2\xff\xfe"
NO_PLAIN = {
    "text": BAD_TEXT,
    "key": b"\x81\xa1\xff\x01",
    "number key": b"\x81\x01\x01",
    "number": b"\xcf" + b"\xff" * 8,
    "nan": b"\xcb\x7f\xf8" + b"\0" * 6,
    "big value": ENCODE(msgspec.msgpack.Ext(2, ENCODE([1, 10, 1, b"\0" * 32]))),
    "time": b"\xd6\xff\0\0\0\0",
    "deep": b"\x91" * 500 + b"\x90",
}
NAMES = (
    *(messages.CALL_GET, messages.CALL_SCAN, messages.CALL_CALL, messages.CALL_LOG),
    *(messages.CALL_USAGE, messages.CALL_REQUEST, messages.CALL_SEND, messages.CALL_SCHEDULE),
    *(messages.CALL_CANCEL, messages.CALL_TIMERS, messages.CALL_RANGE, messages.CALL_BLOB_OPEN),
    *(messages.CALL_BLOB_READ, messages.CALL_BLOB_WRITE, messages.CALL_BLOB_CLOSE, "nope"),
)


def say(_self: ScriptedSelf, message: bytes) -> Any:
    """Says `message` as it is; returns the code of a refusal, or nothing."""
    status, *rest = msgspec.msgpack.decode((yield ("say", message)))
    return rest[0] if status else None


def refused(_self: ScriptedSelf, message: bytes) -> Any:
    """Says `message` as it is; returns code and text of its refusal."""
    return msgspec.msgpack.decode((yield ("say", message)))[1:3]


def end(_self: ScriptedSelf, message: bytes) -> Any:
    """Ends with `message` as its outcome, see `forging`."""
    yield ("burn", 1)
    return message


def touch(_self: ScriptedSelf, *_args: Any) -> Any:
    yield ("set", "touched", True)
    return "touched"


def ask(_self: ScriptedSelf, other: str, handler: str, *args: Any) -> Any:
    """Returns what a callee gave, or the code of its error."""
    try:
        return (yield ("call", other, handler, *args))
    except Refused as refused:
        return refused.code


MODULE = {"say": say, "refused": refused, "end": end, "touch": touch, "ask": ask}
_step = ScriptedGuest.step


def _forged_step(self: ScriptedGuest, quantum_fuel: int, *, frees_lock: bool) -> Step:
    step = _step(self, quantum_fuel, frees_lock=frees_lock)
    if step.kind is StepKind.FINISHED:
        body = messages.decode_outcome(step.data).body
        value = msgspec.msgpack.decode(body)
        if isinstance(value, bytes):
            return Step(StepKind.FINISHED, value)
    return step


@pytest.fixture(autouse=True, scope="module")
def forging() -> Any:
    """A run that returns bytes ends with these as its outcome message."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptedGuest, "step", _forged_step)
        yield


def open_house() -> House:
    house = House()
    house.publish("t/*", MODULE, access=["entity:t/**"])
    return house


def call_message(name: str, *args: bytes) -> bytes:
    """Returns a system call of encoded arguments."""
    return bytes((0x90 | (len(args) + 2),)) + b"\0" + ENCODE(name) + b"".join(args)


def code_of(house: House, handler: str, message: bytes) -> str:
    """Returns the code with which a message ends or is refused; "" for none."""
    try:
        return house.call("t/a", handler, message) or ""
    except LithoxError as error:
        return error.code


@pytest.mark.parametrize("name", NAMES[:-1])
def test_text_that_is_not_utf8_breaks_the_protocol(name: str) -> None:
    """In every argument of every system call, and never as a fault of the node."""
    house = open_house()
    for count in range(1, 7):
        args = [BAD_TEXT if place == count - 1 else b"\xa1a" for place in range(count)]
        code = code_of(house, "say", call_message(name, *args, *[b"\xc0"] * (6 - count)))
        assert code in {"", "guest.protocol", "request.bad_arguments", "request.not_available"}
    assert not house.bugs


def test_text_that_is_not_utf8_in_an_outcome_breaks_the_protocol() -> None:
    """In the value, an error's parts, reads, scans and writes alike."""
    house = open_house()
    tail = b"\x90\x90\x80"
    for message in (
        b"\x95\0" + BAD_TEXT + tail,
        *(b"\x95\1\x94" + part + tail for part in _error_parts()),
        b"\x95\0\xc0\x91" + BAD_TEXT + b"\x90\x80",
        b"\x95\0\xc0\x90\x91" + BAD_TEXT + b"\x80",
        b"\x95\0\xc0\x90\x90\x81" + BAD_TEXT + b"\x01",
        b"\x95\0\xc0\x90\x90\x81\xa1k" + BAD_TEXT,
    ):
        assert code_of(house, "end", message) == "guest.protocol"
    assert not house.bugs


def _error_parts() -> list[bytes]:
    good = b"\xa1x"
    return [b"".join(BAD_TEXT if n == bad else good for n in range(4)) for bad in range(4)]


@pytest.mark.parametrize("value", NO_PLAIN.values(), ids=NO_PLAIN)
def test_what_is_not_plain_reaches_no_other_module(value: bytes) -> None:
    """Neither the arguments of a call nor the value or the error's data of a callee."""
    house = open_house()
    called = call_message(
        *("call", b"\xa3t/b", ENCODE("touch"), b"\x91" + value, b"\x90", b"\x90", b"\x80")
    )
    assert code_of(house, "say", called) in {"request.bad_arguments", "guest.protocol"}
    assert house.get("t/b", "touched") is None
    returned = b"\x95\0" + value + b"\x90\x90\x80"
    assert house.call("t/a", "ask", "t/b", "end", returned) == "guest.protocol"
    raised = b"\x95\1\x94\xa0\xa1m\xa0" + value + b"\x90\x90\x80"
    assert house.call("t/a", "ask", "t/b", "end", raised) == "guest.protocol"
    assert not house.bugs


def test_arguments_of_a_call_are_a_list() -> None:
    """A map or a number in their place is refused before anything runs."""
    house = open_house()
    for args in (b"\x80", b"\x01", b"\xc0"):
        said_so = call_message("call", b"\xa3t/b", ENCODE("touch"), args, b"\x90", b"\x90", b"\x80")
        assert code_of(house, "say", said_so) == "request.bad_arguments"
    assert house.get("t/b", "touched") is None


def test_a_call_of_many_items_costs_fuel_before_it_is_read() -> None:
    """What one message may hold is paid for; who cannot pay ends, and nobody is called."""
    house = House()
    house.publish("t/*", MODULE, access=["entity:t/**"], limits={"fuel": 100_000})
    args = ENCODE(["x"] * 10_000)
    message = call_message("call", b"\xa3t/b", ENCODE("touch"), args, b"\x90", b"\x90", b"\x80")
    with pytest.raises(LimitExceeded) as caught:
        house.call("t/a", "say", message)
    assert caught.value.code == "guest.out_of_fuel"
    assert house.get("t/b", "touched") is None
    rich = open_house()
    answers = rich.send("t/a", "say", message)
    rich.run()
    assert answers[0].error is None
    assert answers[0].usage.fuel >= 10_000 * said.FUEL_PER_WEIGHT
    assert rich.get("t/b", "touched") is True


def test_keys_and_scans_of_one_call_are_bounded() -> None:
    """One more than there may be ends the run, as millions of items do."""
    house = open_house()
    many = {
        4: ENCODE(["k"] * (said.READS_MAX + 1)),
        5: ENCODE([""] * (said.SCANS_MAX + 1)),
        6: ENCODE({f"k{n}": 1 for n in range(said.WRITES_MAX + 1)}),
    }
    for place, items in many.items():
        args = [b"\xa3t/b", ENCODE("touch"), b"\x90", b"\x90", b"\x90", b"\x80"]
        args[place - 1] = items
        assert code_of(house, "say", call_message("call", *args)) == "guest.out_of_output"
    paged = call_message("scan", b"\xa0", b"\xc0", b"\x01", many[6])
    assert code_of(house, "say", paged) == "guest.out_of_output"
    opened = call_message("blob_open", b"\xa1k", many[6])
    assert code_of(house, "say", opened) == "guest.out_of_output"
    assert not house.bugs


def test_a_run_whose_time_passes_while_its_call_is_read_ends_by_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told its own limit, not that the node has too many processes."""
    house = open_house()
    read = messages.decode_call

    def read_slowly(data: bytes) -> Any:
        house.clock.burn(40_000_000_000)
        return read(data)

    monkeypatch.setattr(messages, "decode_call", read_slowly)
    with pytest.raises(LimitExceeded) as caught:
        house.call("t/a", "ask", "t/b", "touch")
    assert caught.value.code == "guest.out_of_wall"
    assert house.get("t/b", "touched") is None


def test_a_timer_of_forged_text_breaks_the_protocol() -> None:
    """In a field of the map as in the map's keys."""
    house = open_house()
    for way in (b"\xa5after" + BAD_TEXT, b"\xa5after\x01\xa4name" + BAD_TEXT):
        count = 2 if b"name" not in way else 3
        order = bytes((0x80 | count,)) + b"\xa7handler\xa5touch" + way
        assert code_of(house, "say", call_message("schedule", order)) != "internal"
    assert not house.bugs


ODD = st.sampled_from(
    [
        *NO_PLAIN.values(),
        *(b"\xa0", b"\xa1a", b"\xa3t/b", b"\xa5touch", b"\xc0", b"\x00", b"\xff", b"\x90", b"\x80"),
        *(b"\x91\xa0", b"\x91\x92\xa1z\xa1a", b"\x81\xa1k\x01", b"\x81\xa0\x01", b"\x81\xa1\0\x01"),
        *(
            ENCODE("x" * 600),
            b"\xc4\x01x",
            b"\xd3\x80" + b"\0" * 7,
            b"\xc1",
            b"\xdd\xff\xff\xff\xff",
        ),
        b"\x83\xa7handler\xa5touch\xa5after\x01\xa4args" + b"\x91\xff",
    ]
)
CALLS = st.builds(
    lambda name, args: call_message(name, *args), st.sampled_from(NAMES), st.lists(ODD, max_size=8)
)
OUTCOMES = st.builds(
    lambda kind, parts: b"\x95" + kind + b"".join(parts),
    st.sampled_from([b"\0", b"\1", b"\2", b"\xff"]),
    st.lists(ODD, min_size=4, max_size=4),
)
ERRORS = st.builds(
    lambda parts: b"\x95\1\x94" + b"".join(parts) + b"\x90\x90\x80",
    st.lists(ODD, min_size=4, max_size=4),
)


@settings(max_examples=300, deadline=None)
@given(
    st.tuples(st.just("say"), CALLS | st.binary(max_size=40))
    | st.tuples(st.just("end"), OUTCOMES | ERRORS | st.binary(max_size=40))
)
def test_no_forged_message_is_a_fault_of_the_node(forged: tuple[str, bytes]) -> None:
    """Whatever a module says, its run ends or is refused by a code that is its own."""
    house = open_house()
    assert not str(code_of(house, *forged)).startswith("internal")
    assert not house.bugs


def test_protocol_errors_name_the_call() -> None:
    """Who writes a module by hand is told which arguments were wrong."""
    house = open_house()
    answer = house.call("t/a", "refused", call_message("get", BAD_TEXT))
    assert answer[0] == GuestProtocolError.default_code
    assert "arguments of 'get'" in answer[1]

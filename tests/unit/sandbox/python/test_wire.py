"""Frames are read as they come from a worker, and refused when no healthy one sends them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithox.sandbox.python import wire
from lithox.sandbox.python.wire import Event, EventKind, WireError, decode_event

RECORDED = {
    "0a090a070801120368690a": Event(EventKind.PRINT, text="hi\n"),
    "5200": Event(EventKind.OK),
    "122f0a04686f7374120200013a0b080212034201611202280242160a103c707974686f6e2d696e7075742d30"
    "3e100c1817a00129b0014dc00129c801c096b102": Event(
        EventKind.FUNCTION_CALL, name="host", args=("a", None)
    ),
    "320b1209080112054203747874a0012ab0014dc0012ac801c096b102": Event(
        EventKind.COMPLETE, text="txt"
    ),
    "221b0a03666f6f1a140a103c707974686f6e2d696e7075742d333e1803a0016db001e807c00101": Event(
        EventKind.NAME_LOOKUP, text="foo"
    ),
    "1a1ffa01050a03666f6fa203140a103c707974686f6e2d696e7075742d343e180aa0016fb001e807c00102": Event(
        EventKind.OS_CALL, name="import", detail=bytes.fromhex("0a03666f6f")
    ),
}


@pytest.mark.parametrize("frame", RECORDED)
def test_recorded_event_is_read(frame: str) -> None:
    """What the worker of this version has sent is understood."""
    assert decode_event(bytes.fromhex(frame)) == RECORDED[frame]


def test_recorded_error_has_its_traceback() -> None:
    """Type, text and frames, the outermost first, with the line of the text."""
    frame = (
        "3ab5010ab2010a0a56616c75654572726f721206c3a9c3a9c3a91a2d0a103c707974686f6e2d696e707574"
        "2d383e1204080610011a040806100422083c6d6f64756c653e2a036728291a2a0a103c707974686f6e2d69"
        "6e7075742d383e1204080510051a04080510082201672a07202020206628291a410a103c707974686f6e2d"
        "696e7075742d383e12040802100b1a040802101c2201662a1c2020202072616973652056616c7565457272"
        "6f722822c3a9222a33293001a001db01b001e807c00109"
    )
    event = decode_event(bytes.fromhex(frame))
    assert (event.kind, event.name, event.text) == (EventKind.ERROR, "ValueError", "ééé")
    assert [(one.line, one.column, one.function) for one in event.frames] == [
        (6, 1, "<module>"),
        (5, 5, "g"),
        (2, 11, "f"),
    ]
    assert event.frames[2].text.strip() == 'raise ValueError("é"*3)'


def test_requests_are_those_the_packages_client_sends() -> None:
    """Byte for byte what was recorded, so a change of the encoder is seen."""
    assert wire.RESET.hex() == "020000004a00"
    assert wire.DUMP.hex() == "020000003a00"
    assert wire.UNDEFINED.hex() == "040000002a021a00"
    feed = wire.encode_feed('host("b")')
    assert feed.hex() == "120000001a100a09686f737428226222291a002a012f"
    answer = wire.encode_text_answer(0, "txt")
    assert answer.hex() == "11000000220f120208001a09080112054203747874"
    assert wire.encode_not_handled(0).hex() == "06000000220412022a00"
    assert wire.encode_not_found(0, "import").hex() == "0c000000220a12082206696d706f7274"


def test_clock_answers_with_the_runs_moment() -> None:
    """Date, time and seconds are those of the moment, in the zone that was asked for."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    today = wire.encode_moment(Event(EventKind.OS_CALL, name=wire.OS_TODAY), moment)
    assert today.hex() == "160000002214120208001a0e0801120a8a010708ea0f10011802"
    now = Event(EventKind.OS_CALL, name=wire.OS_NOW)
    assert wire.encode_moment(now, moment).hex() == (
        "20000000221e120208001a18080112149a011108ea0f1001180220032804300538f5b729"
    )
    aware = now._replace(detail=bytes.fromhex("0a00"))
    assert wire.encode_moment(aware, moment).hex() == (
        "220000002220120208001a1a080112169a011308ea0f1001180220032804300538f5b7294000"
    )


def test_randomness_is_the_seeds() -> None:
    """The same seed and place give the same bytes, others give others, and never too many."""
    event = Event(EventKind.OS_CALL, name=wire.OS_URANDOM, detail=b"\x08\x10")
    assert wire.encode_random(event, 1, 1) == wire.encode_random(event, 1, 1)
    assert wire.encode_random(event, 1, 1) != wire.encode_random(event, 2, 1)
    assert wire.encode_random(event, 1, 1) != wire.encode_random(event, 1, 2)
    much = event._replace(detail=b"\x08\xff\xff\xff\xff\x0f")
    assert len(wire.encode_random(much, 1, 1)) < wire.RANDOM_BYTES_MAX + 100


@given(st.binary(max_size=300))
def test_noise_is_refused_or_read_but_nothing_else(data: bytes) -> None:
    """Any bytes are an event or a WireError."""
    with contextlib.suppress(WireError):
        assert isinstance(decode_event(data), Event)


@pytest.mark.parametrize("frame", RECORDED)
def test_torn_events_are_refused(frame: str) -> None:
    """An event cut anywhere in its first field is refused, whatever was in it."""
    data = bytes.fromhex(frame)
    for end in range(1, 2 + data[1] if len(data) > 2 else 1):
        with pytest.raises(WireError):
            decode_event(data[:end])


def test_too_many_fields_are_refused() -> None:
    """A message of small fields costs no more than its bound."""
    with pytest.raises(WireError, match="more than 4096 fields"):
        wire.read_fields(b"\x08\x01" * (wire.FIELDS_MAX + 1))


def test_fields_that_lie_are_refused() -> None:
    """Numbers without end, lengths beyond the end, kinds that are none."""
    for data in (b"\x80" * 20, b"\x0a\x05ab", b"\x0b", b"\x09abc", b"\x0d"):
        with pytest.raises(WireError):
            wire.read_fields(data)

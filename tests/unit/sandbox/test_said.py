"""What guests say is weighed before it is decoded, and has one error when it cannot be read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithox.errors import GuestProtocolError, LimitExceeded
from lithox.sandbox import messages, said

ENCODE = msgspec.msgpack.encode
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats()
    | st.text(max_size=80)
    | st.binary(max_size=400)
    | st.builds(msgspec.msgpack.Ext, st.integers(-128, 127), st.binary(max_size=300)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=40), inner),
)
TOO_MANY = b"\xdd" + (7 << 20).to_bytes(4)


def weight_of(value: Any) -> int:
    if isinstance(value, list):
        return 4 + sum(map(weight_of, value))
    if isinstance(value, dict):
        return 4 + sum(weight_of(key) + weight_of(item) for key, item in value.items())
    if isinstance(value, str):
        return 2 if len(value.encode()) >= 32 else 1
    if isinstance(value, msgspec.msgpack.Ext):
        return 1 if len(value.data) in {1, 2, 4, 8, 16} else 2
    return 2 if isinstance(value, bytes) else 1


@pytest.mark.patches_source
@given(VALUES)
def test_the_weight_of_any_value_is_that_of_its_items(value: Any) -> None:
    """Whatever forms MessagePack has, each item is found once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(said, "UNWEIGHED_BYTES_MAX", 0)
        assert said.weigh(ENCODE(value)) == weight_of(value)


@pytest.mark.patches_source
@given(st.binary(max_size=200))
def test_weighing_takes_any_bytes(data: bytes) -> None:
    """What is no MessagePack at all is left to the decoder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(said, "UNWEIGHED_BYTES_MAX", 0)
        assert 0 <= said.weigh(data) <= 4 * len(data)


def test_a_short_message_and_one_long_text_weigh_next_to_nothing() -> None:
    """Only the number of items counts, and few bytes cannot hold many."""
    assert said.weigh(ENCODE([None] * 8000)) == 0
    assert said.weigh(ENCODE(["x" * (8 << 20)])) == 6


@pytest.mark.parametrize(
    "item", [b"\xc0", b"\xa0", b"\x90", b"\x80", b"\x91\x00", b"\xa1a", b"\xc4\x00", b"\xd9\x00"]
)
def test_a_message_of_millions_of_items_is_refused_unread(item: bytes) -> None:
    """Of whatever kind they are; the message says what counts how much."""
    message = b"\x95\x00" + TOO_MANY + item * (7 << 20) + b"\x90\x90\x80"
    with pytest.raises(LimitExceeded, match="items") as caught:
        messages.decode_outcome(message)
    assert caught.value.code == "guest.out_of_output"
    assert caught.value.fields["allowed"] == said.WEIGHT_MAX


def test_looking_ends_at_the_bound() -> None:
    """No more of a message is looked at than may be in it."""

    class Watched(bytes):
        looked = 0

        def __getitem__(self, key: Any) -> Any:
            Watched.looked += 1
            return super().__getitem__(key)

    with pytest.raises(LimitExceeded):
        said.weigh(Watched(TOO_MANY + b"\xc0" * (1 << 20)))
    assert Watched.looked <= said.WEIGHT_MAX + 1


@pytest.mark.parametrize(
    ("place", "count"),
    [(2, said.READS_MAX), (3, said.SCANS_MAX), (4, said.WRITES_MAX)],
)
def test_keys_of_one_message_are_bounded(place: int, count: int) -> None:
    """As many reads, scans and writes as there may be pass; one more does not."""
    for more in (0, 1):
        names = [f"k{number}" for number in range(count + more)]
        parts: list[Any] = [0, "x" * said.UNWEIGHED_BYTES_MAX, [], [], {}]
        parts[place] = dict.fromkeys(names, 1) if place == 4 else names
        if more:
            with pytest.raises(LimitExceeded, match=f"{count + 1} .* in one message"):
                messages.decode_outcome(ENCODE(parts))
        else:
            outcome = messages.decode_outcome(ENCODE(parts))
            assert len((outcome.reads, outcome.scans, outcome.writes)[place - 2]) == count


@pytest.mark.parametrize(
    "data", [b"\xa2\xff\xfe", b"\x81\xa1\xff\x01", b"\xc1", b"", b"\x91" * 5000 + b"\x90", b"\x01"]
)
def test_what_cannot_be_read_has_one_error(data: bytes) -> None:
    """Text that is not UTF-8, nesting without end, another type: all are breaks of protocol."""
    decoder = said.GuestDecoder(msgspec.msgpack.Decoder(dict[str, Any] | list[Any] | str))
    with pytest.raises(GuestProtocolError):
        decoder.decode(data)

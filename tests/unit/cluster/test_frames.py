"""Frames: items come out as they went in, however the stream is cut, and nothing else does."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithox.cluster.frames import FRAME_BYTES_MAX, ITEMS_MAX, FrameReader, make_frames
from lithox.errors import PeerProtocolError

ITEMS = st.lists(st.lists(st.one_of(st.integers(0, 9), st.binary(max_size=50)), max_size=4))


@given(ITEMS, st.data())
def test_items_come_out_in_order_however_the_stream_is_cut(
    items: list[list[object]], data: st.DataObject
) -> None:
    """Cut anywhere, even inside a length."""
    stream = b"".join(make_frames([msgspec.msgpack.encode(one) for one in items]))
    reader, found = FrameReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == items


def test_many_items_are_several_frames() -> None:
    """So that who reads them takes no long turn of its loop."""
    item = msgspec.msgpack.encode([1, 2])
    stream = b"".join(make_frames([item] * (2 * ITEMS_MAX + 1)))
    first = int.from_bytes(stream[:4], "big")
    assert len(FrameReader().feed(stream[: 4 + first])) == ITEMS_MAX
    assert len(FrameReader().feed(stream)) == 2 * ITEMS_MAX + 1


@pytest.mark.parametrize(
    "stream",
    [
        (FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
        b"\0\0\0\x01\xc0",
        b"\0\0\0\x02\x91\xc0",
        b"\0\0\0\x01\xc1",
        b"\0\0\0\0",
        b"\0\0\x10\0" + b"\x91" * 0x1000,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_stream_of_something_else_is_refused(stream: bytes) -> None:
    """Too long, no array of arrays, no MessagePack, too deep, another protocol."""
    with pytest.raises(PeerProtocolError):
        FrameReader().feed(stream)

"""How items travel between two processes: frames of many, each with its length in front.

    4 bytes   length of what follows, big-endian
    MessagePack array of items (`cluster/wire.py`)

Whatever is put in within one turn of the loop leaves in one write. Invariants: a frame is decoded
when it is whole; what announces more than `FRAME_BYTES_MAX`, or cannot be decoded, raises, and the
stream is worth nothing from there on.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgspec

from lithox.errors import PeerProtocolError

FRAME_BYTES_MAX: Final = 256 << 20
"""An item is one request or answer; the gateway and the limits of a run bound it far below."""
FRAME_BYTES_GOOD: Final = 256 << 10
"""A frame is closed once it has so much, so that its reader takes no long turn of the loop."""
ITEMS_MAX: Final = 512
"""Items in one frame, for the same reason: admission of one costs about 20 us."""
_LENGTH: Final = struct.Struct(">I")
_ARRAY: Final = struct.Struct(">BI")
_ARRAY_32: Final = 0xDD
_decode: Final = msgspec.msgpack.Decoder(list[list[Any]]).decode


def make_frames(items: list[bytes]) -> list[bytes]:
    """Returns the parts of the frames that carry `items` in order; each item is encoded already."""
    parts: list[bytes] = []
    start = size = 0
    for index, item in enumerate(items):
        size += len(item)
        if size >= FRAME_BYTES_GOOD or index + 1 - start == ITEMS_MAX:
            _close(parts, items[start : index + 1], size)
            start, size = index + 1, 0
    if start < len(items):
        _close(parts, items[start:], size)
    return parts


def _close(parts: list[bytes], items: list[bytes], size: int) -> None:
    parts.append(_LENGTH.pack(size + _ARRAY.size) + _ARRAY.pack(_ARRAY_32, len(items)))
    parts += items


class FrameReader:
    """Takes a stream of frames apart as it comes. Not for several threads."""

    __slots__ = ("_parts", "_size", "_wanted")

    def __init__(self) -> None:
        """Waits for the first frame."""
        self._parts: list[bytes] = []
        self._size = 0
        self._wanted = _LENGTH.size

    def feed(self, data: bytes) -> list[list[Any]]:
        """Returns the items of every frame that is whole now.

        Raises:
            PeerProtocolError: this is no such stream.
        """
        self._parts.append(data)
        self._size += len(data)
        if self._size < self._wanted:
            return []
        whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        found: list[list[Any]] = []
        start, length = 0, len(whole)
        while True:
            self._wanted = _LENGTH.size
            if length - start < self._wanted:
                break
            (body,) = _LENGTH.unpack_from(whole, start)
            if body > FRAME_BYTES_MAX:
                raise PeerProtocolError(f"a frame of {body} bytes; at most {FRAME_BYTES_MAX}")
            self._wanted += body
            if length - start < self._wanted:
                break
            end = start + self._wanted
            found += _read(whole[start + _LENGTH.size : end])
            start = end
        rest = whole[start:] if start else whole
        self._parts = [rest] if rest else []
        self._size = len(rest)
        return found


def _read(body: bytes) -> list[list[Any]]:
    try:
        return _decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PeerProtocolError(f"a frame cannot be decoded: {error}") from None

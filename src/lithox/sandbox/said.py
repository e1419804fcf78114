"""How is read what a guest says, so that no message costs the node more than it should?

A stranger's module controls every byte of its messages. So nothing of them is decoded but through
a `GuestDecoder`, which knows one end for all that cannot be read, and no long message is decoded
before it has been weighed: a fill of memory costs its sender next to nothing, while each item costs
the node 0.25 us (a scalar) to 2 us (a list or map) when it is decoded, checked and merged.

Weighing goes over the headers of a message without building anything, and ends at the bound; a
short message cannot hold enough to matter and is not weighed at all.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import msgspec

from lithox.errors import GuestProtocolError, LimitExceeded

UNWEIGHED_BYTES_MAX: Final = 8 << 10
"""A message no longer than this holds at most as many items, and is decoded as it is."""
WEIGHT_MAX: Final = 1 << 17
"""Weight of one message: a list of 130,000 numbers, 10,000 records of four fields."""
FUEL_PER_WEIGHT: Final = 500
"""Price of reading a system call that is weighed: 0.25 us at the 2 fuel/ns that code burns."""
READS_MAX: Final = 1 << 15
"""Keys one message names as read."""
SCANS_MAX: Final = 1 << 12
"""Prefixes and ranges one message names as used whole; a read set keeps 256 of them apart."""
WRITES_MAX: Final = 1 << 15
"""Keys one message writes."""
_LONG_FIRST: Final = frozenset(range(0xC4, 0xCA)) | frozenset(range(0xD9, 0xDC))
"""First bytes of texts, bytes and extensions that say their length in what follows."""
_SHORT_LENGTH_FIRST: Final = frozenset((0xC4, 0xD9))
_EXTENSIONS_FIRST: Final = frozenset((0xC7, 0xC8, 0xC9))
_LENGTH_BYTES: Final = {
    0xC7: 1,
    **dict.fromkeys((0xC5, 0xC8, 0xDA), 2),
    **dict.fromkeys((0xC6, 0xC9, 0xDB), 4),
}
_SIZES: Final = {
    **{0xA0 | size: 1 + size for size in range(32)},
    0xCA: 5,
    0xCB: 9,
    0xCC: 2,
    0xCD: 3,
    0xCE: 5,
    0xCF: 9,
    0xD0: 2,
    0xD1: 3,
    0xD2: 5,
    0xD3: 9,
    0xD4: 3,
    0xD5: 4,
    0xD6: 6,
    0xD7: 10,
    0xD8: 18,
    0xDC: 3,
    0xDD: 5,
    0xDE: 3,
    0xDF: 5,
}
_STEPS: Final = tuple(0 if first in _LONG_FIRST else _SIZES.get(first, 1) for first in range(256))
"""By its first byte: bytes of a scalar or of a container's header; 0: see `_LENGTH_BYTES`."""
_WEIGHTS: Final = tuple(
    4 if 0x80 <= first < 0xA0 or 0xDC <= first <= 0xDF else 2 if first in _LONG_FIRST else 1
    for first in range(256)
)

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What decoders raise; text that is not UTF-8 is no error of msgspec's own."""

T = TypeVar("T")


class GuestDecoder(Generic[T]):
    """Decodes one kind of thing that guests say."""

    __slots__ = ("_decode",)

    def __init__(self, decoder: msgspec.msgpack.Decoder[T]) -> None:
        """Takes the decoder of one type."""
        self._decode = decoder.decode

    def decode(self, data: bytes | msgspec.Raw) -> T:
        """Returns what `data` says; raises GuestProtocolError if that cannot be read."""
        try:
            return self._decode(data)
        except UNREADABLE as error:
            raise GuestProtocolError(f"it cannot be read: {error}") from None


def weigh(data: bytes) -> int:
    """Returns the weight of a message, 0 for a short one.

    A list or map weighs 4, text or bytes of 32 bytes or more 2, all else 1; keys count too.

    Raises:
        LimitExceeded: more than `WEIGHT_MAX`; only so much of it has been looked at.
    """
    if len(data) <= UNWEIGHED_BYTES_MAX:
        return 0
    weight = position = 0
    steps, weights = _STEPS, _WEIGHTS
    try:
        # Each turn adds one at least, so the bound on the weight is one on the turns.
        for _ in range(WEIGHT_MAX + 1):
            first = data[position]
            step = steps[first]
            if step == 0:
                if weight > WEIGHT_MAX:
                    break
                if first in _SHORT_LENGTH_FIRST:
                    step = 2 + data[position + 1]
                else:
                    start = position + 1 + _LENGTH_BYTES[first]
                    length = int.from_bytes(data[position + 1 : start])
                    step = start - position + length + (first in _EXTENSIONS_FIRST)
            position += step
            weight += weights[first]
    except IndexError:
        # The end of the message, or one that is cut short, of which decoding will say so.
        pass
    if weight > WEIGHT_MAX:
        raise LimitExceeded(
            "the run puts out a message of too many items: lists and maps count 4, long texts 2, "
            f"all else 1, and together they may count {WEIGHT_MAX}",
            limit="output",
            allowed=WEIGHT_MAX,
        )
    return weight


def count_items(data: bytes | msgspec.Raw) -> int:
    """Returns how many items a list, or entries a map, says it has; 0 for all else."""
    header = bytes(memoryview(data)[:5])
    first = header[0] if header else 0
    if 0x80 <= first < 0xA0:
        return first & 0x0F
    if first in (0xDC, 0xDE):
        return int.from_bytes(header[1:3])
    if first in (0xDD, 0xDF):
        return int.from_bytes(header[1:5])
    return 0


def check_count(data: bytes | msgspec.Raw, most: int, what: str) -> None:
    """Raises LimitExceeded when a list or map has more than `most` items.

    Args:
        data: the list or map, undecoded.
        what: what they are, for the message ("keys written").
    """
    count = count_items(data)
    if count > most:
        raise LimitExceeded(
            f"the run puts out {count} {what} in one message; there may be {most}",
            limit="output",
            used=count,
            allowed=most,
        )

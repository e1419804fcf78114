"""Lists of rows as parameters: whole columns in PostgreSQL's binary array format.

A batch has hundreds of rows; psycopg would make an object or two for each value of a list. Packed
by hand a column costs about 0.2 microseconds a value. Format: `array_recv` in the server's
src/backend/utils/adt/arrayfuncs.c: dimensions, has-nulls flag, element type, then for each
dimension its length and lower bound, then each element's length and bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from psycopg import adapt, pq

_OID_BYTEA: Final = 17
_OID_INT8: Final = 20
_OID_TEXT: Final = 25
_OID_BYTEA_ARRAY: Final = 1001
_OID_INT8_ARRAY: Final = 1016
_LENGTHS: Final = tuple(struct.pack(">i", length) for length in range(1024))


class Packed:
    """A value in the server's binary form already; `oid` is its type there."""

    __slots__ = ("data",)
    oid = 0

    def __init__(self, data: bytes) -> None:
        self.data = data


class Bytes(Packed):
    """One bytea."""

    oid = _OID_BYTEA


class Text(Packed):
    """One text, encoded."""

    oid = _OID_TEXT


class Int(Packed):
    """One bigint."""

    oid = _OID_INT8

    def __init__(self, value: int) -> None:
        super().__init__(struct.pack(">q", value))


class BytesArray(Packed):
    """A bytea[] of `values`."""

    oid = _OID_BYTEA_ARRAY

    def __init__(self, values: Sequence[bytes]) -> None:
        pieces: list[bytes] = [_head(_OID_BYTEA, len(values))]
        add = pieces.append
        for value in values:
            size = len(value)
            add(_LENGTHS[size] if size < 1024 else struct.pack(">i", size))
            add(value)
        super().__init__(b"".join(pieces))


class IntArray(Packed):
    """A bigint[] of `values`."""

    oid = _OID_INT8_ARRAY

    def __init__(self, values: Sequence[int]) -> None:
        flat: list[int] = []
        for value in values:
            flat += (8, value)
        super().__init__(
            _head(_OID_INT8, len(values)) + struct.pack(">" + "iq" * len(values), *flat)
        )


def _head(oid: int, count: int) -> bytes:
    if count == 0:
        return struct.pack(">iii", 0, 0, oid)
    return struct.pack(">iiiii", 1, 0, oid, count, 1)


def _dumper_of(kind: type[Packed]) -> type[adapt.Dumper]:
    class PackedDumper(adapt.Dumper):
        format = pq.Format.BINARY
        oid = kind.oid

        def dump(self, obj: Packed) -> bytes:
            return obj.data

    return PackedDumper


_DUMPERS: Final = {kind: _dumper_of(kind) for kind in (Bytes, Text, Int, BytesArray, IntArray)}


def register_arrays(connection: Any) -> None:
    """Teaches `connection` to send the classes of this module."""
    for kind, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(kind, dumper)

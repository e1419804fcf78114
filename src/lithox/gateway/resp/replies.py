"""From values and errors to RESP, version 3 or 2.

Version 3 has a type for each of ours: null, boolean, integer, double, blob (text and bytes), array,
map. Version 2 has fewer, and they are told as Redis tells them: booleans as 1 and 0, doubles as
text, maps as arrays of key and value in turn. Text and bytes look alike in both; who has to know
asks for MessagePack (`calls`).

Invariants: pure; what is encoded is a value (`model.values`), so it is finite and not too deep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from lithox.errors import LithoxError
from lithox.gateway.answers import note_internal
from lithox.model.values import to_json

OK: Final = b"+OK\r\n"
PONG: Final = b"+PONG\r\n"
ERROR_CHARACTERS_MAX: Final = 2_000
"""Of the line of an error; the whole message is in the fields (`REPLY FULL`)."""
_LINE: Final = str.maketrans({"\r": " ", "\n": " "})

_kind_of: Final = cast("Callable[[Any], type[object]]", type)
"""`type` itself; for the type checker an answer that is known."""
Put = Callable[[Any, list[bytes]], None]
"""Appends the parts of one value."""


def encode_reply(value: Any, *, is_resp3: bool) -> bytes:
    """Returns a value as RESP."""
    kind = _kind_of(value)
    if kind is int:
        return b":%d\r\n" % value
    if kind is str:
        data: bytes = value.encode()
        return b"$%d\r\n%b\r\n" % (len(data), data)
    if value is None:
        return b"_\r\n" if is_resp3 else b"$-1\r\n"
    parts: list[bytes] = []
    (_put3 if is_resp3 else _put2)(value, parts)
    return b"".join(parts)


def encode_push(values: list[Any]) -> bytes:
    """Returns what is sent without having been asked for; version 3 only."""
    parts = [b">%d\r\n" % len(values)]
    for one in values:
        _put3(one, parts)
    return b"".join(parts)


def encode_error(error: Exception) -> bytes:
    """Returns `-CODE MESSAGE`, in one line."""
    if isinstance(error, LithoxError):
        return encode_fault(error.code, error.message)
    code, fields = note_internal(error)
    return encode_fault(code, fields["message"])


def encode_fault(code: str, message: str) -> bytes:
    """Returns an error by its code, which is the first word of the line."""
    line = f"{code} {message}"[:ERROR_CHARACTERS_MAX].translate(_LINE)
    return b"-%b\r\n" % line.encode("utf-8", "replace")


def _put_int(value: int, parts: list[bytes]) -> None:
    parts.append(b":%d\r\n" % value)


def _put_text(value: str, parts: list[bytes]) -> None:
    data = value.encode()
    parts.append(b"$%d\r\n%b\r\n" % (len(data), data))


def _put_bytes(value: bytes, parts: list[bytes]) -> None:
    parts.append(b"$%d\r\n%b\r\n" % (len(value), value))


def _put_null3(_value: None, parts: list[bytes]) -> None:
    parts.append(b"_\r\n")


def _put_null2(_value: None, parts: list[bytes]) -> None:
    parts.append(b"$-1\r\n")


def _put_bool3(value: bool, parts: list[bytes]) -> None:  # noqa: FBT001 - one value of any type
    parts.append(b"#t\r\n" if value else b"#f\r\n")


def _put_bool2(value: bool, parts: list[bytes]) -> None:  # noqa: FBT001 - one value of any type
    parts.append(b":1\r\n" if value else b":0\r\n")


def _put_float3(value: float, parts: list[bytes]) -> None:
    parts.append(b",%r\r\n" % value)


def _put_float2(value: float, parts: list[bytes]) -> None:
    _put_text(repr(value), parts)


def _put_list3(value: list[Any], parts: list[bytes]) -> None:
    parts.append(b"*%d\r\n" % len(value))
    find = _PUT3.get
    for item in value:
        find(_kind_of(item), _put_odd3)(item, parts)


def _put_list2(value: list[Any], parts: list[bytes]) -> None:
    parts.append(b"*%d\r\n" % len(value))
    find = _PUT2.get
    for item in value:
        find(_kind_of(item), _put_odd2)(item, parts)


def _put_map3(value: dict[str, Any], parts: list[bytes]) -> None:
    parts.append(b"%%%d\r\n" % len(value))
    for key, item in value.items():
        _put_text(key, parts)
        _put3(item, parts)


def _put_map2(value: dict[str, Any], parts: list[bytes]) -> None:
    parts.append(b"*%d\r\n" % (2 * len(value)))
    for key, item in value.items():
        _put_text(key, parts)
        _put2(item, parts)


def _put_odd3(value: Any, parts: list[bytes]) -> None:
    _put3(_plain(value), parts)


def _put_odd2(value: Any, parts: list[bytes]) -> None:
    _put2(_plain(value), parts)


def _plain(value: Any) -> Any:
    """Returns what a field of an error may hold beyond values as one."""
    kind = _kind_of(value)
    told = to_json(value)
    return told if type(told) is not kind else str(value)


_PUT3: Final[dict[type[Any], Put]] = {
    int: _put_int,
    str: _put_text,
    bytes: _put_bytes,
    type(None): _put_null3,
    bool: _put_bool3,
    float: _put_float3,
    list: _put_list3,
    tuple: _put_list3,
    dict: _put_map3,
}
_PUT2: Final[dict[type[Any], Put]] = {
    **_PUT3,
    type(None): _put_null2,
    bool: _put_bool2,
    float: _put_float2,
    list: _put_list2,
    tuple: _put_list2,
    dict: _put_map2,
}


def _put3(value: Any, parts: list[bytes]) -> None:
    _PUT3.get(_kind_of(value), _put_odd3)(value, parts)


def _put2(value: Any, parts: list[bytes]) -> None:
    _PUT2.get(_kind_of(value), _put_odd2)(value, parts)

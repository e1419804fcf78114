"""Plain data: what crosses every border between guest, store and outside, and how it is written.

A value is None, bool, int (64-bit signed), float (finite), str (valid Unicode), bytes, a list of
values or a map with text keys. Inside the node and in the store it is MessagePack in canonical
form (shortest integers and lengths, float64, map keys sorted by UTF-8 bytes); outside it is JSON,
where bytes are `{"$bytes": base64}` and a map whose first key starts with `$` is `{"$map": {...}}`.
In state there may also be big values; outside they are `{"$big": {"size", "digest"}}`, which is
told and never taken.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from lithox.errors import BadArguments, TooLarge
from lithox.model.big_values import BigValue, decode_manifest, is_big

VALUE_DEPTH_MAX: Final = 64
"""Containers inside containers; the guests' encoders hold the same bound."""
INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
VALUE_BYTES_MAX: Final = 16 << 20
"""Encoded size of one value; the smaller limits of a run bite long before."""

Value = Any
"""None | bool | int | float | str | bytes | list[Value] | dict[str, Value]."""

_kind_of: Final = cast("Callable[[Any], type[object]]", type)
"""`type` itself; for the type checker an answer that is known."""
_encoder: Final = msgspec.msgpack.Encoder(order="deterministic")
_json_encoder: Final = msgspec.json.Encoder()


def _refuse_extension(code: int, _data: memoryview) -> Any:
    raise ValueError(f"extension type {code} is not a plain value")


_decoder: Final = msgspec.msgpack.Decoder(ext_hook=_refuse_extension)
_json_decoder: Final = msgspec.json.Decoder()


def check_value(value: Value, *, depth: int = 0) -> None:
    """Raises BadArguments if `value` is not plain data within its bounds.

    Tuples pass as lists. `depth` is how many containers are around `value`.
    """
    kind = _kind_of(value)
    if value is None or kind is bool or kind is bytes:
        return
    if kind is str:
        if not value.isascii():
            _check_text(value)
    elif kind is int:
        if not INT_MIN <= value <= INT_MAX:
            raise BadArguments(f"integers are 64-bit signed; found {value}")
    elif kind is float:
        if not math.isfinite(value):
            raise BadArguments(f"floats are finite; found {value}")
    elif kind is list or kind is tuple:
        _check_depth(depth)
        for item in value:
            check_value(item, depth=depth + 1)
    elif kind is dict:
        _check_depth(depth)
        for key, item in value.items():
            if type(key) is not str:
                raise BadArguments(f"map keys are text; found {type(key).__name__}")
            _check_text(key)
            check_value(item, depth=depth + 1)
    else:
        raise BadArguments(
            "values are None, bool, int, float, str, bytes, list and dict; "
            f"found {kind.__module__}.{kind.__qualname__}"
        )


def _check_depth(depth: int) -> None:
    if depth >= VALUE_DEPTH_MAX:
        raise BadArguments(f"values nest at most {VALUE_DEPTH_MAX} levels deep")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadArguments("text is valid Unicode; found a lone surrogate") from None


def encode_value(value: Value) -> bytes:
    """Returns the canonical MessagePack of `value`, after `check_value`.

    Raises:
        BadArguments: not plain data.
        TooLarge: more than VALUE_BYTES_MAX bytes.
    """
    check_value(value)
    data = _encoder.encode(value)
    if len(data) > VALUE_BYTES_MAX:
        raise _too_large(len(data))
    return data


def _too_large(size: int) -> TooLarge:
    return TooLarge(
        f"a value has at most {VALUE_BYTES_MAX} bytes encoded; found {size}",
        allowed=VALUE_BYTES_MAX,
        used=size,
    )


def decode_value(data: bytes) -> Value:
    """Returns the value that canonical (or any plain) MessagePack stands for.

    Raises:
        BadArguments: not MessagePack, an extension type, out of range, or nested too deep.
        TooLarge: more than VALUE_BYTES_MAX bytes.
    """
    if len(data) > VALUE_BYTES_MAX:
        raise _too_large(len(data))
    try:
        value = _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadArguments(f"not a plain value: {error}") from None
    check_value(value)
    return value


def decode_state(data: bytes) -> Value | BigValue:
    """Returns the value stored under a state key; of a big one, what is told of it.

    Raises:
        BadArguments, TooLarge: as `decode_value`.
        StoreCorrupt: a big value's record that cannot be read.
    """
    return decode_manifest(data).told if is_big(data) else decode_value(data)


def to_json(value: Value) -> Any:
    """Returns `value`, which has passed `check_value`, with bytes and `$` maps escaped.

    `b"x"` -> `{"$bytes": "eA=="}`; `{"$a": 1}` -> `{"$map": {"$a": 1}}`; a `BigValue` ->
    `{"$big": {"size": 1, "digest": "..."}}`; all else as it is.
    """
    kind = _kind_of(value)
    if kind is BigValue:
        return {"$big": {"size": value.size, "digest": value.digest}}
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if kind is list or kind is tuple:
        return [to_json(item) for item in value]
    if kind is dict:
        plain = {key: to_json(item) for key, item in value.items()}
        if plain and next(iter(plain)).startswith("$"):
            return {"$map": plain}
        return plain
    return value


def from_json(data: Any, *, depth: int = 0) -> Value:
    """Returns the value that decoded JSON stands for, checked.

    A `$big` in it becomes a `BigValue`, which no value to be written may hold.

    Raises:
        BadArguments: an unknown `$` escape, bad base64, out of range, or nested too deep.
    """
    kind = _kind_of(data)
    if kind is list:
        _check_depth(depth)
        return [from_json(item, depth=depth + 1) for item in data]
    if kind is dict:
        first = next(iter(data), "")
        if first.startswith("$"):
            return _from_escape(first, data, depth)
        return _from_map(data, depth)
    check_value(data)
    return data


def _from_map(data: dict[str, Any], depth: int) -> dict[str, Value]:
    _check_depth(depth)
    for key in data:
        _check_text(key)
    return {key: from_json(item, depth=depth + 1) for key, item in data.items()}


def _from_escape(first: str, data: dict[str, Any], depth: int) -> Value:
    body: Any = data[first]
    if first == "$bytes" and len(data) == 1 and type(body) is str:
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise BadArguments('"$bytes" holds base64; found something else') from None
    if first == "$big" and len(data) == 1 and isinstance(body, dict):
        return _read_big(cast("dict[str, Any]", body))
    if first == "$map" and len(data) == 1 and isinstance(body, dict):
        return _from_map(cast("dict[str, Any]", body), depth)
    raise BadArguments(
        f'a map whose first key starts with "$" is {{"$bytes": base64}} or {{"$map": {{...}}}}; '
        f"found {first[:80]!r}"
    )


def _read_big(body: dict[str, Any]) -> BigValue:
    size, digest = body.get("size"), body.get("digest")
    if len(body) != 2 or type(size) is not int or type(digest) is not str:
        raise BadArguments('"$big" holds size and digest; found something else')
    return BigValue(size=size, digest=digest)


def encode_json(value: Value) -> bytes:
    """Returns compact UTF-8 JSON of `value`, which has passed `check_value`; integers are exact."""
    return _json_encoder.encode(to_json(value))


def decode_json(text: bytes | str) -> Value:
    """Returns the value that JSON text stands for.

    Raises:
        BadArguments: malformed, out of range, or nested too deep.
    """
    return from_json(parse_json(text))


def parse_json(text: bytes | str) -> Any:
    """Returns JSON text parsed but neither checked nor unescaped; raises BadArguments."""
    try:
        return _json_decoder.decode(text)
    except RecursionError:
        raise BadArguments(f"values nest at most {VALUE_DEPTH_MAX} levels deep") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        said = str(error).removeprefix("JSON is malformed: ")
        raise BadArguments(f"malformed JSON: {said}") from None

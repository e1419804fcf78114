r"""How does data cross between the node and Python code in a worker?

As text: `j` and JSON where JSON says it exactly, `t` and JSON with tags where it does not. Both
ends have JSON in machine code, so a large value costs milliseconds and not the node's thread.

    b"ab"              -> {"\0b": "YWI="}
    {"\0x": 1, "y": 2} -> {"\0d": [["\0x", 1], ["y", 2]]}     a key that looks like a tag

Invariant: what comes from a worker is checked here or refused; nothing is guessed.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any, Final, cast

import msgspec

from lithox.errors import BadArguments
from lithox.model.values import INT_MAX, INT_MIN, VALUE_DEPTH_MAX, check_value

TAG_BYTES: Final = "\0b"
TAG_MAP: Final = "\0d"
ITEMS_MAX: Final = 1 << 19
"""Items of one text that are decoded at all: in one piece, 50 ms of the node's interpreter."""
LIST_ITEMS: Final = 8
"""What a list or a map counts as: making an empty one takes as long as making eight numbers."""
_BINARY_HEADS: Final = (b"\xc4", b"\xc5", b"\xc6")
"""What MessagePack begins bytes with; a byte of a text may be the same, which only costs time."""

_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_json: Final = msgspec.json.Decoder().decode
_encode_json: Final = msgspec.json.Encoder().encode


def _tag(value: Any) -> Any:
    if isinstance(value, bytes):
        return {TAG_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, list):
        return [_tag(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        plain = {key: _tag(item) for key, item in cast("dict[str, Any]", value).items()}
        if any(key.startswith("\0") for key in plain):
            return {TAG_MAP: [[key, item] for key, item in plain.items()]}
        return plain
    return value


def _untag(value: Any, depth: int) -> Any:
    if isinstance(value, list):
        _check_depth(depth)
        return [_untag(item, depth + 1) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    _check_depth(depth)
    table = cast("dict[str, Any]", value)
    if len(table) == 1:
        key, inner = next(iter(table.items()))
        if key == TAG_BYTES:
            try:
                return base64.b64decode(inner, validate=True)
            except (binascii.Error, ValueError, TypeError):
                raise BadArguments("bytes that are no base64") from None
        if key == TAG_MAP:
            try:
                return {name: _untag(item, depth + 1) for name, item in inner}
            except (TypeError, ValueError):
                raise BadArguments("a map that is no list of pairs") from None
    return {key: _untag(item, depth + 1) for key, item in table.items()}


def _check_depth(depth: int) -> None:
    # The tag of a map is one more list; twice the bound is enough for all that is allowed.
    if depth > 2 * VALUE_DEPTH_MAX:
        raise BadArguments(f"values nest at most {VALUE_DEPTH_MAX} levels deep")


def has_binary(raws: Iterable[bytes | msgspec.Raw]) -> bool:
    """Returns whether any encoded value may hold bytes."""
    return any(head in raw for raw in map(bytes, raws) for head in _BINARY_HEADS)


def items_of(text: str) -> int:
    """Returns at least how many items a text decodes to, without looking at what they are.

    What stands inside strings counts, too, so that this takes a nanosecond a letter, unless it is
    too much: then strings are left out, of at most `ITEMS_MAX` of them.

    Raises:
        BadArguments: more than `ITEMS_MAX`.
    """
    count = _count(text)
    if count <= ITEMS_MAX:
        return count
    count = at = 0
    for found in _STRING.finditer(text):
        count += 1 + _count(text[at : found.start()])
        at = found.end()
        if count > ITEMS_MAX:
            break
    else:
        count += _count(text[at:])
    if count > ITEMS_MAX:
        raise BadArguments(
            f"more than {ITEMS_MAX} items at once, of which a list or a map counts as {LIST_ITEMS}"
        )
    return count


def _count(text: str) -> int:
    return text.count(",") + LIST_ITEMS * (text.count("[") + text.count("{"))


def text_of(value: Any, *, is_tagged: bool) -> str:
    """Returns the text that stands for decoded plain data."""
    if is_tagged:
        return "t" + _encode_json(_tag(value)).decode()
    return "j" + _encode_json(value).decode()


def value_of(text: str | None) -> Any:
    """Returns the decoded value of a text from a worker.

    Raises:
        BadArguments: it stands for no plain data.
    """
    if text is None or text[:1] not in ("j", "t"):
        raise BadArguments("a value that is no text of a value")
    try:
        value = _decode_json(text[1:])
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise BadArguments(f"not a value: {error}") from None
    return untagged(text[0], value)


def untagged(tag: Any, value: Any) -> Any:
    """Returns the value that decoded JSON stands for under `tag`, `j` or `t`.

    Raises:
        BadArguments: tags that stand for nothing.
    """
    return _untag(value, 0) if tag == "t" else value


def raw_of_value(value: Any) -> bytes:
    """Returns canonical MessagePack of what `value_of` gave.

    Raises:
        BadArguments: an integer beyond 64 bits, or too many levels.
    """
    try:
        raw = _encode(value)
    except (OverflowError, RecursionError, msgspec.EncodeError, TypeError):
        check_value(value)
        raise BadArguments(f"integers are from {INT_MIN} to {INT_MAX}") from None
    if b"\xcf" in raw:
        # The head of integers of 64 bits without a sign, or a byte like it.
        check_value(value)
    return raw

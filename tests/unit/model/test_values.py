"""Values at their edges: what crosses a border, what is refused, and in which words."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import msgspec
import pytest

from lithox.errors import BadArguments, TooLarge
from lithox.model import values

SURROGATE = "\ud800"
NOT_PLAIN = "values are None, bool, int, float, str, bytes, list and dict; found "


def nested(depth: int, inner: Any = None, *, maps: bool = False) -> Any:
    """Returns `inner` inside `depth` lists, or maps."""
    value = inner
    for _ in range(depth):
        value = {"k": value} if maps else [value]
    return value


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("inner", [None, b"x", "$x"])
def test_sixty_four_containers_are_carried(inner: Any, maps: bool) -> None:
    """A value inside 64 containers crosses every border, whatever it is."""
    value = nested(values.VALUE_DEPTH_MAX, inner, maps=maps)
    assert values.decode_value(values.encode_value(value)) == value
    assert values.decode_json(values.encode_json(value)) == value


@pytest.mark.parametrize("depth", [65, 200, 100_000])
def test_deeper_ones_are_refused(depth: int) -> None:
    """65, 200 and 100,000 containers are refused in both forms, without exhausting the stack."""
    packed = b"\x91" * depth + b"\xc0"
    text = b"[" * depth + b"]" * depth
    with pytest.raises(BadArguments):
        values.decode_value(packed)
    with pytest.raises(BadArguments) as refused:
        values.decode_json(text)
    assert refused.value.message == "values nest at most 64 levels deep"


@pytest.mark.parametrize("depth", [65, 200])
def test_deeper_ones_are_refused_on_the_way_out(depth: int) -> None:
    """A value of our own that nests too deep is refused by the encoder, maps as lists."""
    for maps in (False, True):
        with pytest.raises(BadArguments, match="values nest at most 64 levels deep"):
            values.encode_value(nested(depth, maps=maps))


def test_escapes_count_as_one_level() -> None:
    """`$map` and `$bytes` are spelling, not containers."""
    value = nested(values.VALUE_DEPTH_MAX - 1, {"$a": b"x"})
    assert values.decode_json(values.encode_json(value)) == value
    with pytest.raises(BadArguments, match="64 levels"):
        values.from_json(nested(values.VALUE_DEPTH_MAX, {"$map": {}}))


def test_a_value_inside_itself_is_refused() -> None:
    """A cycle is too deep, and does not hang."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(BadArguments, match="64 levels"):
        values.check_value(cycle)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "floats are finite; found nan"),
        (math.inf, "floats are finite; found inf"),
        (-math.inf, "floats are finite; found -inf"),
        (1 << 63, "integers are 64-bit signed; found 9223372036854775808"),
        (-(1 << 63) - 1, "integers are 64-bit signed; found -9223372036854775809"),
        (SURROGATE, "text is valid Unicode; found a lone surrogate"),
        ({SURROGATE: 1}, "text is valid Unicode; found a lone surrogate"),
        ({1: 1}, "map keys are text; found int"),
        ({None: 1}, "map keys are text; found NoneType"),
        ({b"k": 1}, "map keys are text; found bytes"),
        (
            {1, 2},
            NOT_PLAIN + "builtins.set",
        ),
        (
            dt.date(2026, 11, 22),
            NOT_PLAIN + "datetime.date",
        ),
        (
            bytearray(b"x"),
            NOT_PLAIN + "builtins.bytearray",
        ),
    ],
)
def test_what_is_not_plain_is_refused(value: Any, message: str) -> None:
    """Each thing outside the table of values is refused by name, alone and inside others."""
    for inside in (value, [value], {"k": [value]}):
        with pytest.raises(BadArguments) as refused:
            values.encode_value(inside)
        assert refused.value.message == message


@pytest.mark.parametrize(
    "value", [values.INT_MIN, values.INT_MAX, 2**53 + 1, -0.0, 5e-324, 1.7976931348623157e308]
)
def test_numbers_at_the_edge_are_exact(value: float) -> None:
    """The greatest and smallest numbers cross both borders with type and sign."""
    for back in (
        values.decode_value(values.encode_value(value)),
        values.decode_json(values.encode_json(value)),
    ):
        assert (type(back), repr(back)) == (type(value), repr(value))


def test_ints_and_floats_stay_apart() -> None:
    """1 and 1.0 are two values in both forms."""
    assert values.encode_value(1) != values.encode_value(1.0)
    assert values.encode_json([1, 1.0]) == b"[1,1.0]"
    assert [type(item) for item in values.decode_json("[1, 1.0, 1e0]")] == [int, float, float]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"nul",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"123456789012345678901234567890",
        b"1" * 5_000,
        b"[1,]",
        b"{'a':1}",
        b'{"a":1,}',
        b"01",
        b"[1] 2",
        b'"\xff"',
        b'"\\ud800"',
        b'"\\ud800x"',
        b'"\\udc00"',
        b'{"\\ud800":1}',
        b'"a\nb"',
        b"\xef\xbb\xbf1",
        '"' + SURROGATE + '"',
    ],
)
def test_bad_json_is_refused(text: bytes | str) -> None:
    """Malformed text, odd numbers, bad UTF-8 and lone surrogates are the caller's error."""
    with pytest.raises(BadArguments):
        values.decode_json(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x02",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x81\x01\x01",
        b"\x81\x80\x01",
        b"\x81\x91\x01\x01",
        b"\x81\xc0\x01",
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
        b"\xcf" + b"\xff" * 8,
        b"\xca\x7f\xc0\x00\x00",
        b"\xcb\x7f\xf0" + bytes(6),
        b"\xd6\xff" + bytes(4),
        b"\xd4\x05\x00",
    ],
)
def test_bad_messagepack_is_refused(data: bytes) -> None:
    """Torn, foreign or lying MessagePack is refused, without allocating what it claims."""
    with pytest.raises(BadArguments):
        values.decode_value(data)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"hi", b'{"$bytes":"aGk="}'),
        (b"", b'{"$bytes":""}'),
        ({"$a": 1}, b'{"$map":{"$a":1}}'),
        ({"$bytes": "aGk="}, b'{"$map":{"$bytes":"aGk="}}'),
        ({"$map": {"$map": 1}}, b'{"$map":{"$map":{"$map":{"$map":1}}}}'),
        ({"a": 1, "$b": 2}, b'{"a":1,"$b":2}'),
        ({"$": None}, b'{"$map":{"$":null}}'),
        ({}, b"{}"),
        ({"": 1}, b'{"":1}'),
        ((1, b"x"), b'[1,{"$bytes":"eA=="}]'),
    ],
)
def test_escapes_are_spelled_as_documented(value: Any, text: bytes) -> None:
    """Bytes and maps that look like escapes are written so, and come back."""
    assert values.encode_json(value) == text
    back = values.decode_json(text)
    assert back == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize(
    "text",
    [
        '{"$byte": "aGk="}',
        '{"$bytes": "aGk"}',
        '{"$bytes": "a Gk="}',
        '{"$bytes": "\u00e9"}',
        '{"$bytes": 5}',
        '{"$bytes": ["aGk="]}',
        '{"$bytes": "aGk=", "more": 1}',
        '{"$map": []}',
        '{"$map": {}, "more": 1}',
        '{"$": 1}',
    ],
)
def test_wrong_escapes_are_refused(text: str) -> None:
    """What begins like an escape and is none is refused, never stored as a map."""
    with pytest.raises(BadArguments, match=r"\$bytes"):
        values.decode_json(text)


def test_maps_have_one_form() -> None:
    """Equal maps are equal bytes: keys in the order of their UTF-8 bytes, at every depth."""
    keys = ["b", "aa", "a", "\u00e9", "\U0001f600", "\uffff", "", "$", "A"]
    forwards = {key: {"y": 1, "x": 2} for key in keys}
    backwards = {key: {"x": 2, "y": 1} for key in reversed(keys)}
    assert values.encode_value(forwards) == values.encode_value(backwards)
    decoded = values.decode_value(values.encode_value(forwards))
    assert list(decoded) == sorted(keys, key=str.encode)
    assert list(decoded["b"]) == ["x", "y"]


@pytest.mark.patches_source
def test_a_value_has_a_greatest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte more than the bound is refused on the way in and out; the bound itself passes."""
    monkeypatch.setattr(values, "VALUE_BYTES_MAX", 10)
    assert values.decode_value(values.encode_value(b"x" * 8)) == b"x" * 8
    with pytest.raises(TooLarge) as refused:
        values.encode_value(b"x" * 9)
    assert refused.value.message == "a value has at most 10 bytes encoded; found 11"
    assert refused.value.fields == {"allowed": 10, "used": 11}
    with pytest.raises(TooLarge):
        values.decode_value(msgspec.msgpack.encode(b"x" * 9))

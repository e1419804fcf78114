"""Data goes in and out of every language unchanged; what is no data is refused at the border."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lithox.model.values import INT_MAX, INT_MIN, VALUE_DEPTH_MAX, encode_value
from tests.conformance.languages.world import World, is_refusal

SAME = {
    "null": None,
    "false": False,
    "true": True,
    "zero": 0,
    "one": 1,
    "minus one": -1,
    "byte": 255,
    "minus 129": -129,
    "16 bits": 65_536,
    "32 bits": 1 << 32,
    "2^53": 1 << 53,
    "2^53 + 1": (1 << 53) + 1,
    "-2^53 - 1": -(1 << 53) - 1,
    "largest": INT_MAX,
    "smallest": INT_MIN,
    "half": 0.5,
    "a third": 1 / 3,
    "tiny": 5e-324,
    "no text": "",
    "ASCII": "a\tb\n",
    "accents": "déjà vu",
    "astral": "a\U0001f600b\U0010ffff",
    "NUL": "a\x00b\x00",
    "private": "\ue000\ufffd",
    "31 letters": "x" * 31,
    "32 letters": "x" * 32,
    "256 letters": "x" * 256,
    "70,000 letters": "ä" * 35_000,
    "bytes": b"\xff\x00\xfe",
    "many bytes": b"\xff" * 70_000,
    "no items": [],
    "no keys": {},
    "list": [1, "two", None, [3.5], {"four": True}],
    "16 items": list(range(16)),
    "70,000 items": list(range(70_000)),
    "map": {"a": 1, "b": [2], "c": {"d": None, "e": {}, "f": []}},
    "keys": {"": 1, "a b": 2, "ä\U0001f600": 3, "__proto__": 4, "constructor": 5, "1": 6, "$x": 7},
    "hidden words": {"length": 1, "toString": "x", "__index": 2, "then": 3, "__class__": 4},
    "20 keys": {f"k{n:02}": n for n in range(20)},
}


def same(found: Any, sent: Any) -> bool:
    """Returns whether both are one value: same kinds, same bits."""
    return type(found) is type(sent) and encode_value(found) == encode_value(sent)


@pytest.mark.parametrize("value", SAME.values(), ids=SAME)
def test_value_comes_back_as_it_is(world: World, value: Any) -> None:
    """What a handler is given and returns is the same outside."""
    assert same(world.call(world.fresh(), "echo", value), value)


@pytest.mark.parametrize("value", SAME.values(), ids=SAME)
def test_value_is_stored_as_it_is(world: World, value: Any) -> None:
    """What a handler stores is what the operator and a later run find."""
    entity = world.fresh()
    assert world.call(entity, "put", "key", value) is None
    stored = world.state(entity)
    if value is None:
        assert stored == {}
    else:
        assert same(stored["key"], value)
    assert same(world.call(entity, "get", "key"), value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("null", None),
        ("bool", False),
        ("int", 7),
        ("int", (1 << 53) + 1),
        ("float", 0.5),
        ("text", "é"),
        ("text", ""),
        ("bytes", b"\xff\xfe"),
        ("list", [1]),
        ("list", []),
        ("map", {"a": 1}),
        ("map", {}),
    ],
)
def test_value_arrives_as_its_kind(world: World, kind: str, value: Any) -> None:
    """A handler can tell the kinds apart by its language's own means."""
    assert world.call(world.fresh(), "describe", value) == kind


def test_whole_floats_keep_what_the_language_can_keep(world: World) -> None:
    """`1.0` and `-0.0` stay floats where the language has integers beside them."""
    entity = world.fresh()
    assert world.call(entity, "describe", 1.0) == world.language.expected("kind_of_whole_float")
    found = world.call(entity, "echo", 1.0)
    assert found == 1
    assert type(found) is world.language.expected("whole_float_returned")
    large = world.call(entity, "echo", 2.0**60)
    assert large == 2.0**60
    assert str(world.call(entity, "echo", -0.0)) == world.language.expected("minus_zero_returned")


def test_float_in_state_is_untouched_by_who_reads_it(world: World) -> None:
    """A key that is only looked at keeps its float, whatever the language makes of it."""
    entity = world.fresh()
    world.put(entity, "price", {"now": 1.0, "then": [2.0, -0.0]})
    before = world.versions(entity)
    assert world.call(entity, "look", "price") == 3
    assert same(world.state(entity)["price"], {"now": 1.0, "then": [2.0, -0.0]})
    assert world.versions(entity) == before


def test_bytes_that_are_text(world: World) -> None:
    """Bytes that happen to be valid UTF-8 stay bytes where the language tells them from text."""
    entity = world.fresh()
    expected = world.language.expected("kind_of_bytes_that_are_text")
    assert world.call(entity, "describe", b"abc") == expected
    found = world.call(entity, "echo", b"abc")
    assert type(found) is world.language.expected("text_bytes_returned")
    assert found in {b"abc", "abc"}


@pytest.mark.parametrize("kind", ["list", "map"])
def test_empty_list_is_no_empty_map(world: World, kind: str) -> None:
    """A handler can make either, and each arrives as what it is."""
    assert world.call(world.fresh(), "empty", kind) == {"list": [], "map": {}}[kind]


def nested(depth: int) -> list[Any]:
    """Returns so many lists, one in the other."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.needs("nesting")
def test_nesting_at_its_bound(world: World) -> None:
    """So many containers as may nest do; one more is refused, and the caller told."""
    entity = world.fresh()
    deepest = nested(VALUE_DEPTH_MAX)
    inner = nested(VALUE_DEPTH_MAX - 1)  # Arguments are in a list themselves.
    assert world.call(entity, "nest", VALUE_DEPTH_MAX) == deepest
    assert world.call(entity, "echo", inner) == inner
    world.call(entity, "put", "deep", inner)
    assert world.call(entity, "get", "deep") == inner
    world.put(entity, "deep", deepest)
    assert world.call(entity, "get", "deep") == deepest
    refusal = world.fail(entity, "nest", VALUE_DEPTH_MAX + 1)
    assert is_refusal(refusal.code), refusal
    assert "64" in refusal.message
    assert world.fail(entity, "echo", deepest).code == "request.bad_arguments"
    assert world.state(entity) == {"deep": deepest}


@pytest.mark.parametrize(
    "kind",
    [
        *("nan", "infinity", "minus_infinity", "beyond_int", "lone_surrogate"),
        *("cycle", "function", "number_key"),
    ],
)
def test_what_is_no_data_is_refused(world: World, kind: str) -> None:
    """Neither returned nor stored: the run fails with a code and says what was wrong."""
    entity = world.fresh()
    if world.language.expected(f"make_{kind}") == "cannot":
        assert world.call(entity, "make", kind) == "cannot"
        return
    for arguments in ([kind], [kind, "key"]):
        refusal = world.fail(entity, "make", *arguments)
        assert is_refusal(refusal.code), refusal
        assert refusal.message
    assert world.state(entity) == {}


def test_big_texts_go_both_ways(world: World) -> None:
    """A megabyte of text is given, returned and stored whole."""
    entity = world.fresh()
    text = "x" * (1 << 20)
    assert world.call(entity, "text", 1 << 20) == text
    assert world.call(entity, "echo", text) == text
    world.call(entity, "put", "big", text)
    assert world.state(entity)["big"] == text


def test_arguments_missing_and_too_many(world: World) -> None:
    """Too few or too many arguments are dealt with in the language's own way."""
    entity = world.fresh()
    assert world.call(entity, "pair", 1, 2) == [1, 2]
    for claim, arguments in (("argument_missing", [1]), ("argument_surplus", [1, 2, 3])):
        expected = world.language.expected(claim)
        if isinstance(expected, str):
            assert world.fail(entity, "pair", *arguments).code == expected
        else:
            assert world.call(entity, "pair", *arguments) == expected


def test_nothing_is_lost_between_many_values(world: World) -> None:
    """Random floats and integers of every length come back bit by bit."""
    numbers: list[Any] = [
        sign * (1 << bit) + delta for bit in range(63) for sign in (1, -1) for delta in (-1, 0, 1)
    ]
    numbers += [math.ldexp(1 / 3, exponent) for exponent in range(-1070, 1020, 37)]
    assert same(world.call(world.fresh(), "echo", numbers), numbers)

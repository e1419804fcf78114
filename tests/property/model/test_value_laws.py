"""Laws of values: what goes out comes back, equal values are equal bytes, chaos is refused."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lithox.errors import BadArguments, LithoxError, rebuild
from lithox.model import values

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.one_of(TEXT, TEXT.map(lambda text: "$" + text), st.sampled_from(["$bytes", "$map", "$"]))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(values.INT_MIN, values.INT_MAX),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXT,
    st.binary(max_size=20),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=20,
)
RAW_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(KEYS, st.text(max_size=5)), inner, max_size=4),
    ),
    max_leaves=10,
)


def exact(value: Any) -> Any:
    """Returns a form of `value` that tells 1 from 1.0 and from True, and 0.0 from -0.0."""
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    return (type(value), repr(value))


@given(VALUES)
def test_messagepack_gives_back_what_it_was_given(value: Any) -> None:
    """decode(encode(value)) is value, types and signs included."""
    assert exact(values.decode_value(values.encode_value(value))) == exact(value)


@given(VALUES)
def test_json_gives_back_what_it_was_given(value: Any) -> None:
    """The same holds through JSON text, whatever the keys begin with."""
    assert exact(values.decode_json(values.encode_json(value))) == exact(value)


@given(VALUES)
def test_both_ways_meet(value: Any) -> None:
    """A value that went through JSON is stored as the same bytes as one that did not."""
    through_json = values.decode_json(values.encode_json(value))
    assert values.encode_value(through_json) == values.encode_value(value)


@given(st.dictionaries(KEYS, LEAVES, max_size=8), st.randoms(use_true_random=False))
def test_order_of_keys_does_not_matter(value: dict[str, Any], chance: Any) -> None:
    """A map is stored as the same bytes whatever order its keys came in."""
    items = list(value.items())
    chance.shuffle(items)
    assert values.encode_value(dict(items)) == values.encode_value(value)


@given(VALUES)
def test_the_canonical_form_is_a_fixed_point(value: Any) -> None:
    """Encoding what was decoded gives the same bytes again."""
    data = values.encode_value(value)
    assert values.encode_value(values.decode_value(data)) == data


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_the_callers_error(data: bytes) -> None:
    """Decoding chaos gives a good value or BadArguments, nothing else."""
    try:
        value = values.decode_value(data)
    except BadArguments:
        return
    values.check_value(value)


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
def test_any_text_is_json_or_the_callers_error(text: bytes | str) -> None:
    """Parsing chaos gives a good value or BadArguments, nothing else."""
    try:
        value = values.decode_json(text)
    except BadArguments:
        return
    values.check_value(value)


@given(RAW_JSON)
def test_any_json_is_a_value_or_the_callers_error(data: Any) -> None:
    """Well-formed JSON with odd numbers, surrogates and escapes is admitted whole or refused."""
    try:
        value = values.from_json(data)
    except BadArguments:
        return
    values.check_value(value)
    assert values.from_json(values.to_json(value)) == value


@given(st.sampled_from(["app.x", "request.not_found", "guest.out_of_fuel"]), RAW_JSON)
def test_errors_are_rebuilt_from_any_fields(code: str, data: Any) -> None:
    """Whatever fields a peer sends, the error has the code it was sent with."""
    fields = data if isinstance(data, dict) else {"message": data}
    error = rebuild(code, fields)
    assert isinstance(error, LithoxError)
    assert error.code == code
    again = rebuild(error.code, error.to_fields())
    assert msgspec.json.encode(again.to_fields()) == msgspec.json.encode(error.to_fields())

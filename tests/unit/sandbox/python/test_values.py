"""Values cross to a Python worker and back unchanged, and what is no value is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithox.errors import BadArguments
from lithox.model.values import INT_MAX, INT_MIN, encode_value
from lithox.sandbox.python.values import has_binary, raw_of_value, text_of, value_of

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30
)


@settings(deadline=None)
@given(VALUES)
def test_value_goes_there_and_back(value: object) -> None:
    """Every plain value is the same after both ways, its kinds included."""
    raw = encode_value(value)
    decoded = msgspec.msgpack.decode(raw)
    text = text_of(decoded, is_tagged=has_binary((raw,)))
    assert raw_of_value(value_of(text)) == raw


def test_keys_that_look_like_tags_are_kept() -> None:
    """A map whose keys begin with a zero byte is itself, not what its keys spell."""
    for value in ({"\0b": "YQ=="}, {"\0d": [["a", 1]]}, {"\0": {"\0b": b"x"}}):
        assert value_of(text_of(value, is_tagged=True)) == value


REFUSED = (
    *(None, "", "x1", "j", "j{", "jNaN", "j1e999", 'j"\\ud800"'),
    *('t{"\\u0000b": 1}', 't{"\\u0000b": "*"}', 't{"\\u0000d": 1}', 't{"\\u0000d": [[1]]}'),
    "j" + "[" * 5000 + "]" * 5000,
    "t" + "[" * 500 + "]" * 500,
    "j18446744073709551616",
    "j9223372036854775808",
    "j-9223372036854775809",
    "j" + "9" * 5000,
)


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_value_is_refused(text: str | None) -> None:
    """Whatever a worker sends instead of a value is told as such."""
    with pytest.raises(BadArguments):
        raw_of_value(value_of(text))

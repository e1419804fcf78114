"""What JavaScript values become outside, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lithox.model.values import encode_value
from tests.conformance.javascript.driver import LIMITS, Javascript

ECHO = "export function go(self, value) { return value }"


def returning(expression: str) -> str:
    """A module whose handler returns an expression's value."""
    return f"export function go(self) {{ return {expression} }}"


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -1, 2**53 - 1, 2**53, -(2**53), 2**63 - 1, -(2**63), 0.1, -0.0, 1e300,
        2.0**60, "", "zoë €", "\U0001f600\u2028\0", b"", b"\xff\x00text", [], {}, [[], {}],
        {"": 1, "__proto__": 2, "10": 3, "9": 4, "ÿ": 5, "Ā": 6, "\U0001f600": 7, "\uffff": 8},
        {"toJSON": 1, "then": 2, "constructor": 3, "length": 4},
        [None, False, "a", 1.5, {"b": [b"c"]}],
    ],
)  # fmt: skip
def test_values_come_back_as_they_went_in(js: Javascript, value: Any) -> None:
    """Every kind of value crosses the border twice and stays what it was."""
    found = js.value(ECHO, value)
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, float):
        assert math.copysign(1, found) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1.0", 1), ("2 ** 53", 2.0**53), ("5n", 5), ("2n ** 63n - 1n", 2**63 - 1),
        ("-(2n ** 63n)", -(2**63)), ("-0", -0.0), ("undefined", None), ("null", None),
        ("({ a: undefined, b: null })", {"b": None}), ("Object.create(null)", {}),
        ("Object.freeze([1, Object.freeze({ a: 1 })])", [1, {"a": 1}]),
        ("'a' + 'b'.repeat(20000)", "a" + "b" * 20000),
        ("new Uint8Array([1, 2, 3]).subarray(1)", b"\x02\x03"),
        ("new Uint8Array(new ArrayBuffer(2, { maxByteLength: 9 }))", b"\0\0"),
        ("Object.defineProperty({ a: 1 }, 'hidden', { value: 2 })", {"a": 1}),
        ("({ a: 1, [Symbol('s')]: 2 })", {"a": 1}),
        ("{ const a = [1, 2, 3]; a.extra = 1; return a }", [1, 2, 3]),
        ("Array.from({ length: 3 }, (_, i) => i)", [0, 1, 2]),
    ],
)  # fmt: skip
def test_what_values_become(js: Javascript, expression: str, value: Any) -> None:
    """The table of docs/reference/javascript.md, row by row."""
    text = returning(expression)
    if expression.startswith("{ const"):
        text = f"export function go(self) {expression}"
    found = js.value(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("NaN", "the returned value: NaN is not a value"),
        ("({ a: [1, Infinity] })", "the returned value.a[1]: Infinity is not a value"),
        ("2n ** 63n", "the returned value: integers have 64 bits; this BigInt has more"),
        ("'\\ud800'", "the returned value: text with a lone surrogate is not a value"),
        ("({ ['\\udfff']: 1 })", "the returned value.?: text with a lone surrogate is not a value"),
        ("({ cart: { items: [1, () => 1] } })", "the returned value.cart.items[1]: a function is"),
        ("[1, , 3]", "the returned value[1]: a list has no holes"),
        ("[undefined]", "the returned value[0]: a list has no undefined elements"),
        ("new Array(5)", "the returned value[0]: a list has no holes"),
        ("({ when: new Date(0) })", "the returned value.when: a Date is not a value; use getTi"),
        ("new Map()", "the returned value: a Map is not a value; use Object.fromEntries(map)"),
        ("new Set()", "the returned value: a Set is not a value; use [...set]"),
        ("({ p: Promise.resolve(1) })", "the returned value.p: a Promise is not a value; await it"),
        ("/a/", "the returned value: a value of class RegExp is not plain data"),
        ("new Float64Array(1)", "the returned value: a value of class Float64Array is not plain"),
        ("new ArrayBuffer(1)", "the returned value: a value of class ArrayBuffer is not plain"),
        ("new Proxy({}, {})", "the returned value: a Proxy is not a value"),
        ("Symbol.iterator", "the returned value: a symbol is not a value"),
        ("new (class Point { x = 1 })()", "the returned value: an instance of a class is not a"),
        ("new Error('x')", "the returned value: an Error is not a value"),
        ("({ get x() { return 1 } })", "the returned value.x: a property with a getter or setter"),
        ("self", "the returned value: a value of class Self is not plain data"),
        ("[self.state]", "the returned value[0]: a value of class State is not plain data"),
        ("(() => { const a = {}; a.b = [a]; return a })()", "the returned value.b[0]: an object"),
        ("(() => { let a = []; for (let i = 0; i < 64; i++) a = [a]; return a })()", "at most 64"),
        ("'x'.repeat(17 << 20)", "the returned value: a value has at most 16 MiB"),
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused_with_its_path(
    js: Javascript, expression: str, problem: str
) -> None:
    """The error names where in the value it stands, and what to do instead."""
    text = f"export function go(self) {{ return {expression} }}"
    error = js.error(text, limits=replace(LIMITS, memory_bytes=128 << 20))
    assert problem in error.message
    assert error.message.startswith("TypeError: ")


def test_arguments_and_state_are_refused_with_their_names(js: Javascript) -> None:
    """The path begins with the argument's number or the state's key."""
    call = "export function go(self) { self.call('a', 'b', 1, { f() {} }) }"
    assert js.error(call).message == "TypeError: argument[1].f: a function is not a value"
    state = "export function go(self) { self.state.cart = { items: [0, new Map()] } }"
    assert js.error(state).message.startswith("TypeError: self.state.cart.items[1]: a Map is not")


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda f: not f.is_integer())
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)


# U+1D800 has the low bits of half a character.
@example(value="\U0001d800\U0001dc00")
@settings(deadline=None, max_examples=200)
@given(value=PLAIN)
def test_any_value_is_echoed_and_its_bytes_areencode_value(js: Javascript, value: Any) -> None:
    """What the host may send comes back, keys in the order of their bytes: nothing has changed."""
    text = "export function go(self, v) { self.state.new = v; return [v, self.state.old] }"
    run = js.run(text, "go", value, state={"old": msgspec.Raw(encode_value(value))})
    assert run.value == [value, value]
    assert set(run.writes) <= {"new"}
    if value is not None:
        assert run.raw["new"] == encode_value(value)

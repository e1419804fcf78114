"""Generated arguments: numbers as text, string.format, bits and packing beside the oracle."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.compat import oracle
from tests.conformance.compat.guest import Guests

FEW = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
BATCH_MAX = 60

doubles = st.floats(allow_nan=False, allow_infinity=False)
# LuaJIT 2.1 itself prints 3.325721281672356e-201 as 569535512047535745.272 with "%.3f".
ordinary = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda x: x == 0 or 1e-100 < abs(x) < 1e100
)
words = st.integers(-(2**31), 2**32 - 1)
shifts = st.integers(-40, 40)


def literal(number: float) -> str:
    """Returns a Lua expression for exactly this number, in every version.

    The constants of a chunk of Lua 5.1 hold only one zero, so the negative one is computed.
    """
    if isinstance(number, int):
        return f"({number})"
    if number == 0:
        return "(-1 / math.huge)" if math.copysign(1, number) < 0 else "0.0"
    mantissa, exponent = math.frexp(number)
    whole = int(mantissa * 2**53)
    if exponent > -900:
        return f"({whole} * 2.0^{exponent - 53})"
    return f"({whole} * 2.0^-1000 / 2.0^{-947 - exponent})"


def alike(guests: Guests, columns: dict[str, str], lines: list[str]) -> None:
    """Asserts that the lines print the same under each runtime as on its oracle."""
    text = "\n".join(lines)
    for column, version in columns.items():
        assert guests.output(column, text) == oracle.run(version, text), (column, text)


OWN = {"compat": "5.4", **{version: version for version in oracle.VERSIONS}}


@FEW
@given(numbers=st.lists(ordinary, min_size=1, max_size=BATCH_MAX))
def test_numbers_print_as_that_version_prints_them(guests: Guests, numbers: list[float]) -> None:
    """tostring, .. and the formats of floats give the same text."""
    lines = [
        f"print({literal(n)}, {literal(n)} .. '', string.format('%g %.3f %e %.17g', "
        f"{literal(n)}, {literal(n)}, {literal(n)}, {literal(n)}))"
        for n in numbers
    ]
    alike(guests, OWN, lines)


@FEW
@given(numbers=st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=BATCH_MAX))
def test_whole_numbers_print_and_parse_alike(guests: Guests, numbers: list[int]) -> None:
    """%d, tostring, tonumber and arithmetic on text agree up to 2^53."""
    lines = [
        f"print(string.format('%d|%5d|%-20d|', {n}, {n}, {n}), {n}, tonumber('{n}'), '{n}' + 1)"
        for n in numbers
    ]
    alike(guests, OWN, lines)


@FEW
@given(pairs=st.lists(st.tuples(words, words, shifts), min_size=1, max_size=BATCH_MAX))
def test_bit_is_exact(guests: Guests, pairs: list[tuple[int, int, int]]) -> None:
    """LuaJIT's bit library: 32 bits, signed results."""
    lines = [
        f"print(bit.band({a}, {b}), bit.bor({a}, {b}), bit.bxor({a}, {b}), bit.bnot({a}), "
        f"bit.lshift({a}, {by}), bit.rshift({a}, {by}), bit.arshift({a}, {by}), "
        f"bit.rol({a}, {by}), bit.ror({a}, {by}), bit.bswap({a}), bit.tobit({a}), "
        f"bit.tohex({a}))"
        for a, b, by in pairs
    ]
    alike(guests, {"luajit": "luajit", "compat": "luajit"}, lines)


@FEW
@given(pairs=st.lists(st.tuples(words, words, shifts), min_size=1, max_size=BATCH_MAX))
def test_bit32_is_exact(guests: Guests, pairs: list[tuple[int, int, int]]) -> None:
    """Lua 5.2's bit32 library: 32 bits, unsigned results."""
    form = "('%.0f '):rep(9)"
    lines = [
        f"print({form}:format(bit32.band({a}, {b}), bit32.bor({a}, {b}), bit32.bxor({a}, {b}), "
        f"bit32.bnot({a}), bit32.lshift({a}, {by}), bit32.rshift({a}, {by}), "
        f"bit32.arshift({a}, {by}), bit32.lrotate({a}, {by}), bit32.rrotate({a}, {by})), "
        f"bit32.btest({a}, {b}))"
        for a, b, by in pairs
    ]
    columns = dict.fromkeys(("compat", "5.1", "5.2", "5.3", "luajit"), "5.2")
    alike(guests, columns, lines)


packable: st.SearchStrategy[Any] = st.one_of(
    st.tuples(st.sampled_from(("<i4", ">i4", "i8", ">i3", "<i7")), st.integers(-(2**22), 2**22)),
    st.tuples(st.sampled_from(("<I4", ">I2", "H", "L", "J")), st.integers(0, 2**16 - 1)),
    st.tuples(st.sampled_from(("<d", ">d", "n")), doubles),
    st.tuples(st.just("<f"), st.floats(width=32, allow_nan=False)),
)


@FEW
@given(items=st.lists(packable, min_size=1, max_size=BATCH_MAX))
def test_packing_is_exact(guests: Guests, items: list[tuple[str, float]]) -> None:
    """string.pack gives the same bytes and unpack the number again, made of doubles or not."""
    hexed = "(string.pack(%r, %s):gsub('.', function(c) return ('%%02x'):format(c:byte()) end))"
    lines = []
    for form, number in items:
        value = "1/0" if number == math.inf else "-1/0" if number == -math.inf else literal(number)
        again = f"(string.unpack({form!r}, string.pack({form!r}, {value})))"
        lines.append(f"print({hexed % (form, value)}, ('%.17g'):format({again}))")
    alike(guests, dict.fromkeys(("5.1", "5.2", "luajit", "5.3", "compat"), "5.4"), lines)


@FEW
@given(numbers=st.lists(doubles, min_size=1, max_size=BATCH_MAX))
def test_frexp_and_ldexp_are_exact(guests: Guests, numbers: list[float]) -> None:
    """math.frexp and math.ldexp made of other functions are C's to the last bit."""
    lines = [
        f"local m, e = math.frexp({literal(n)}) print(('%.17g %.0f %.17g %.17g'):format(m, e, "
        f"math.ldexp(m, e), math.ldexp({literal(n)}, -1000)))"
        for n in numbers
    ]
    alike(guests, dict.fromkeys(("compat", "5.3", "5.4"), "5.2"), lines)

"""Tests of `lithox.sandbox.component.shapes`: our own spelling of types is read as it is meant."""

from __future__ import annotations

import pytest

from lithox.sandbox.component import host, wasi
from lithox.sandbox.component.shapes import Shape, parse_shape


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("string", Shape("string")),
        ("_", None),
        ("list<u8>", Shape("list", (), (Shape("u8"),))),
        ("result<_,enum>", Shape("result", (), (None, Shape("enum")))),
        ("record{a:u8,b:option<s64>}", Shape(
            "record", ("a", "b"), (Shape("u8"), Shape("option", (), (Shape("s64"),)))
        )),
    ],
)  # fmt: skip
def test_shape_is_taken_apart(text: str, shape: Shape | None) -> None:
    """A shape becomes its kind, the names of its fields and what is inside."""
    assert parse_shape(text) == shape


@pytest.mark.parametrize("rows", [host.FUNCTIONS, wasi.FUNCTIONS], ids=["host", "wasi"])
def test_shape_tables_can_be_read(rows: dict[str, tuple[tuple[str, ...], str, object]]) -> None:
    """Every shape in our tables is well-formed: parsing asserts that nothing is left over."""
    for parameters, result, _ in rows.values():
        for text in (*parameters, result):
            parse_shape(text)

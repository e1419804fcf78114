"""Tests of `lithox.sandbox.component.parts`: bytes of anybody are measured or refused, soon."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithox.errors import CompileFailed
from lithox.sandbox.component.parts import COMPONENT_HEADER, DEPTH_MAX, measure_memory

MODULE = b"\0asm\1\0\0\0"


def section(number: int, body: bytes) -> bytes:
    """Returns a section shorter than 16,384 bytes."""
    size = len(body)
    return bytes((number, 0x80 | (size & 0x7F), size >> 7)) + body


def test_parts_memories_are_added_up() -> None:
    """What the modules of a component begin with counts together, however deep they are."""
    module = MODULE + section(5, b"\x01\x00\x03")
    inner = COMPONENT_HEADER + section(1, module)
    wasm = COMPONENT_HEADER + section(1, module) + section(4, inner)
    assert measure_memory(wasm, file="f") == 6 * 65_536


@pytest.mark.parametrize(
    ("wasm", "message"),
    [
        (b"", "f is no WebAssembly component: no header of a component at byte 0"),
        (MODULE, "f is no WebAssembly component: no header of a component at byte 0"),
        (
            COMPONENT_HEADER + b"\x01\x7f",
            "f is no WebAssembly component: the section at byte 8 ends behind its end",
        ),
        (COMPONENT_HEADER + b"\x01", "f is no WebAssembly component: it is cut short"),
        (
            COMPONENT_HEADER + b"\x01" + b"\xff" * 11,
            "f is no WebAssembly component: a number at byte 9 is longer than 10 bytes",
        ),
    ],
)
def test_parts_damaged_is_refused(wasm: bytes, message: str) -> None:
    """What cannot be read is refused, with the byte where that is known."""
    with pytest.raises(CompileFailed) as caught:
        measure_memory(wasm, file="f")
    assert (caught.value.message, caught.value.fields["file"]) == (message, "f")


def test_parts_nesting_is_bounded() -> None:
    """Components inside components end at a depth, not at the stack's end."""
    wasm = COMPONENT_HEADER
    for _ in range(DEPTH_MAX + 1):
        wasm = COMPONENT_HEADER + section(4, wasm)
    with pytest.raises(CompileFailed) as caught:
        measure_memory(wasm, file="f")
    assert "nest deeper than 8 levels" in caught.value.message


@given(st.binary(max_size=200))
def test_parts_any_bytes_end(tail: bytes) -> None:
    """Whatever stands behind the header, it is measured or refused."""
    with suppress(CompileFailed):
        assert measure_memory(COMPONENT_HEADER + tail, file="f") >= 0

"""Which modules can be restored from outside: those that change neither tables nor segments."""

from __future__ import annotations

import pytest
import wasmtime

from lithox.sandbox.core.scan import is_restorable
from tests.unit.sandbox.core.modules import section

HEAD = '(module (memory 1) (table 4 funcref) (elem $e funcref (ref.null func)) (data $d "x")'
CHANGING = {
    "table.set": "(table.set (i32.const 0) (ref.null func))",
    "table.grow": "(drop (table.grow (ref.null func) (i32.const 1)))",
    "table.fill": "(table.fill (i32.const 0) (ref.null func) (i32.const 1))",
    "table.copy": "(table.copy (i32.const 0) (i32.const 1) (i32.const 1))",
    "table.init": "(table.init $e (i32.const 0) (i32.const 0) (i32.const 1))",
    "elem.drop": "(elem.drop $e)",
    "data.drop": "(data.drop $d)",
}
HARMLESS = {
    "nothing": "(nop)",
    "numbers that look like table.set": "(drop (i32.const 38)) (drop (i64.const 4902))",
    "constants": "(drop (f32.const 1e9)) (drop (f64.const 3.7))"
    "(drop (v128.const i8x16 38 38 38 38 38 38 38 38 252 17 252 17 252 17 252 17))",
    "memory": "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))"
    "(memory.fill (i32.const 0) (i32.const 1) (i32.const 2))"
    "(memory.copy (i32.const 0) (i32.const 1) (i32.const 2))"
    "(drop (memory.grow (i32.const 1))) (drop (memory.size))"
    "(i32.store offset=38 (i32.const 0) (i32.load offset=4902 (i32.const 0)))"
    "(i64.store8 (i32.const 0) (i64.load32_s (i32.const 0)))",
    "control": "(block (loop (br_table 0 1 0 (i32.const 38)))) (if (i32.const 1) (then (return)))"
    "(drop (select (result i32) (i32.const 1) (i32.const 2) (i32.const 3)))"
    "(call_indirect (i32.const 0)) (call 0)",
    "references": "(drop (table.get (i32.const 0))) (drop (table.size))"
    "(drop (ref.is_null (ref.func 0)))",
    "conversions": "(drop (i32.trunc_sat_f32_s (f32.const 1)))"
    "(drop (i64.extend32_s (i64.const 1))) (drop (f64.promote_f32 (f32.const 1)))",
    "vectors": "(drop (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 38"
    " (v128.load offset=9 (i32.const 0)) (v128.load32_zero (i32.const 0))))"
    "(v128.store16_lane 3 (i32.const 0) (i32x4.splat (i32.const 1)))"
    "(drop (i8x16.extract_lane_u 15 (f64x2.sqrt (v128.const i64x2 1 2))))"
    "(drop (f32x4.replace_lane 2 (i32x4.splat (i32.const 1)) (f32.const 2)))",
    "tail calls": "(return_call 0)",
    "wide arithmetic": "(drop (drop (i64.mul_wide_u (i64.const 1) (i64.const 2))))",
}


def module_of(body: str) -> bytes:
    """Returns a module with two harmless functions around one of `body`."""
    return bytes(
        wasmtime.wat2wasm(
            f"{HEAD} (func) (func (local i32 f64 f64 v128) {body}) (func (nop))"
            "(elem declare func 0))"
        )
    )


@pytest.mark.parametrize("name", CHANGING)
def test_each_change_is_seen(name: str) -> None:
    """Every instruction that changes a table or drops a segment is found, wherever it is."""
    assert not is_restorable(module_of(CHANGING[name]))
    for harmless in ("constants", "memory", "control", "vectors", "conversions"):
        body = HARMLESS[harmless].replace("(return)", "(nop)")
        assert not is_restorable(module_of(body + CHANGING[name]))


@pytest.mark.parametrize("name", HARMLESS)
def test_all_else_is_harmless(name: str) -> None:
    """Instructions with arguments of every shape are passed over exactly."""
    assert is_restorable(module_of(HARMLESS[name]))


def test_number_longer_than_needed_hides_nothing() -> None:
    """An opcode may be spelled with more bytes than it needs."""
    body = b"\0\xd0\x70\x41\1\xfc\x8f\x80\0\0\x1a\x0b"  # table.grow as fc 8f 80 00
    code = section(10, b"\1" + bytes((len(body),)) + body)
    head = bytes(wasmtime.wat2wasm("(module (table 1 funcref) (func))"))
    assert head.endswith(b"\x0a\4\1\2\0\x0b")
    whole = head[: -len(b"\x0a\4\1\2\0\x0b")] + code
    wasmtime.Module(wasmtime.Engine(), whole)
    assert not is_restorable(whole)


def test_what_is_not_known_is_not_restorable() -> None:
    """Neither a module without code nor bytes that are none are called restorable."""
    assert not is_restorable(b"\0asm\1\0\0\0")
    assert not is_restorable(b"\0asm\1\0\0\0" + section(10, b"\1\3\0\x14\0"))
    assert not is_restorable(b"\0asm\1\0\0\0" + section(10, b"\xff\xff\xff"))

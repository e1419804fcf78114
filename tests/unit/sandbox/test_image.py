"""Tests of `lithox.sandbox.image`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from lithox.errors import ConfigError
from lithox.sandbox.capi import open_library
from lithox.sandbox.image import PAGE_BYTES, Image, check_restorable, find_changed_ranges

MUTABLE = "(global (mut i64) (i64.const 0))"
PAGES = st.lists(st.sampled_from([b"\0", b"a", b"b"]), min_size=1, max_size=9).map(
    lambda pages: b"".join(page * PAGE_BYTES for page in pages)
)


def test_image_finds_nothing_changed_in_equal_memories() -> None:
    """Equal memories have no ranges."""
    assert find_changed_ranges(b"a" * 3 * PAGE_BYTES, b"a" * 3 * PAGE_BYTES) == ()


def test_image_joins_pages_that_follow_each_other() -> None:
    """Neighbouring changed pages are one range."""
    blank = bytes(6 * PAGE_BYTES)
    data = bytearray(blank)
    data[PAGE_BYTES + 5] = data[2 * PAGE_BYTES] = data[5 * PAGE_BYTES + 1] = 1
    assert find_changed_ranges(bytes(data), blank) == (
        (PAGE_BYTES, 2 * PAGE_BYTES),
        (5 * PAGE_BYTES, PAGE_BYTES),
    )


@given(data=PAGES, blank=PAGES, garbage=st.binary(min_size=1, max_size=1))
def test_image_restores_blank_and_used_memories(data: bytes, blank: bytes, garbage: bytes) -> None:
    """Whatever a memory held, restoring it gives the image's bytes."""
    blank = blank[: len(data)]
    image = Image(data, blank)
    memmove = open_library().memmove
    fresh = Image(blank.ljust(len(data), b"\0"), b"")
    image.restore_blank(memmove, fresh.address)
    used = Image(garbage * len(data), b"")
    image.restore_used(memmove, used.address)
    assert fresh.data == used.data == data


def test_image_accepts_the_stand_in(wasm_path: Path) -> None:
    """A module of the guests' shape passes."""
    check_restorable(wasm_path.read_bytes(), file="f")


@pytest.mark.parametrize(
    ("wat", "reason"),
    [
        (
            "(global $a (mut i32) (i32.const -1)) (global $b f64 (f64.const 1)) " + MUTABLE,
            "it has 2 mutable globals; the image holds memory only",
        ),
        ('(data "passive")', "it has a passive data segment, which a run could drop"),
        (
            '(import "wasi_snapshot_preview1" "fd_write" (func))',
            "it imports wasi_snapshot_preview1.fd_write; only lithox.syscall is given",
        ),
        (
            '(import "lithox" "syscall" (memory 1))',
            "it imports lithox.syscall; only lithox.syscall is given",
        ),
        ("(memory 1) (memory 1)", "it has a memory that is shared, 64-bit or a second one"),
        ("(memory i64 1)", "it has a memory that is shared, 64-bit or a second one"),
        ("(memory 1 2 shared)", "it has a memory that is shared, 64-bit or a second one"),
    ],
)
def test_image_refuses_state_it_cannot_restore(wat: str, reason: str) -> None:
    """A module with state outside its memory is refused with the reason."""
    with pytest.raises(ConfigError) as caught:
        check_restorable(bytes(wasmtime.wat2wasm(f"(module {wat})")), file="g.wasm")
    assert caught.value.message == f"g.wasm cannot be a guest: {reason}"


@given(data=st.binary(max_size=40).filter(lambda data: data != b"\0asm\1\0\0\0"))
def test_image_refuses_what_is_no_module(data: bytes) -> None:
    """Bytes that are not a module are a ConfigError, never a crash."""
    with pytest.raises(ConfigError):
        check_restorable(data, file="f")


@given(cut=st.integers(min_value=8, max_value=200))
def test_image_survives_a_module_cut_short(cut: int) -> None:
    """A torn module is refused, or passes as the shorter module it is; nothing else is raised."""
    wasm = bytes(wasmtime.wat2wasm('(module (global i32 (i32.const 1)) (memory 1) (data "p"))'))
    with contextlib.suppress(ConfigError):
        check_restorable(wasm[:cut], file="f")

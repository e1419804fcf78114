"""The check of what a built guest imports, exports and may change."""

from __future__ import annotations

import pytest
import wasmtime

from guests import build
from guests.module_check import EXPORTS, check_module
from guests.sources import BuildError

IMPORT = '(import "lithox" "syscall" (func (param i32 i32 i32 i32) (result i32)))'
MEMORY = '(memory (export "memory") 1)'
FUNCTIONS = " ".join(f'(func (export "{name}"))' for name in sorted(EXPORTS - {"memory"}))
STACK = "(global (mut i32) (i32.const 98304))"


def binary(*parts: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {' '.join(parts)})"))


def test_the_built_guest_passes() -> None:
    """What the build script leaves is a guest by this check."""
    check_module(build.build(lambda _: None).read_bytes())


def test_a_module_with_the_abi_passes() -> None:
    """One import, the exports, one mutable global: accepted."""
    check_module(binary(IMPORT, MEMORY, FUNCTIONS, STACK, "(global i64 (i64.const -1))"))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((MEMORY, FUNCTIONS), "may import lithox.syscall only"),
        (('(import "wasi" "fd_write" (func))', IMPORT, MEMORY, FUNCTIONS), "fd_write"),
        (('(import "lithox" "g" (global i32))', MEMORY, FUNCTIONS), "not a function"),
        ((IMPORT, MEMORY), "must export"),
        ((IMPORT, MEMORY, FUNCTIONS, '(func (export "more"))'), "more"),
        ((IMPORT, MEMORY, FUNCTIONS, STACK, STACK), "one mutable global, its stack; it has 2"),
    ],
)
def test_anything_else_is_refused(parts: tuple[str, ...], message: str) -> None:
    """Another import or export, or state outside memory, does not leave the build."""
    with pytest.raises(BuildError, match=message):
        check_module(binary(*parts))

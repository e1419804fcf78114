"""What is read of a stranger's module, what of it is refused, and what is compiled."""

from __future__ import annotations

import random

import pytest
import wasmtime

from lithox.sandbox.core.module import read_module
from lithox.sandbox.core.reading import ModuleError, ModuleReader
from tests.unit.sandbox.core.modules import (
    GOOD,
    MEMORY,
    RESERVE,
    RUN,
    assemble,
    custom,
    leb,
    section,
)

SYSCALL = '(import "lithox" "syscall" (func (param i32 i32 i32 i32) (result i32)))'
REFUSED = {
    "(module)": "it does not export its memory",
    f"(module (memory 1) {RESERVE} {RUN})": "it does not export its memory",
    f"(module {MEMORY} {RUN})": "it does not export lx_reserve",
    f"(module {MEMORY} {RESERVE})": "it does not export lx_run",
    f'(module {MEMORY} {RESERVE} (global (export "lx_run") i32 (i32.const 0)))': (
        "it has another type or kind for lx_run"
    ),
    f'(module {MEMORY} {RESERVE} (func (export "lx_run") (result i64) (i64.const 0)))': (
        "it has another type or kind for lx_run"
    ),
    GOOD[:-1] + '(func (export "_initialize") (param i32)))': (
        "it has another type or kind for _initialize"
    ),
    GOOD[:-1] + '(func (export "lithox.start")))': "it exports lithox.start",
    f'(module (import "env" "memory" (memory 1)) {RESERVE} {RUN})': "it imports env.memory",
    f'(module (import "wasi_snapshot_preview1" "fd_write" (func)) {MEMORY} {RESERVE} {RUN})': (
        "it imports wasi_snapshot_preview1.fd_write"
    ),
    f'(module (import "lithox" "syscall" (func)) {MEMORY} {RESERVE} {RUN})': (
        "it imports lithox.syscall with another type"
    ),
    f'(module (import "lithox" "syscall" (memory 1)) {MEMORY} {RESERVE} {RUN})': (
        "it imports lithox.syscall as a memory"
    ),
    f"(module {SYSCALL * 9} {MEMORY} {RESERVE} {RUN})": (
        "it imports lithox.syscall more than 8 times"
    ),
    GOOD.replace('"memory") 1', '"memory") 65536'): ("a memory of 4294967296 bytes at the start"),
    GOOD.replace('"memory") 1', '"memory") 0'): "a memory of 0 bytes at the start",
    GOOD.replace('"memory") 1', '"memory") 1 1 shared'): (
        "a memory that is shared, of 64 bits or of another page size"
    ),
    GOOD.replace('"memory") 1', '"memory") i64 1'): (
        "a memory that is shared, of 64 bits or of another page size"
    ),
    GOOD[:-1] + "(memory 1))": "it has 2 memories",
    GOOD[:-1] + "(table 10000000 funcref))": "a table of 10000000 elements",
    GOOD[:-1] + "(table 1 funcref)" * 5 + ")": "it has 5 tables",
    GOOD[:-1] + "(global (mut funcref) (ref.null func)))": (
        "a mutable global that holds a reference, which cannot be put back before a run"
    ),
    GOOD[:-1] + "(global (mut i32) (i32.const 0))" * 257 + ")": "it has 257 mutable globals",
    GOOD[:-1] + "(tag))": "it has exception tags",
    GOOD[:-1] + "(type (struct)))": "a type that is not a function's",
}


@pytest.mark.parametrize(("wat", "message"), REFUSED.items(), ids=REFUSED.values())
def test_module_is_refused_with_its_reason(wat: str, message: str) -> None:
    """A module without the ABI, or with what none may have, is told what was found and expected."""
    with pytest.raises(ModuleError) as caught:
        read_module(assemble(wat))
    assert caught.value.message == message
    assert caught.value.expected


NAMES = {
    (): "it names 0 handlers, 0 of them different",
    ("go", "go"): "it names 2 handlers, 1 of them different",
    ("Go",): "a handler is called b'Go'",
    ("go now",): "a handler is called b'go now'",
    ("g\u00f6",): "a handler is called b'g\\xc3\\xb6'",
    tuple(f"h{n}" for n in range(1025)): "it names 1025 handlers, 1025 of them different",
}


@pytest.mark.parametrize(("names", "message"), NAMES.items(), ids=range(len(NAMES)))
def test_handler_names_are_checked(names: tuple[str, ...], message: str) -> None:
    """Names are there, different, and such as may be called."""
    with pytest.raises(ModuleError) as caught:
        read_module(assemble(GOOD, names))
    assert caught.value.message == message


def test_other_version_of_the_abi_is_told() -> None:
    """A module made for another version says so by its section, and is refused by name."""
    wasm = bytes(wasmtime.wat2wasm(GOOD)) + custom(b"lithox.handlers.2", b"go\0")
    with pytest.raises(ModuleError) as caught:
        read_module(wasm)
    assert caught.value.message == "its handlers are in the section 'lithox.handlers.2'"
    assert "version 1" in caught.value.expected


def test_names_of_several_sections_are_one_list() -> None:
    """A linker may leave the names of each object in a section of its own."""
    wasm = assemble(GOOD, ("a",)) + custom(b"lithox.handlers.1", b"_b\0c\0")
    assert read_module(wasm).handler_names == ("a", "_b", "c")


COUNTS = {
    1: (10_001, "types"),
    3: (50_001, "functions"),
    6: (10_001, "globals"),
    7: (10_001, "exports"),
    9: (10_001, "element segments"),
    10: (100_000, "functions"),
    11: (10_001, "data segments"),
    12: (10_001, "data segments"),
}


@pytest.mark.parametrize("kind", COUNTS)
def test_counts_are_bounded_before_anything_is_read(kind: int) -> None:
    """A section that announces too much is refused by its first number, with its offset."""
    count, what = COUNTS[kind]
    with pytest.raises(ModuleError) as caught:
        read_module(b"\0asm\1\0\0\0" + section(kind, leb(count) + bytes(8)))
    assert caught.value.message == f"it has {count} {what}"
    assert caught.value.offset == 10


@pytest.mark.parametrize(("kind", "size"), [(9, 1 << 20), (11, 4 << 20)])
def test_segments_are_bounded_in_bytes(kind: int, size: int) -> None:
    """What each instance copies has a bound."""
    with pytest.raises(ModuleError, match=f"take {size + 1} bytes"):
        read_module(b"\0asm\1\0\0\0" + section(kind, bytes(size + 1)))


def test_every_truncation_is_told() -> None:
    """A module that ends anywhere is refused, never read beyond its end."""
    wasm = assemble(GOOD[:-1] + '(global (mut i64) (i64.const -1)) (data (i32.const 0) "hello"))')
    read_module(wasm)
    for length in range(len(wasm)):
        with pytest.raises(ModuleError):
            read_module(wasm[:length])


def test_no_bytes_are_too_strange() -> None:
    """Whatever is changed in a module, it is read or refused and nothing else happens."""
    wasm = assemble(
        GOOD[:-1] + "(table 3 funcref) (elem (i32.const 0) 0 1) (global (mut f64) (f64.const 1)))"
    )
    chance = random.Random(5)
    read = 0
    offsets: set[int] = set()
    for _ in range(4000):
        changed = bytearray(wasm)
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(8, len(wasm))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        try:
            read_module(bytes(changed))
            read += 1
        except ModuleError as error:
            offsets.add(error.offset or 0)
    assert 0 < read < 4000
    assert 0 <= min(offsets) <= max(offsets) <= len(wasm)


def test_module_is_written_anew_for_the_host() -> None:
    """Mutable globals and the start function become exports; what is for people is left out."""
    wat = (
        GOOD[:-1] + "(global $a i32 (i32.const 1)) (global $b (mut i32) (i32.const 2))"
        "(global $c (mut f64) (f64.const 3)) (func $begin) (start $begin)"
        '(func (export "_initialize")))'
    )
    module = read_module(assemble(wat))
    assert module.setup == (b"lithox.start", b"_initialize")
    assert module.globals == (b"lithox.global.1", b"lithox.global.2")
    assert module.memory_bytes == 65_536
    again = wasmtime.Module(wasmtime.Engine(), module.binary)
    assert {"lithox.global.1", "lithox.global.2", "lithox.start"} <= {
        export.name for export in again.exports
    }
    assert b"lithox.handlers" not in module.binary


def test_offsets_are_those_of_the_file() -> None:
    """What the compiler says of the new binary is found again in the file."""
    wasm = custom(b"early", bytes(50)) + b""
    good = assemble(GOOD[:-1] + "(global (mut i32) (i32.const 77)))")
    module = read_module(good[:8] + wasm + good[8:])
    for marker in (b"\x41\xcd\x00", b"\x41\x80\x08"):
        at = module.binary.index(marker)
        file_at = module.original_offset(at)
        assert (good[:8] + wasm + good[8:])[file_at : file_at + len(marker)] == marker


@pytest.mark.parametrize(
    "encoded", [b"\x80\x80\x80\x80\x80\x00", b"\xff\xff\xff\xff\x7f", b"\x80", b""]
)
def test_number_that_is_none(encoded: bytes) -> None:
    """Numbers are of 32 bits, in at most five bytes, and end."""
    with pytest.raises(ModuleError):
        ModuleReader(encoded, 0, len(encoded), what="x").number()

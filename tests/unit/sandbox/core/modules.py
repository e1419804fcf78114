"""Small core modules, whole or broken on purpose, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import wasmtime

from lithox.model.limits import Limits
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.contract import Source, Step, StepKind
from lithox.sandbox.core.engine import CoreEngine, CoreProgram
from lithox.sandbox.mappings import MappingBudget

LIMITS = Limits(fuel=5_000_000, memory_bytes=16 << 20, calls=100)
QUANTUM_FUEL = 10_000
RESERVE = '(func (export "lx_reserve") (param i32) (result i32) (i32.const 1024))'
RUN = '(func (export "lx_run") (param i32) (result i64) (i64.const 0))'
MEMORY = '(memory (export "memory") 1)'
GOOD = f"(module {MEMORY} {RESERVE} {RUN})"
_MANY_BYTES = 128


def leb(value: int) -> bytes:
    """Returns an unsigned number as the format has it."""
    encoded = b""
    while value >= _MANY_BYTES:
        encoded += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return encoded + bytes((value,))


def section(kind: int, body: bytes) -> bytes:
    """Returns a section."""
    return bytes((kind,)) + leb(len(body)) + body


def custom(name: bytes, content: bytes) -> bytes:
    """Returns a custom section."""
    return section(0, leb(len(name)) + name + content)


def assemble(wat: str, names: tuple[str, ...] = ("go",)) -> bytes:
    """Returns the module of a text, with its handlers' names."""
    content = b"".join(name.encode() + b"\0" for name in names)
    return bytes(wasmtime.wat2wasm(wat)) + custom(b"lithox.handlers.1", content)


def source_of(wasm: bytes, name: str = "m.wasm") -> Source:
    """Returns `wasm` as published."""
    return Source(language="wasm", name=name, text=wasm, digest=f"{name} {hash(wasm)}")


def open_engine(tmp_path: Path, *, programs_bytes_max: int = 1 << 28) -> CoreEngine:
    """Returns an engine with a cache of its own."""
    return CoreEngine(
        language="wasm",
        cache=ModuleCache(tmp_path / "cache"),
        mappings=MappingBudget(),
        programs_bytes_max=programs_bytes_max,
    )


def run(program: CoreProgram, message: bytes = b"", limits: Limits = LIMITS) -> Step:
    """Returns how one run came to its end."""
    guest = program.start(message, limits)
    try:
        while True:
            step = guest.step(QUANTUM_FUEL, frees_lock=False)
            if step.kind is StepKind.ASKED:
                guest.answer(b"\x91\x00")
            elif step.kind is not StepKind.YIELDED:
                return step
    finally:
        guest.close()

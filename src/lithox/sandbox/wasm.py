"""How is a WebAssembly module made ready for guests?

Owns the engine, the compiled module and the linker: everything that is made once and lives as
long as the node. One import exists, `lithox.syscall`; no library WASI is linked.

The system call. wasmtime calls `_on_syscall` on the guest's fibre. It notes the four numbers the
guest passed, says where wasmtime shall ask whether the answer is there, and returns; everything
else happens after the poll, on the node's own stack. The question "is the answer there" must be a
C function taking an address and giving a bool. Ours is libc's `strlen`: the address is that of a
word which is 0 (an empty string, length 0, no) or 1 (one byte and a zero, length 1, yes). So
resuming needs no Python at all on the fibre.

A system call finds its cell by the thread it runs on, since a thread steps one guest at a time.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping
from threading import get_ident
from typing import TYPE_CHECKING, Final

from lithox.errors import ConfigError, InternalError
from lithox.sandbox.cache import ModuleCache, make_key
from lithox.sandbox.capi import (
    KIND_I32,
    VAL_WORDS,
    WASMTIME_VERSION,
    Library,
    SyscallCallback,
)
from lithox.sandbox.image import check_restorable

if TYPE_CHECKING:
    from lithox.sandbox.cell import Cell

WASM_STACK_BYTES: Final = 512 << 10
"""Native stack a guest's own code may use; Lua's limit of C levels must bite before it."""
FIBRE_STACK_BYTES: Final = 768 << 10
"""The whole fibre stack. What is left above `WASM_STACK_BYTES` serves `_on_syscall`. Pages nobody
touches cost nothing, and a guard page lies below."""
MEMORY_RESERVATION_BYTES: Final = 1 << 20
"""Address space kept for each memory, so that small growth does not move it."""
MEMORY_GROWTH_BYTES: Final = 16 << 20
"""Address space kept when a memory does move: 64 MiB are reached with four moves."""

CONFIGURATION: Final[dict[str, bool | int]] = {
    "consume_fuel": True,
    "wasm_exceptions": True,
    "wasm_threads": False,
    "wasm_relaxed_simd": False,
    "wasm_memory64": False,
    "wasm_stack_switching": False,
    "wasm_component_model": False,
    "cranelift_nan_canonicalization": True,
    "native_unwind_info": False,
    "memory_init_cow": False,
    "memory_reservation": MEMORY_RESERVATION_BYTES,
    "memory_reservation_for_growth": MEMORY_GROWTH_BYTES,
    "memory_guard_size": 0,
    "max_wasm_stack": WASM_STACK_BYTES,
    "async_stack_size": FIBRE_STACK_BYTES,
}
"""`wasmtime_config_<key>_set`. Guards are off because each costs a mapping a guest; bounds are
checked in code instead. Copy-on-write images are off for the same reason."""

_ARGUMENTS: Final = struct.Struct("<8xI28xI28xI28xI")
"""The four i32 arguments inside four `wasmtime_val_t` of 32 bytes."""
_ARGUMENT_BYTES: Final = _ARGUMENTS.size
_CONTINUATION_BYTES: Final = 24
TABLE_ELEMENTS_MAX: Final = 20_000
"""Entries of an interpreter's table of functions; a Lua module has about 300."""
WORD_READY: Final = 14
"""Which word of a cell says that the answer is there."""

_current: Final[dict[int, Cell]] = {}
"""Thread id -> the cell it steps, or stepped last."""


def enter(cell: Cell) -> None:
    """Says that this thread is about to poll `cell`."""
    _current[get_ident()] = cell


class WasmHost:
    """One compiled guest module and what is needed to make instances of it.

    Attributes:
        library: the C functions.
        cache: where the compiled module was looked for.
        engine: `wasm_engine_t*`.
        instance_pre: `wasmtime_instance_pre_t*`.
        table_elements_max, tables_max: bounds of an instance.
    """

    __slots__ = (
        "_callback",
        "_linker",
        "_module",
        "cache",
        "engine",
        "instance_pre",
        "library",
        "table_elements_max",
        "tables_max",
    )

    def __init__(
        self,
        library: Library,
        wasm: bytes,
        *,
        file: str,
        cache: ModuleCache,
        wasm_stack_bytes: int = WASM_STACK_BYTES,
    ) -> None:
        """Compiles `wasm`, or takes it from the cache.

        Args:
            library: the C functions.
            wasm: the binary module; trusted, it comes with the node.
            file: its name for messages.
            cache: where compiled modules are kept.
            wasm_stack_bytes: native stack its own code may use.

        Raises:
            ConfigError: the module is not one we can hold guests of.

        Blocks: about a second when the cache has no entry.
        """
        check_restorable(wasm, file=file)
        self.library = library
        self.cache = cache
        self.table_elements_max = TABLE_ELEMENTS_MAX
        self.tables_max = 1
        configuration = CONFIGURATION | {
            "max_wasm_stack": wasm_stack_bytes,
            "async_stack_size": wasm_stack_bytes + FIBRE_STACK_BYTES - WASM_STACK_BYTES,
        }
        self.engine = make_engine(library, configuration)
        self._module = self._compile(wasm, file, configuration)
        self._linker, self._callback = make_linker(library, self.engine)
        out = ctypes.c_uint64(0)
        error = library.by_name["wasmtime_linker_instantiate_pre"](
            self._linker, self._module, ctypes.addressof(out)
        )
        self._check(error, file)
        self.instance_pre = out.value

    def _check(self, error: int | None, file: str) -> None:
        text = self.library.take_error(error)
        if text is not None:
            raise ConfigError(f"{file} cannot be a guest: {text}", file=file)

    def _compile(self, wasm: bytes, file: str, configuration: Mapping[str, bool | int]) -> int:
        settings = ";".join(f"{key}={value}" for key, value in configuration.items())
        key = make_key(wasm, version=WASMTIME_VERSION, configuration=settings)
        out = ctypes.c_uint64(0)
        kept = self.cache.find(key)
        if kept is not None:
            error = self.library.by_name["wasmtime_module_deserialize"](
                self.engine, kept, len(kept), ctypes.addressof(out)
            )
            if self.library.take_error(error) is None:
                return out.value
            self.cache.refuse(key)
        error = self.library.module_new(self.engine, wasm, len(wasm), ctypes.addressof(out))
        self._check(error, file)
        vector = (ctypes.c_uint64 * 2)()
        error = self.library.by_name["wasmtime_module_serialize"](
            out.value, ctypes.addressof(vector)
        )
        self._check(error, file)
        self.cache.save(key, ctypes.string_at(vector[1], vector[0]))
        self.library.by_name["wasm_byte_vec_delete"](ctypes.addressof(vector))
        return out.value

    def close(self) -> None:
        """Frees everything; all cells must be closed before."""
        by_name = self.library.by_name
        if self.engine:
            by_name["wasmtime_instance_pre_delete"](self.instance_pre)
            by_name["wasmtime_linker_delete"](self._linker)
            by_name["wasmtime_module_delete"](self._module)
            by_name["wasm_engine_delete"](self.engine)
            self.engine = 0


def make_linker(library: Library, engine: int) -> tuple[int, object]:
    """Makes a linker with `lithox.syscall (i32, i32, i32, i32) -> i32`.

    Returns:
        tuple of (`wasmtime_linker_t*`, what must live as long as anything it has linked).
    """
    by_name = library.by_name
    linker: int = by_name["wasmtime_linker_new"](engine)
    callback = SyscallCallback(_make_syscall(library))
    new_type = by_name["wasm_valtype_new"]
    vectors = (ctypes.c_uint64 * 4)()
    for index, count in enumerate((4, 1)):
        kinds = (ctypes.c_uint64 * count)(*(new_type(KIND_I32) for _ in range(count)))
        by_name["wasm_valtype_vec_new"](
            ctypes.addressof(vectors) + 16 * index, count, ctypes.addressof(kinds)
        )
    function_type = by_name["wasm_functype_new"](
        ctypes.addressof(vectors), ctypes.addressof(vectors) + 16
    )
    error = by_name["wasmtime_linker_define_async_func"](
        linker, b"lithox", 6, b"syscall", 7, function_type, callback, None, None
    )
    by_name["wasm_functype_delete"](function_type)
    text = library.take_error(error)
    if text is not None:
        raise InternalError(f"lithox.syscall cannot be linked: {text}")
    return linker, callback


def _make_syscall(library: Library):  # noqa: ANN202 - a ctypes callback has no nameable type
    memmove, string_at, current = library.memmove, ctypes.string_at, _current
    unpack, thread_id = _ARGUMENTS.unpack, get_ident

    def on_syscall(
        _env: int,
        _caller: int,
        arguments: int,
        _arguments_count: int,
        results: int,
        _results_count: int,
        _trap: int,
        continuation: int,
    ) -> None:
        cell = current[thread_id()]
        cell.words[WORD_READY] = 0
        cell.asked = unpack(string_at(arguments, _ARGUMENT_BYTES))
        cell.result_address = results + 8
        memmove(continuation, cell.continuation_address, _CONTINUATION_BYTES)

    return on_syscall


def make_engine(library: Library, configuration: Mapping[str, bool | int]) -> int:
    """Returns a `wasm_engine_t*`; `configuration` is `wasmtime_config_<key>_set`."""
    config = library.by_name["wasm_config_new"]()
    for name, value in configuration.items():
        library.by_name[f"wasmtime_config_{name}_set"](config, value)
    # The engine takes the configuration over, also when it refuses it.
    engine = library.by_name["wasm_engine_new_with_config"](config)
    if not engine:
        raise InternalError("wasmtime refused the engine configuration")
    return engine


assert VAL_WORDS * 8 * 4 == _ARGUMENT_BYTES + 20, "layout of wasmtime_val_t"

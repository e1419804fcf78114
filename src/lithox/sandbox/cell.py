"""Where does a guest live?

A `Cell` is one store with one instance of the guest module: a memory, a fibre, and the addresses
needed to drive them. It knows nothing of runs or messages; `sandbox.guest` does. A cell is entered
by one thread at a time. It may hold one guest after another, its memory being restored between
them; a cell in which anything unusual happened is closed instead.

All small things wasmtime reads or writes for a cell lie in one array of 64-bit words, so that a
run allocates nothing:

    word 0-3    argument of a call (`wasmtime_val_t`)
    word 4-7    result of a call
    word 8, 9   trap and error of a call
    word 10     fuel left, as read last
    word 11-13  continuation of a system call: function, its argument, finalizer
    word 14     1 when the answer to the system call is there, else 0 (see `sandbox.wasm`)
    word 15     length given back by the system call
    word 16-    handles: instance, memory, functions; then room to fetch an export
"""

from __future__ import annotations

import ctypes
from typing import Final, Protocol

from lithox.errors import ConfigError, InternalError
from lithox.sandbox.capi import (
    EXTERN_FUNC,
    EXTERN_GLOBAL,
    EXTERN_MEMORY,
    EXTERN_WORDS,
    FUNC_WORDS,
    GLOBAL_WORDS,
    INSTANCE_WORDS,
    MEMORY_WORDS,
    Library,
)
from lithox.sandbox.wasm import WORD_READY, enter

FUNCTION_NAMES: Final = (b"lx_run", b"lx_reserve", b"lx_load", b"lx_boot", b"lx_inbox")
_INITIALIZE: Final = b"_initialize"

WORD_ARGUMENT: Final = 1
WORD_RESULT: Final = 5
WORD_TRAP: Final = 8
WORD_ERROR: Final = 9
WORD_FUEL: Final = 10
WORD_CONTINUATION: Final = 11
WORD_LENGTH: Final = 15
_WORD_INSTANCE: Final = 16
_WORD_MEMORY: Final = _WORD_INSTANCE + INSTANCE_WORDS
_WORD_FUNCTIONS: Final = _WORD_MEMORY + MEMORY_WORDS
_WORD_EXTERN: Final = _WORD_FUNCTIONS + FUNC_WORDS * len(FUNCTION_NAMES)
_WORDS: Final = _WORD_EXTERN + EXTERN_WORDS

_FUNCTION_WORDS: Final = {
    name: _WORD_FUNCTIONS + FUNC_WORDS * index for index, name in enumerate(FUNCTION_NAMES)
}

MASK_32: Final = 0xFFFF_FFFF
INTERVAL_NONE: Final = (1 << 62) - 1
"""A yield interval no allowance reaches."""


class Host(Protocol):
    """What a cell is an instance of.

    Attributes:
        engine: `wasm_engine_t*`.
        instance_pre: `wasmtime_instance_pre_t*`.
        table_elements_max: entries of each of its tables, also when they grow.
        tables_max: how many tables it may have.
    """

    library: Library
    engine: int
    instance_pre: int
    table_elements_max: int
    tables_max: int


class Cell:
    """One store and instance.

    Attributes:
        words: see the module's header.
        asked: (pointer, length, out, capacity) of the system call the guest waits in, or None.
        result_address: where the system call's i32 result goes; valid while it waits.
        future: `wasmtime_call_future_t*` of the call in progress, or 0.
        interval_fuel: the yield interval set last.
        memory_bytes_max: the limit set last.
        base: address of the memory, as read after the last poll. Only guest code can move a
            memory or grow it, and that runs inside a poll alone.
        memory_bytes: size of the memory, as read after the last poll.
        context: `wasmtime_context_t*`.
    """

    __slots__ = (
        "_address",
        "_library",
        "_store",
        "_table_elements_max",
        "_tables_max",
        "asked",
        "base",
        "context",
        "continuation_address",
        "fuel_address",
        "future",
        "interval_fuel",
        "length_address",
        "memory_address",
        "memory_bytes",
        "memory_bytes_max",
        "result_address",
        "words",
    )

    def __init__(self, host: Host, *, memory_bytes_max: int) -> None:
        """Makes a fresh instance; its memory is the module's blank one.

        Raises:
            ConfigError: the module lacks an export of the guest interface.
            InternalError: wasmtime cannot make an instance.
        """
        library = host.library
        self._library: Library = library
        self.words = (ctypes.c_uint64 * _WORDS)()
        self._address = ctypes.addressof(self.words)
        self.memory_address = self._word_address(_WORD_MEMORY)
        self.fuel_address = self._word_address(WORD_FUEL)
        self.continuation_address = self._word_address(WORD_CONTINUATION)
        self.length_address = self._word_address(WORD_LENGTH)
        self.words[WORD_CONTINUATION] = library.strlen_address
        self.words[WORD_CONTINUATION + 1] = self._word_address(WORD_READY)
        self.asked: tuple[int, int, int, int] | None = None
        self.result_address = 0
        self.future = 0
        self._store: int = library.store_new(host.engine, None, None)
        self.context: int = library.store_context(self._store)
        self._table_elements_max = host.table_elements_max
        self._tables_max = host.tables_max
        self.memory_bytes_max = -1
        self.set_memory_limit(memory_bytes_max)
        library.set_fuel(self.context, INTERVAL_NONE)
        self.interval_fuel = INTERVAL_NONE
        library.yield_interval(self.context, INTERVAL_NONE)
        try:
            self._instantiate(host)
        except BaseException:
            self.close()
            raise
        self.base = 0
        self.memory_bytes = 0
        self.read_memory()

    def _word_address(self, index: int) -> int:
        return self._address + 8 * index

    def _instantiate(self, host: Host) -> None:
        self.future = self._library.instantiate(
            host.instance_pre,
            self.context,
            self._word_address(_WORD_INSTANCE),
            self._word_address(WORD_TRAP),
            self._word_address(WORD_ERROR),
        )
        self._run("instantiation")
        self._fetch_export(b"memory", EXTERN_MEMORY, _WORD_MEMORY, MEMORY_WORDS)

    def _fetch_export(self, name: bytes, kind: int, word: int, words: int) -> None:
        found = self._library.export_get(
            self.context,
            self._word_address(_WORD_INSTANCE),
            name,
            len(name),
            self._word_address(_WORD_EXTERN),
        )
        if not found or self.words[_WORD_EXTERN] & 0xFF != kind:
            raise ConfigError(f"the guest module does not export {name.decode()}")
        for offset in range(words):
            self.words[word + offset] = self.words[_WORD_EXTERN + 1 + offset]

    def fetch_function(self, name: bytes) -> int:
        """Returns the address of an exported function's handle, good until the next is fetched.

        Raises:
            ConfigError: the module does not export it.
        """
        self._fetch_export(name, EXTERN_FUNC, _WORD_EXTERN, 0)
        return self._word_address(_WORD_EXTERN + 1)

    def fetch_global(self, name: bytes, address: int) -> None:
        """Writes the handle of an exported global, `GLOBAL_WORDS` words, to `address`.

        Raises:
            ConfigError: the module does not export it.
        """
        self._fetch_export(name, EXTERN_GLOBAL, _WORD_EXTERN, 0)
        extern = self._word_address(_WORD_EXTERN + 1)
        self._library.memmove(address, extern, 8 * GLOBAL_WORDS)

    def set_memory_limit(self, memory_bytes_max: int) -> None:
        """Lets the memory grow to `memory_bytes_max` bytes from now on."""
        if memory_bytes_max != self.memory_bytes_max:
            self.memory_bytes_max = memory_bytes_max
            self._library.store_limiter(
                self._store, memory_bytes_max, self._table_elements_max, 1, self._tables_max, 1
            )

    def grow_memory(self, memory_bytes: int) -> None:
        """Makes the memory of a cell that is not running `memory_bytes` long, zeros at its end."""
        pages = (memory_bytes - self.memory_bytes) // 65536
        out = self._word_address(_WORD_EXTERN)
        error = self._library.memory_grow(self.context, self.memory_address, pages, out)
        text = self._library.take_error(error)
        if text is not None:
            raise InternalError(f"cannot grow a guest's memory to its image: {text}")
        self.read_memory()

    def read_memory(self) -> None:
        """Reads base and size anew; to be called after each poll and before each copy."""
        self.memory_bytes = self._library.memory_size(self.context, self.memory_address)
        self.base = self._library.memory_data(self.context, self.memory_address)

    def begin(self, function: int, argument: int, arguments: int, results: int) -> None:
        """Prepares a call of the function handle at address `function`."""
        assert not self.future
        words = self.words
        words[WORD_ARGUMENT] = argument
        words[WORD_TRAP] = 0
        words[WORD_ERROR] = 0
        address = self._address
        self.future = self._library.func_call_async(
            self.context,
            function,
            address,
            arguments,
            address + 32,
            results,
            address + 64,
            address + 72,
        )

    def copy_memory(self) -> bytes:
        """Returns all bytes of the memory; the cell must not be running."""
        self.read_memory()
        return ctypes.string_at(self.base, self.memory_bytes)

    def function_address(self, name: bytes) -> int:
        """Returns the address of the handle of one of `FUNCTION_NAMES`, fetched when first asked.

        Raises:
            ConfigError: the module does not export it.
        """
        word = _FUNCTION_WORDS[name]
        if not self.words[word]:
            self._fetch_export(name, EXTERN_FUNC, word, FUNC_WORDS)
        return self._address + 8 * word

    def call(self, function: bytes, argument: int | None = None) -> int:
        """Runs an export that makes no system call, to its end; returns its result, unsigned.

        Raises:
            InternalError: it trapped or made a system call. The cell is to be closed.
        """
        self.begin(self.function_address(function), argument or 0, 0 if argument is None else 1, 1)
        self._run(function.decode())
        self.read_memory()
        return self.words[WORD_RESULT]

    def initialize(self) -> None:
        """Runs the module's start code, where it has such."""
        word = self._word_address(_WORD_EXTERN)
        instance = self._word_address(_WORD_INSTANCE)
        if self._library.export_get(self.context, instance, _INITIALIZE, len(_INITIALIZE), word):
            self.begin(word + 8, 0, 0, 0)
            self._run("_initialize")

    def _run(self, name: str) -> None:
        """Polls a call that may not ask to its end.

        Raises:
            InternalError: it trapped or made a system call.
        """
        enter(self)
        while not self._library.poll_short(self.future):
            if self.asked is not None:
                raise InternalError(f"{name} made a system call")
        self.end_call()
        problem = self.take_problem()
        if problem is not None:
            raise InternalError(f"{name}: {problem[1]}")

    def end_call(self) -> None:
        """Frees the call's future, finished or not. Not finished: its frames are unwound."""
        if self.future:
            self._library.future_delete(self.future)
            self.future = 0

    def take_problem(self) -> tuple[int, str] | None:
        """Returns (trap code, name) of the call that ended, or None when it returned."""
        words = self.words
        if words[WORD_TRAP]:
            problem = self._library.take_trap(words[WORD_TRAP])
            words[WORD_TRAP] = 0
            return problem
        if words[WORD_ERROR]:
            text = self._library.take_error(words[WORD_ERROR])
            words[WORD_ERROR] = 0
            return -1, text or "unknown error"
        return None

    def close(self) -> None:
        """Frees store and instance; idempotent."""
        self.end_call()
        self.take_problem()
        if self._store:
            self._library.store_delete(self._store)
            self._store = 0

"""Where does one run of a component live?

A `ComponentCell` is one store with one instance of a component, and the few words wasmtime reads
and writes for it. It is made for one run and never used again: a component's globals, tables and
memories are as many as its author likes, and no interface gives them back their first values.
Making one takes 40 us for a small component and 1 ms for CPython, whose memory is mapped, not
copied.

    word 0-7    two arguments of a call (`wasmtime_component_val_t`)
    word 8-11   its result
    word 12     its error
    word 13     fuel left, as read last
    word 14-16  continuation of a host call: function, its argument, finalizer
    word 17     1 when the answer to the host call is there, else 0 (see `sandbox.wasm`)
    word 18-19  the instance
    word 20-23  the function that is called
"""

from __future__ import annotations

import ctypes
from threading import get_ident
from typing import Any, Final

from lithox.errors import InternalError
from lithox.sandbox.capi import Library
from lithox.sandbox.cell import INTERVAL_NONE
from lithox.sandbox.component.configuration import (
    INSTANCES_MAX,
    TABLE_ELEMENTS_MAX,
    TABLES_MAX,
)
from lithox.sandbox.component.linking import World, current
from lithox.sandbox.component.run import Run
from lithox.sandbox.component.values import KIND_STRING, VAL_BYTES, Values

_WORD_RESULT: Final = 8
_WORD_ERROR: Final = 12
_WORD_FUEL: Final = 13
_WORD_CONTINUATION: Final = 14
_WORD_READY: Final = 17
_WORD_INSTANCE: Final = 18
_WORD_FUNCTION: Final = 20
_VAL_WORDS: Final = VAL_BYTES // 8
_WORDS: Final = 24
_Words: Final = ctypes.c_uint64 * _WORDS


class ComponentCell:
    """One store and instance.

    Attributes:
        asked: (number of the import, arguments or None when they were too large) of the host call
            the guest waits in, or None.
        context: `wasmtime_context_t*`.
        future: `wasmtime_call_future_t*` of the call in progress, or 0.
        interval_fuel: the yield interval set last.
        result_address: where the host call's result goes; valid while it waits.
        run: what it runs.
    """

    __slots__ = (
        "_address",
        "_arguments",
        "_library",
        "_store",
        "_values",
        "_words",
        "asked",
        "context",
        "continuation_address",
        "future",
        "interval_fuel",
        "result_address",
        "run",
    )

    def __init__(self, library: Library, engine: int, values: Values, run: Run) -> None:
        """Makes an empty store; `begin_instance` must follow."""
        self._library = library
        self._values = values
        self._words = _Words()
        self._address = ctypes.addressof(self._words)
        self._arguments = 0
        self.continuation_address = self._address + 8 * _WORD_CONTINUATION
        self._words[_WORD_CONTINUATION] = library.strlen_address
        self._words[_WORD_CONTINUATION + 1] = self._address + 8 * _WORD_READY
        self.asked: tuple[int, list[Any] | None] | None = None
        self.result_address = 0
        self.run = run
        self.future: int = 0
        self.interval_fuel = 0
        self._store: int = library.store_new(engine, None, None)
        self.context: int = library.store_context(self._store)

    def set_ready(self, *, is_ready: bool) -> None:
        """Says whether the answer to the host call is there."""
        self._words[_WORD_READY] = int(is_ready)

    def set_memory_limit(self, memory_bytes: int, memories: int) -> None:
        """Lets `memories` memories grow to `memory_bytes` in all."""
        self._library.store_limiter(
            self._store,
            memory_bytes // memories,
            *(TABLE_ELEMENTS_MAX, INSTANCES_MAX, TABLES_MAX, memories),
        )

    def set_fuel(self, fuel: int) -> None:
        """Sets how much fuel is left."""
        self._library.set_fuel(self.context, fuel)

    def read_fuel(self) -> int:
        """Returns how much fuel is left."""
        self._library.get_fuel(self.context, self._address + 8 * _WORD_FUEL)
        return self._words[_WORD_FUEL]

    def set_interval(self, quantum_fuel: int) -> None:
        """Sets after how much fuel a poll comes back."""
        self.interval_fuel = max(1, min(quantum_fuel, INTERVAL_NONE))
        self._library.yield_interval(self.context, self.interval_fuel)

    def enter(self) -> None:
        """Says that this thread is about to poll this cell."""
        current[get_ident()] = self

    def begin_instance(self, world: World, component: int) -> None:
        """Prepares the making of the instance; start functions run in the polls that follow."""
        assert not self.future
        self._words[_WORD_ERROR] = 0
        self.future = self._library.by_name["wasmtime_component_linker_instantiate_async"](
            world.linker,
            self.context,
            component,
            self._address + 8 * _WORD_INSTANCE,
            self._address + 8 * _WORD_ERROR,
        )

    def begin_call(self, world: World, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """Prepares the call of an export with texts as arguments."""
        assert not self.future
        by_name = self._library.by_name
        address = self._address
        found = by_name["wasmtime_component_instance_get_func"](
            address + 8 * _WORD_INSTANCE,
            self.context,
            world.exports[name],
            address + 8 * _WORD_FUNCTION,
        )
        if not found:
            raise InternalError(f"a component has lost its export {name.decode()}")
        words, new_bytes = self._words, by_name["wasm_byte_vec_new"]
        for index, text in enumerate(arguments):
            words[_VAL_WORDS * index] = KIND_STRING
            new_bytes(address + VAL_BYTES * index + 8, len(text), text)
        self._words[_WORD_RESULT] = 0
        self._words[_WORD_ERROR] = 0
        self.future = by_name["wasmtime_component_func_call_async"](
            *(address + 8 * _WORD_FUNCTION, self.context),
            *(address, len(arguments), address + 8 * _WORD_RESULT, 1),
            address + 8 * _WORD_ERROR,
        )
        self._arguments = len(arguments)

    def end_call(self) -> None:
        """Frees the call's future, finished or not. Not finished: its frames are unwound."""
        if self.future:
            # Destructors of handles may run while the frames go.
            self.enter()
            self._library.future_delete(self.future)
            self.future = 0
        while self._arguments:
            self._arguments -= 1
            self._library.by_name["wasmtime_component_val_delete"](
                self._address + VAL_BYTES * self._arguments
            )

    def take_error(self) -> str | None:
        """Returns the text of the error of the call that ended, None when it returned."""
        error = self._words[_WORD_ERROR]
        if not error:
            return None
        self._words[_WORD_ERROR] = 0
        return self._library.take_error(error)

    def take_result(self, bytes_max: int) -> Any:
        """Returns the result of the call that returned; raises TooLarge."""
        address = self._address + 8 * _WORD_RESULT
        try:
            return self._values.read_all(self.context, address, 1, bytes_max=bytes_max)[0]
        finally:
            self._library.by_name["wasmtime_component_val_delete"](address)

    def close(self) -> None:
        """Frees store and instance; idempotent."""
        self.end_call()
        self.take_error()
        if self._store:
            self._library.store_delete(self._store)
            self._store = 0
            # The thread would else keep what the run held.
            if current.get(get_ident()) is self:
                del current[get_ident()]

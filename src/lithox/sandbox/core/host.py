"""What is made once for all strangers' modules, and what once for each?

`CoreHost` is the engine with its settings and the linker with the one import. `CoreModule` is one
module of it as machine code, ready for instances. A module's C objects live as long as its object:
a program may be dropped from the engine's list while its guests still run.
"""

from __future__ import annotations

import ctypes
from typing import Final

from lithox.errors import InternalError
from lithox.sandbox.capi import Library
from lithox.sandbox.core.configuration import CONFIGURATION
from lithox.sandbox.core.sections import TABLE_ELEMENTS_MAX, TABLES_MAX
from lithox.sandbox.wasm import make_engine, make_linker

RESTORED_GLOBALS_MAX: Final = 32
"""Putting back more costs as much as a fresh instance."""


class CoreHost:
    """Engine and linker. `load` may be called from any thread.

    Attributes:
        library: the C functions.
        engine: `wasm_engine_t*`.
    """

    __slots__ = ("_callback", "_linker", "engine", "library")

    def __init__(self, library: Library) -> None:
        """Makes both. Blocks: a millisecond."""
        self.library = library
        self.engine: int = make_engine(library, CONFIGURATION)
        self._linker, self._callback = make_linker(library, self.engine)

    def load(self, code: bytes) -> int | None:
        """Returns the `wasmtime_instance_pre_t*` of machine code, None when it is not usable.

        Args:
            code: what `compiling` has given; from nowhere else.

        Blocks: some milliseconds for ten megabytes.
        """
        by_name = self.library.by_name
        module = ctypes.c_uint64(0)
        error = self.library.module_deserialize(
            self.engine, code, len(code), ctypes.addressof(module)
        )
        if self.library.take_error(error) is not None:
            return None
        made = ctypes.c_uint64(0)
        error = by_name["wasmtime_linker_instantiate_pre"](
            self._linker, module.value, ctypes.addressof(made)
        )
        by_name["wasmtime_module_delete"](module.value)
        text = self.library.take_error(error)
        if text is not None:
            raise InternalError(f"a module that was checked cannot be linked: {text}")
        return made.value

    def __del__(self) -> None:
        """Frees both, after the last module."""
        if getattr(self, "_linker", 0):
            self.library.by_name["wasmtime_linker_delete"](self._linker)
            self.library.by_name["wasm_engine_delete"](self.engine)


class CoreModule:
    """One module, ready for instances: see `cell.Host`.

    Attributes:
        library, engine, instance_pre: as `cell.Host` has them.
        table_elements_max, tables_max: bounds of each instance.
        code_bytes: size of its machine code.
        is_restorable: the cell of one run may serve the next.
    """

    __slots__ = (
        "_host",
        "code_bytes",
        "engine",
        "instance_pre",
        "is_restorable",
        "library",
        "table_elements_max",
        "tables_max",
    )

    def __init__(
        self, host: CoreHost, instance_pre: int, *, code_bytes: int, is_restorable: bool
    ) -> None:
        """Owns `instance_pre` from now on."""
        self._host = host
        self.library = host.library
        self.engine = host.engine
        self.instance_pre = instance_pre
        self.table_elements_max = TABLE_ELEMENTS_MAX
        self.tables_max = TABLES_MAX
        self.code_bytes = code_bytes
        self.is_restorable = is_restorable

    def __del__(self) -> None:
        """Frees the machine code, once the last instance has gone too."""
        if getattr(self, "instance_pre", 0):
            self.library.by_name["wasmtime_instance_pre_delete"](self.instance_pre)

"""Which C functions of wasmtime do we call, and with which types?

The only module that knows the shared library. The Python layer of the `wasmtime` package does not
wrap suspendable calls, and its own `Func` keeps a raised exception in one global slot, so we
declare the C functions we need ourselves and never import the package: only its shared library is
opened (this also saves the 50 ms that importing the package costs at start).

Invariants: the exact version is pinned, since struct layouts below are copied from its headers;
every symbol is resolved when `open_library` runs, so a missing one is a `ConfigError` at start and
never a crash later; pointers are plain integers on our side.

Two kinds of binding: functions bound "short" keep the interpreter lock (a call costs 0.3 us
instead of 0.5, and other Python threads wait), those bound "long" release it.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from lithox.errors import ConfigError

WASMTIME_VERSION: Final = "50.0.1"
"""The only version whose layouts and symbols were checked (`tests/unit/sandbox/test_capi.py`)."""

PYTHON_TOO_NEW: Final = (3, 14)
"""From here on Python checks where its C stack ends; a system call enters it on a fibre's stack."""

CFunction = Callable[..., Any]

_P: Final = ctypes.c_void_p
_SIZE: Final = ctypes.c_size_t
_BOOL: Final = ctypes.c_bool
_U64: Final = ctypes.c_uint64
_I64: Final = ctypes.c_int64

VAL_WORDS: Final = 4
"""A `wasmtime_val_t` is 32 bytes: one byte of kind, then at byte 8 a union of 24 bytes."""
FUNC_WORDS: Final = 2
MEMORY_WORDS: Final = 3
GLOBAL_WORDS: Final = 3
INSTANCE_WORDS: Final = 2
EXTERN_WORDS: Final = 4
"""A `wasmtime_extern_t` is 32 bytes: one byte of kind, then at byte 8 the handle itself."""
EXTERN_FUNC: Final = 0
EXTERN_GLOBAL: Final = 1
EXTERN_MEMORY: Final = 3
KIND_I32: Final = 0

TRAP_UNREACHABLE: Final = 9
TRAP_OUT_OF_FUEL: Final = 11
TRAP_NAMES: Final = (
    "stack overflow",
    "memory out of bounds",
    "heap misaligned",
    "table out of bounds",
    "indirect call to null",
    "bad signature",
    "integer overflow",
    "integer division by zero",
    "bad conversion to integer",
    "unreachable code reached",
    "interrupt",
    "out of fuel",
    "atomic wait on memory that is not shared",
    "null reference",
    "array out of bounds",
    "allocation too large",
    "cast failure",
)
"""Names of trap codes 0-16 (`enum wasmtime_trap_code_enum`); others do not arise in our guests."""
TRAP_UNCAUGHT_EXCEPTION: Final = 49

SyscallCallback: Final = ctypes.CFUNCTYPE(None, _P, _P, _P, _SIZE, _P, _SIZE, _P, _P)
"""`wasmtime_func_async_callback_t`: env, caller, args, nargs, results, nresults, trap_ret,
continuation_ret."""

ComponentCallback: Final = ctypes.CFUNCTYPE(None, _P, _P, _P, _P, _SIZE, _P, _SIZE, _P, _P)
"""`wasmtime_component_func_async_callback_t`: env, context, type, args, nargs, results, nresults,
error_ret, continuation_ret."""
ResourceDestructor: Final = ctypes.CFUNCTYPE(_P, _P, _P, ctypes.c_uint32)
"""`wasmtime_component_resource_destructor_t`: env, context, rep; gives an error or null."""

# Name of each function: (result type, argument types). `_P` as a result gives int or None.
DECLARED: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "wasm_config_new": (_P, ()),
    "wasm_engine_new_with_config": (_P, (_P,)),
    "wasm_engine_delete": (None, (_P,)),
    "wasm_valtype_new": (_P, (ctypes.c_uint8,)),
    "wasm_valtype_vec_new": (None, (_P, _SIZE, _P)),
    "wasm_functype_new": (_P, (_P, _P)),
    "wasm_functype_delete": (None, (_P,)),
    "wasm_byte_vec_delete": (None, (_P,)),
    "wasm_trap_delete": (None, (_P,)),
    "wasmtime_config_consume_fuel_set": (None, (_P, _BOOL)),
    "wasmtime_config_wasm_exceptions_set": (None, (_P, _BOOL)),
    "wasmtime_config_wasm_threads_set": (None, (_P, _BOOL)),
    "wasmtime_config_wasm_relaxed_simd_set": (None, (_P, _BOOL)),
    "wasmtime_config_wasm_memory64_set": (None, (_P, _BOOL)),
    "wasmtime_config_wasm_stack_switching_set": (None, (_P, _BOOL)),
    "wasmtime_config_wasm_gc_set": (None, (_P, _BOOL)),
    "wasmtime_config_wasm_function_references_set": (None, (_P, _BOOL)),
    "wasmtime_config_wasm_multi_memory_set": (None, (_P, _BOOL)),
    "wasmtime_config_wasm_custom_page_sizes_set": (None, (_P, _BOOL)),
    "wasmtime_config_wasm_component_model_set": (None, (_P, _BOOL)),
    "wasmtime_config_cranelift_nan_canonicalization_set": (None, (_P, _BOOL)),
    "wasmtime_config_native_unwind_info_set": (None, (_P, _BOOL)),
    "wasmtime_config_memory_init_cow_set": (None, (_P, _BOOL)),
    "wasmtime_config_memory_reservation_set": (None, (_P, _U64)),
    "wasmtime_config_memory_reservation_for_growth_set": (None, (_P, _U64)),
    "wasmtime_config_memory_guard_size_set": (None, (_P, _U64)),
    "wasmtime_config_max_wasm_stack_set": (None, (_P, _SIZE)),
    "wasmtime_config_async_stack_size_set": (None, (_P, _SIZE)),
    "wasmtime_module_serialize": (_P, (_P, _P)),
    "wasmtime_module_deserialize": (_P, (_P, _P, _SIZE, _P)),
    "wasmtime_module_delete": (None, (_P,)),
    "wasmtime_linker_new": (_P, (_P,)),
    "wasmtime_linker_delete": (None, (_P,)),
    "wasmtime_linker_define_async_func": (
        _P,
        (_P, ctypes.c_char_p, _SIZE, ctypes.c_char_p, _SIZE, _P, SyscallCallback, _P, _P),
    ),
    "wasmtime_linker_instantiate_pre": (_P, (_P, _P, _P)),
    "wasmtime_instance_pre_instantiate_async": (_P, (_P, _P, _P, _P, _P)),
    "wasmtime_instance_pre_delete": (None, (_P,)),
    "wasmtime_instance_export_get": (_BOOL, (_P, _P, ctypes.c_char_p, _SIZE, _P)),
    "wasmtime_store_new": (_P, (_P, _P, _P)),
    "wasmtime_store_context": (_P, (_P,)),
    "wasmtime_store_limiter": (None, (_P, _I64, _I64, _I64, _I64, _I64)),
    "wasmtime_store_delete": (None, (_P,)),
    "wasmtime_context_set_fuel": (_P, (_P, _U64)),
    "wasmtime_context_get_fuel": (_P, (_P, _P)),
    "wasmtime_context_fuel_async_yield_interval": (_P, (_P, _U64)),
    "wasmtime_memory_data": (_P, (_P, _P)),
    "wasmtime_memory_data_size": (_SIZE, (_P, _P)),
    "wasmtime_memory_grow": (_P, (_P, _P, _U64, _P)),
    "wasmtime_global_get": (None, (_P, _P, _P)),
    "wasmtime_global_set": (_P, (_P, _P, _P)),
    "wasmtime_func_call_async": (_P, (_P, _P, _P, _SIZE, _P, _SIZE, _P, _P)),
    "wasmtime_call_future_poll": (_BOOL, (_P,)),
    "wasmtime_call_future_delete": (None, (_P,)),
    "wasmtime_trap_code": (_BOOL, (_P, _P)),
    "wasmtime_error_message": (None, (_P, _P)),
    "wasmtime_error_delete": (None, (_P,)),
}
COMPONENT_DECLARED: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "wasm_byte_vec_new": (None, (_P, _SIZE, _P)),
    "wasmtime_config_concurrency_support_set": (None, (_P, _BOOL)),
    "wasmtime_component_deserialize": (_P, (_P, _P, _SIZE, _P)),
    "wasmtime_component_serialize": (_P, (_P, _P)),
    "wasmtime_component_delete": (None, (_P,)),
    "wasmtime_component_type": (_P, (_P,)),
    "wasmtime_component_type_delete": (None, (_P,)),
    "wasmtime_component_type_import_count": (_SIZE, (_P, _P)),
    "wasmtime_component_type_import_nth": (_BOOL, (_P, _P, _SIZE, _P, _P, _P)),
    "wasmtime_component_type_export_get": (_BOOL, (_P, _P, ctypes.c_char_p, _SIZE, _P)),
    "wasmtime_component_instance_type_export_count": (_SIZE, (_P, _P)),
    "wasmtime_component_instance_type_export_nth": (_BOOL, (_P, _P, _SIZE, _P, _P, _P)),
    "wasmtime_component_extern_type": (None, (_P, _P)),
    "wasmtime_component_extern_delete": (None, (_P,)),
    "wasmtime_component_item_delete": (None, (_P,)),
    "wasmtime_component_func_type_async": (_BOOL, (_P,)),
    "wasmtime_component_func_type_param_count": (_SIZE, (_P,)),
    "wasmtime_component_func_type_param_nth": (_BOOL, (_P, _SIZE, _P, _P, _P)),
    "wasmtime_component_func_type_result": (_BOOL, (_P, _P)),
    "wasmtime_component_valtype_delete": (None, (_P,)),
    "wasmtime_component_list_type_element": (None, (_P, _P)),
    "wasmtime_component_record_type_field_count": (_SIZE, (_P,)),
    "wasmtime_component_record_type_field_nth": (_BOOL, (_P, _SIZE, _P, _P, _P)),
    "wasmtime_component_tuple_type_types_count": (_SIZE, (_P,)),
    "wasmtime_component_tuple_type_types_nth": (_BOOL, (_P, _SIZE, _P)),
    "wasmtime_component_option_type_ty": (None, (_P, _P)),
    "wasmtime_component_result_type_ok": (_BOOL, (_P, _P)),
    "wasmtime_component_result_type_err": (_BOOL, (_P, _P)),
    "wasmtime_component_linker_new": (_P, (_P,)),
    "wasmtime_component_linker_delete": (None, (_P,)),
    "wasmtime_component_linker_root": (_P, (_P,)),
    "wasmtime_component_linker_instance_add_instance": (_P, (_P, ctypes.c_char_p, _SIZE, _P)),
    "wasmtime_component_linker_instance_add_func_async": (
        _P,
        (_P, ctypes.c_char_p, _SIZE, ComponentCallback, _P, _P),
    ),
    "wasmtime_component_linker_instance_add_resource": (
        _P,
        (_P, ctypes.c_char_p, _SIZE, _P, ResourceDestructor, _P, _P),
    ),
    "wasmtime_component_linker_instance_delete": (None, (_P,)),
    "wasmtime_component_linker_instantiate_async": (_P, (_P, _P, _P, _P, _P)),
    "wasmtime_component_get_export_index": (_P, (_P, _P, ctypes.c_char_p, _SIZE)),
    "wasmtime_component_export_index_delete": (None, (_P,)),
    "wasmtime_component_instance_get_func": (_BOOL, (_P, _P, _P, _P)),
    "wasmtime_component_func_call_async": (_P, (_P, _P, _P, _SIZE, _P, _SIZE, _P)),
    "wasmtime_component_resource_type_new_host": (_P, (ctypes.c_uint32,)),
    "wasmtime_component_resource_type_delete": (None, (_P,)),
    "wasmtime_component_resource_host_new": (_P, (_BOOL, ctypes.c_uint32, ctypes.c_uint32)),
    "wasmtime_component_resource_host_delete": (None, (_P,)),
    "wasmtime_component_resource_host_rep": (ctypes.c_uint32, (_P,)),
    "wasmtime_component_resource_host_type": (ctypes.c_uint32, (_P,)),
    "wasmtime_component_resource_any_to_host": (_P, (_P, _P, _P)),
    "wasmtime_component_resource_host_to_any": (_P, (_P, _P, _P)),
    "wasmtime_component_val_new": (_P, (_P,)),
    "wasmtime_component_val_delete": (None, (_P,)),
    "wasmtime_component_vallist_new_uninit": (None, (_P, _SIZE)),
    "wasmtime_component_valrecord_new_uninit": (None, (_P, _SIZE)),
    "wasmtime_component_valtuple_new_uninit": (None, (_P, _SIZE)),
}
"""What components need beside `DECLARED`: see `sandbox.component`."""
_LONG: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "wasmtime_module_deserialize": (_P, (_P, _P, _SIZE, _P)),
    "wasmtime_module_new": (_P, (_P, _P, _SIZE, _P)),
    "wasmtime_call_future_poll": (_BOOL, (_P,)),
    "wasmtime_component_new": (_P, (_P, _P, _SIZE, _P)),
    "wasmtime_component_deserialize": (_P, (_P, _P, _SIZE, _P)),
}


class Library:
    """The C functions, resolved. Make one with `open_library`.

    Attributes:
        poll_short: `wasmtime_call_future_poll` that keeps the interpreter lock.
        poll_long: the same, releasing it.
        memmove: libc's, keeping the lock; the source may be bytes or an address.
        strlen_address: address of libc's `strlen`, see `sandbox.cell` for its use.
    """

    def __init__(self, dll: ctypes.CDLL, libc: ctypes.CDLL) -> None:
        declared = DECLARED | COMPONENT_DECLARED
        short = {name: _bind(ctypes.PYFUNCTYPE, dll, name, *declared[name]) for name in declared}
        long = {name: _bind(ctypes.CFUNCTYPE, dll, name, *_LONG[name]) for name in _LONG}
        self.by_name: dict[str, CFunction] = short
        self.module_new: CFunction = long["wasmtime_module_new"]
        self.component_new: CFunction = long["wasmtime_component_new"]
        self.component_deserialize: CFunction = long["wasmtime_component_deserialize"]
        self.module_deserialize: CFunction = long["wasmtime_module_deserialize"]
        self.poll_long: CFunction = long["wasmtime_call_future_poll"]
        self.poll_short: CFunction = short["wasmtime_call_future_poll"]
        self.future_delete: CFunction = short["wasmtime_call_future_delete"]
        self.func_call_async: CFunction = short["wasmtime_func_call_async"]
        self.set_fuel: CFunction = short["wasmtime_context_set_fuel"]
        self.get_fuel: CFunction = short["wasmtime_context_get_fuel"]
        self.yield_interval: CFunction = short["wasmtime_context_fuel_async_yield_interval"]
        self.memory_data: CFunction = short["wasmtime_memory_data"]
        self.memory_size: CFunction = short["wasmtime_memory_data_size"]
        self.memory_grow: CFunction = short["wasmtime_memory_grow"]
        self.global_get: CFunction = short["wasmtime_global_get"]
        self.global_set: CFunction = short["wasmtime_global_set"]
        self.store_new: CFunction = short["wasmtime_store_new"]
        self.store_context: CFunction = short["wasmtime_store_context"]
        self.store_limiter: CFunction = short["wasmtime_store_limiter"]
        self.store_delete: CFunction = short["wasmtime_store_delete"]
        self.instantiate: CFunction = short["wasmtime_instance_pre_instantiate_async"]
        self.export_get: CFunction = short["wasmtime_instance_export_get"]
        self.memmove: CFunction = _bind(ctypes.PYFUNCTYPE, libc, "memmove", None, (_P, _P, _SIZE))
        self.strlen_address: int = _address_of(libc, "strlen")

    def take_error(self, error: int | None) -> str | None:
        """Returns the text of a `wasmtime_error_t*` and frees it; None when there is none."""
        if not error:
            return None
        vector = (_U64 * 2)()
        self.by_name["wasmtime_error_message"](error, ctypes.addressof(vector))
        text = ctypes.string_at(vector[1], vector[0]).decode("utf-8", "replace")
        self.by_name["wasm_byte_vec_delete"](ctypes.addressof(vector))
        self.by_name["wasmtime_error_delete"](error)
        return text

    def take_trap(self, trap: int) -> tuple[int, str]:
        """Returns (code, name) of a `wasm_trap_t*` and frees it; code -1 when it has none."""
        code = ctypes.c_uint8(0)
        has_code = self.by_name["wasmtime_trap_code"](trap, ctypes.addressof(code))
        self.by_name["wasm_trap_delete"](trap)
        if not has_code:
            return -1, "trap without a code"
        if code.value < len(TRAP_NAMES):
            return code.value, TRAP_NAMES[code.value]
        if code.value == TRAP_UNCAUGHT_EXCEPTION:
            return code.value, "uncaught exception"
        return code.value, f"trap {code.value}"


def _bind(kind: Any, dll: ctypes.CDLL, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
    """Returns `name` of `dll` bound with `kind` (PYFUNCTYPE keeps the lock, CFUNCTYPE not)."""
    try:
        return kind(result, *arguments)((name, dll))
    except AttributeError:
        raise ConfigError(
            f"the library {dll._name} has no function {name}; "  # pyright: ignore[reportPrivateUsage]
            f"install wasmtime=={WASMTIME_VERSION}",
            key=name,
        ) from None


def _address_of(dll: ctypes.CDLL, name: str) -> int:
    return cast("int", ctypes.cast(getattr(dll, name), _P).value)


def find_library_path() -> Path:
    """Returns where the `wasmtime` package keeps its shared library, without importing it.

    Raises:
        ConfigError: the package is absent, has another version, or none for this machine.
    """
    try:
        version = importlib.metadata.version("wasmtime")
    except importlib.metadata.PackageNotFoundError:
        version = "none"
    spec = importlib.util.find_spec("wasmtime")
    if version != WASMTIME_VERSION or spec is None or spec.origin is None:
        raise ConfigError(
            f"the sandbox needs wasmtime {WASMTIME_VERSION} exactly; found {version}; "
            f"install wasmtime=={WASMTIME_VERSION}",
            key="wasmtime",
        )
    machine = {"AMD64": "x86_64", "arm64": "aarch64", "ARM64": "aarch64"}.get(
        platform.machine(), platform.machine()
    )
    name = {"linux": "_libwasmtime.so", "darwin": "_libwasmtime.dylib"}.get(sys.platform)
    path = Path(spec.origin).parent / f"{sys.platform}-{machine}" / (name or "")
    if name is None or not path.is_file() or sys.byteorder != "little":
        raise ConfigError(
            f"the sandbox runs on Linux and macOS, x86-64 and arm64; found {sys.platform} on "
            f"{platform.machine()}",
            key="wasmtime",
        )
    return path


def open_library() -> Library:
    """Returns the C functions, all of them checked.

    Raises:
        ConfigError: no such library, another version, a symbol is missing, or a Python whose
            check of its own C stack has not been shown to pass on a fibre's stack.
    """
    if sys.version_info >= PYTHON_TOO_NEW:
        raise ConfigError(
            f"the sandbox runs on Python before {'.'.join(map(str, PYTHON_TOO_NEW))}; "
            f"found {sys.version_info[0]}.{sys.version_info[1]}",
            key="python",
        )
    path = find_library_path()
    try:
        dll = ctypes.CDLL(str(path))
    except OSError as error:
        raise ConfigError(f"cannot open {path.name}: {error}", key="wasmtime") from None
    return Library(dll, ctypes.CDLL(None))

"""How does foreign WebAssembly become machine code without the node's memory at risk?

This file is a program of its own: `sandbox.core.compiling` starts it by its path, one process for
each module, with `python -I -S`. It imports the standard library alone, so it starts in 25 ms. It
bounds itself first, then reads the module from its standard input, compiles it and writes what
wasmtime serializes to its standard output. Both are plain files, so nobody waits for a pipe.

    compile_child.py LIBRARY KIND CONFIGURATION CPU_S ADDRESS_SPACE_BYTES OUTPUT_BYTES SCAN \
        NODE_PID

LIBRARY is wasmtime's shared library, KIND `module` or `component`, CONFIGURATION `key=value;...`
as `wasmtime_config_<key>_set` takes them, SCAN 1 to write one more byte at the end (see `scan`),
NODE_PID the process whose end is this one's: were it gone already, nobody would ever say so.
Exit status: 0 done; 3 the module is refused, the reason stands on the standard error; all else is
a death, by a bound or a bug of the compiler.

Invariant: what is compiled never runs here.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

EXIT_REFUSED = 3
EXIT_ORPHANED = 70
ERROR_BYTES_MAX = 4000
NICENESS = 10
"""A compilation has time; runs have not."""
_PR_SET_PDEATHSIG = 1
_STDOUT = 1

_P = ctypes.c_void_p
_SIZE = ctypes.c_size_t
_CONSTRUCTORS = {"module": "wasmtime_module_new", "component": "wasmtime_component_new"}
_SERIALIZERS = {"module": "wasmtime_module_serialize", "component": "wasmtime_component_serialize"}


def bind_life(node_pid: int) -> None:
    """Makes the node's end the end of what is compiled for it; ends now if the node has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != node_pid:
        os._exit(EXIT_ORPHANED)


def bound_self(cpu_s: int, address_space_bytes: int, output_bytes: int) -> None:
    """Sets this process's limits; beyond one it dies or gets an error."""
    bounds = (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, address_space_bytes),
        (resource.RLIMIT_FSIZE, output_bytes),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, bound in bounds:
        # An operator's own, lower limit stays; some systems know no limit of address space.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (bound, bound))
    os.nice(NICENESS)
    if sys.platform == "linux":
        # Where memory runs out, this process goes first.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")


def _function(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    return ctypes.CFUNCTYPE(result, *arguments)((name, library))


def refuse(text: str) -> None:
    """Writes the reason to the standard error and ends."""
    sys.stderr.write(text[:ERROR_BYTES_MAX])
    sys.stderr.flush()
    os._exit(EXIT_REFUSED)


def make_engine(library: ctypes.CDLL, configuration: str) -> int:
    """Returns a `wasm_engine_t*` for `key=value;...`; values are True, False or whole numbers."""
    config = _function(library, "wasm_config_new", _P)()
    for item in filter(None, configuration.split(";")):
        key, value = item.split("=")
        is_flag = value in {"True", "False"}
        kind = ctypes.c_bool if is_flag else ctypes.c_uint64
        set_value = _function(library, f"wasmtime_config_{key}_set", None, _P, kind)
        set_value(config, value == "True" if is_flag else int(value))
    engine = _function(library, "wasm_engine_new_with_config", _P, _P)(config)
    if not engine:
        refuse("wasmtime refused the engine configuration")
    return engine


def compile_bytes(library: ctypes.CDLL, engine: int, kind: str, wasm: bytes) -> memoryview:
    """Returns serialized machine code; ends the process where wasmtime refuses the module."""
    made = ctypes.c_uint64(0)
    construct = _function(library, _CONSTRUCTORS[kind], _P, _P, ctypes.c_char_p, _SIZE, _P)
    _check(library, construct(engine, wasm, len(wasm), ctypes.addressof(made)))
    vector = (ctypes.c_uint64 * 2)()
    serialize = _function(library, _SERIALIZERS[kind], _P, _P, _P)
    _check(library, serialize(made.value, ctypes.addressof(vector)))
    return memoryview((ctypes.c_char * vector[0]).from_address(vector[1]))


def _check(library: ctypes.CDLL, error: int | None) -> None:
    """Ends the process with the text of a `wasmtime_error_t*`, where there is one."""
    if error:
        vector = (ctypes.c_uint64 * 2)()
        tell = _function(library, "wasmtime_error_message", None, _P, _P)
        tell(error, ctypes.addressof(vector))
        refuse(ctypes.string_at(vector[1], vector[0]).decode("utf-8", "replace"))


def _scan(wasm: bytes) -> bytes:
    """Returns the byte that `scan.py`, the file beside this one, has for the module."""
    path = Path(__file__).with_name("scan.py")
    spec = importlib.util.spec_from_file_location("scan", path)
    assert spec is not None
    assert spec.loader is not None
    scan = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scan)
    return bytes((scan.is_restorable(wasm),))


def _write(data: memoryview | bytes) -> None:
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(_STDOUT, view) :]


def main(arguments: list[str]) -> None:
    """Compiles the standard input; see the module's header."""
    path, kind, configuration, cpu_s, address_space_bytes, output_bytes, scan, node_pid = arguments
    bind_life(int(node_pid))
    bound_self(int(cpu_s), int(address_space_bytes), int(output_bytes))
    library = ctypes.CDLL(path)
    wasm = sys.stdin.buffer.read()
    _write(compile_bytes(library, make_engine(library, configuration), kind, wasm))
    if scan == "1":
        _write(_scan(wasm))
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Which wasmtime do components run on, and how many parts may one have?

The settings are those of strangers' core modules (`sandbox.core.configuration`) but for four
things. The component model is on, without its asynchronous half. Initial memories are mapped
copy-on-write: a component made of CPython begins with 20 MB of them, and copying that for each run
would take longer than the run (1.0 ms for the whole instance against 9 ms). Native stacks are
larger, since interpreters recurse. Memories have more room to grow in place.
"""

from __future__ import annotations

from typing import Final

from lithox.sandbox.core.configuration import CONFIGURATION as CORE

WASM_STACK_BYTES: Final = 1 << 20
FIBRE_STACK_BYTES: Final = WASM_STACK_BYTES + (512 << 10)
"""What is left above the guest's own part serves the host call, Python's frames included."""

CONFIGURATION: Final[dict[str, bool | int]] = CORE | {
    "wasm_component_model": True,
    "concurrency_support": False,
    "memory_init_cow": True,
    "max_wasm_stack": WASM_STACK_BYTES,
    "async_stack_size": FIBRE_STACK_BYTES,
    "memory_reservation_for_growth": 64 << 20,
}
"""`wasmtime_config_<key>_set`; part of the cache key, since code made with others does not load."""

INSTANCES_MAX: Final = 256
"""Core instances of one component; what `componentize-py` makes has some 60."""
TABLES_MAX: Final = 16
TABLE_ELEMENTS_MAX: Final = 65_536
"""Entries of one table; all tables of a component take at most 16 MB. CPython's has 11,000."""
MEMORIES_MAX: Final = 4
"""Memories of one component. They share the limit of the run equally, since wasmtime bounds each
alone; most components have one."""
IMPORTS_MAX: Final = 64
"""Interfaces a component may import; all of WASI 0.2 are 30."""
FUNCTIONS_MAX: Final = 512
"""Functions it may import, all interfaces together; WASI's 30 interfaces have 220."""
PARTS_MAX: Final = 1024
"""Functions, types and resources of one interface it may import; WASI's largest has 50."""

"""Which wasmtime does code of anybody run on?

The settings are those of the interpreters' engine (`sandbox.wasm`) but for what only trusted code
may have. An interpreter needs exceptions, for `longjmp`; a stranger's module does not get them: an
exception lives on a heap of the store that no limit of ours counts, and a module could keep as many
as it likes. Several memories would each want a bound and an image of its own, pages of other sizes
another arithmetic. References and bulk memory stay: compilers use them without being asked.
"""

from __future__ import annotations

from typing import Final

from lithox.sandbox.wasm import CONFIGURATION as TRUSTED

CONFIGURATION: Final[dict[str, bool | int]] = TRUSTED | {
    "wasm_exceptions": False,
    "wasm_gc": False,
    "wasm_function_references": False,
    "wasm_multi_memory": False,
    "wasm_custom_page_sizes": False,
}
"""`wasmtime_config_<key>_set`; part of the cache key, since code made with others does not load."""

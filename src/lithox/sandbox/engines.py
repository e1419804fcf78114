"""Which engines does this node have?

The list of languages that are ready, each with its interpreter. Handlers and programs are
different guests: a handler's sees one entity's state, a program's sees contexts and events. The
node room calls `open_engines` once at start.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from lithox.sandbox.allowance import JAVASCRIPT_ALLOWANCE, LUA_ALLOWANCE
from lithox.sandbox.contract import Engine
from lithox.sandbox.engine import EngineOptions, WasmEngine
from lithox.sandbox.lazy import LazyEngine
from lithox.sandbox.mappings import MappingBudget
from lithox.sandbox.python.engine import PYTHON, PythonEngine
from lithox.sandbox.wasm_engine import WebAssemblyEngine

LUA: Final = "lua"
JAVASCRIPT: Final = "javascript"
WASM: Final = "wasm"
GUESTS_PATH: Final = Path(__file__).parent / "guests"
"""Built by `guests/build.py`; the wheel ships them."""
LUA_WASM_PATH: Final = GUESTS_PATH / "lua54.wasm"
JAVASCRIPT_WASM_PATH: Final = GUESTS_PATH / "javascript.wasm"
JAVASCRIPT_STACK_BYTES: Final = 4 << 20
"""Native stack of JavaScript's guest. Its own limit, 160 kB of the stack in its memory, must bite
first: the kinds of recursion that use little of that one (JSON of brackets alone, proxies behind
proxies) take up to 3 MB here. Pages nobody touches cost nothing."""
PROGRAM_WASM_PATHS: Final = {
    f"lua-program-{version}": GUESTS_PATH / f"program{version.replace('.', '')}.wasm"
    for version in ("5.1", "5.2", "5.3", "5.4", "5.5")
}
"""Interpreters of programs by the engine's name."""


def open_engines(cache_dir: Path) -> dict[str, Engine]:
    """Returns every language of this node by its name.

    Handlers' Lua is opened now; those of programs are opened when a program is first loaded.

    Args:
        cache_dir: where compiled modules are kept; safe to delete.

    Raises:
        ConfigError: the wrong wasmtime, or an interpreter that is missing or does not fit.

    Blocks: about a second without a cache entry, 20 ms with one.
    """
    mappings = MappingBudget()
    wasm = WebAssemblyEngine(language=WASM, cache_dir=cache_dir, mappings=mappings)
    engines: dict[str, Engine] = {
        LUA: WasmEngine(
            language=LUA,
            wasm_path=LUA_WASM_PATH,
            cache_dir=cache_dir,
            options=EngineOptions(mappings=mappings, allowance=LUA_ALLOWANCE),
        ),
        WASM: wasm,
    }
    for language, wasm_path in PROGRAM_WASM_PATHS.items():
        open_engine = partial(
            WasmEngine,
            language=language,
            wasm_path=wasm_path,
            cache_dir=cache_dir,
            options=EngineOptions(mappings=mappings, has_preludes=True),
        )
        engines[language] = LazyEngine(language, open_engine)
    open_javascript = partial(
        WasmEngine,
        language=JAVASCRIPT,
        wasm_path=JAVASCRIPT_WASM_PATH,
        cache_dir=cache_dir,
        options=EngineOptions(
            mappings=mappings,
            wasm_stack_bytes=JAVASCRIPT_STACK_BYTES,
            allowance=JAVASCRIPT_ALLOWANCE,
        ),
    )
    engines[JAVASCRIPT] = LazyEngine(JAVASCRIPT, open_javascript)
    engines[PYTHON] = LazyEngine(PYTHON, partial(PythonEngine, cache_dir))
    return engines

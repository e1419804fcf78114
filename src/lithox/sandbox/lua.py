"""Which engines does this node have?

The list of languages that are ready, each with its interpreter. The node room calls
`open_engines` once at start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lithox.sandbox.contract import Engine
from lithox.sandbox.engine import EngineOptions, WasmEngine
from lithox.sandbox.mappings import MappingBudget

LUA: Final = "lua"
LUA_WASM_PATH: Final = Path(__file__).parent / "guests" / "lua54.wasm"
"""Built by `guests/build.py`; the wheel ships it."""


def open_engines(cache_dir: Path) -> dict[str, Engine]:
    """Returns every language of this node by its name.

    Args:
        cache_dir: where compiled modules are kept; safe to delete.

    Raises:
        ConfigError: the wrong wasmtime, or an interpreter that is missing or does not fit.

    Blocks: about a second without a cache entry, 20 ms with one.
    """
    mappings = MappingBudget()
    lua = WasmEngine(
        language=LUA,
        wasm_path=LUA_WASM_PATH,
        cache_dir=cache_dir,
        options=EngineOptions(mappings=mappings),
    )
    return {LUA: lua}

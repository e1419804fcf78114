"""One JavaScript engine for all tests of the folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lithox.sandbox.allowance import JAVASCRIPT_ALLOWANCE
from lithox.sandbox.engine import EngineOptions, WasmEngine
from lithox.sandbox.engines import JAVASCRIPT, JAVASCRIPT_STACK_BYTES, JAVASCRIPT_WASM_PATH
from tests import built_guests
from tests.conformance.javascript.driver import Javascript


@pytest.fixture(scope="session")
def js(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Javascript]:
    """The engine as a node opens it."""
    built_guests.require()
    engine = WasmEngine(
        language=JAVASCRIPT,
        wasm_path=JAVASCRIPT_WASM_PATH,
        cache_dir=tmp_path_factory.mktemp("cache"),
        options=EngineOptions(
            wasm_stack_bytes=JAVASCRIPT_STACK_BYTES, allowance=JAVASCRIPT_ALLOWANCE
        ),
    )
    yield Javascript(engine=engine)
    engine.close()

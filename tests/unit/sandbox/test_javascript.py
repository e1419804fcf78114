"""What the engine knows of JavaScript: its entry, its stack, how its parser's words are read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lithox.errors import CompileFailed
from lithox.sandbox.contract import Source
from lithox.sandbox.engine import _read_loaded
from lithox.sandbox.engines import JAVASCRIPT, JAVASCRIPT_STACK_BYTES, open_engines
from lithox.sandbox.lazy import LazyEngine
from lithox.sandbox.wasm import WASM_STACK_BYTES
from tests import built_guests

SOURCE = Source(language=JAVASCRIPT, name="m.js", text=b"let a = 1 let b", digest="d")


def test_node_that_uses_no_javascript_does_not_open_it(tmp_path: Path) -> None:
    """It stands in the list, and costs nothing before it is used."""
    built_guests.require()
    engines = open_engines(tmp_path)
    try:
        engine = engines[JAVASCRIPT]
        assert isinstance(engine, LazyEngine)
        assert not engine.is_open
    finally:
        for engine in engines.values():
            engine.close()


def test_native_stack_is_larger_than_that_of_lua() -> None:
    """QuickJS' limit counts the stack in memory; lean recursion takes 20 times it outside."""
    assert JAVASCRIPT_STACK_BYTES > WASM_STACK_BYTES
    assert JAVASCRIPT_STACK_BYTES >= 20 * (160 << 10)


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        (
            [1, "m.js:1:11: SyntaxError: expecting ';'", 1, "", 11],
            {"file": "m.js", "line": 1, "column": 11, "expected": ";"},
        ),
        (
            [1, "m.js:1:11: SyntaxError: expecting catch or finally", 1, "", 11],
            {"file": "m.js", "line": 1, "column": 11, "expected": "catch or finally"},
        ),
        ([1, "m.js: no place", None, "", None], {"file": "m.js"}),
        ([1, "m.js:1: no column", 1, "at", None], {"file": "m.js", "line": 1, "traceback": "at"}),
        (
            [1, "m.js:1: '=' expected near 'let'", 1, ""],
            {"file": "m.js", "line": 1, "expected": "="},
        ),
    ],
)
def test_place_and_expectation_become_fields(answer: list[object], fields: object) -> None:
    """A parser may tell the column itself; one that does not is answered for as before."""
    with pytest.raises(CompileFailed) as caught:
        _read_loaded(msgspec.msgpack.encode(answer), SOURCE)
    found = dict(caught.value.fields)
    if len(answer) == 4:
        found.pop("column", None)
    assert found == fields

"""Tests of `lithox.sandbox.lazy`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lithox.errors import ConfigError
from lithox.sandbox import engines as languages
from lithox.sandbox.engine import WasmEngine
from lithox.sandbox.lazy import LazyEngine
from tests import built_guests
from tests.unit.sandbox.conftest import LIMITS, make_source


def test_lazy_engine_is_opened_at_the_first_load(make_engine: Callable[..., WasmEngine]) -> None:
    """Looking for a program, asking for figures and closing open nothing."""
    opened: list[WasmEngine] = []

    def open_engine() -> WasmEngine:
        opened.append(make_engine())
        return opened[-1]

    engine = LazyEngine("stand_in", open_engine)
    source = make_source()
    assert engine.find(source.digest) is None
    assert engine.statistics() == {}
    assert (opened, engine.is_open) == ([], False)
    program = engine.load(source, LIMITS)
    engine.load(make_source(name="g"), LIMITS)
    assert (len(opened), engine.is_open) == (1, True)
    assert engine.find(source.digest) is program
    assert engine.statistics() == opened[0].statistics()


def test_lazy_engine_closed_before_use_opens_nothing() -> None:
    """A node that ran no program has nothing to close."""

    def fail() -> WasmEngine:
        raise AssertionError("opened")

    engine = LazyEngine("stand_in", fail)
    engine.close()
    engine.close()
    assert not engine.is_open


def test_lazy_engine_closes_what_it_opened(wasm_path: Path, cache_dir: Path) -> None:
    """Closing reaches the engine, once."""
    engine = LazyEngine(
        "stand_in",
        lambda: WasmEngine(language="stand_in", wasm_path=wasm_path, cache_dir=cache_dir),
    )
    engine.load(make_source(), LIMITS)
    engine.close()
    engine.close()
    assert not engine.is_open


def test_lazy_engine_that_cannot_be_opened_says_so_at_each_load(tmp_path: Path) -> None:
    """A missing interpreter is an error of the load that needs it, and stays one."""
    engine = LazyEngine(
        "x",
        lambda: WasmEngine(language="x", wasm_path=tmp_path / "x.wasm", cache_dir=tmp_path),
    )
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"the x guest x\.wasm cannot be read"):
            engine.load(make_source(), LIMITS)


def test_node_opens_programs_engines_lazily(tmp_path: Path) -> None:
    """Handlers' Lua is ready at once; each version for programs waits until it is needed."""
    built_guests.require()
    engines = languages.open_engines(tmp_path)
    try:
        programs = {f"lua-program-{version}" for version in ("5.1", "5.2", "5.3", "5.4", "5.5")}
        assert {"lua", *programs} <= set(engines)
        assert all(name == engine.language for name, engine in engines.items())
        lazy = {name: engine for name, engine in engines.items() if isinstance(engine, LazyEngine)}
        assert programs <= set(lazy)
        assert not any(engine.is_open for engine in lazy.values())
    finally:
        for engine in engines.values():
            engine.close()

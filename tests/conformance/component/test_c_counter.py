"""A component whose core module is C, built with the zig everything else here is built with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lithox.sandbox.component.engine import ComponentEngine
from tests.conformance.component.conftest import LIMITS, drive, make_run, make_source
from tests.wat_components import make_component

SOURCE = Path(__file__).with_name("counter.c")


@pytest.fixture(scope="module")
def wasm(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The counter as a component."""
    made = tmp_path_factory.mktemp("counter") / "counter.wasm"
    command = [
        *(sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding", "-nostdlib"),
        *("-O2", "-Wall", "-Werror", "-Wl,--no-entry", "-Wl,--import-memory", "-Wl,-z"),
        *("-Wl,stack-size=16384", str(SOURCE), "-o", str(made)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return make_component(made.read_bytes(), imports=("get", "put"), pages=2)


def test_c_counter_counts(engine: ComponentEngine, wasm: bytes) -> None:
    """It gets, adds and puts; a key the node has is asked for."""
    program = engine.load(make_source(wasm), LIMITS)
    assert program.handler_names == ("increment",)
    assert drive(program, make_run("increment")).outcome == [0, 1, ["count"], [], {"count": 1}]
    ran = drive(program, make_run("increment", 5, state={"count": 37}))
    assert ran.outcome == [0, 42, ["count"], [], {"count": 42}]


def test_c_counter_fits_into_little_memory(engine: ComponentEngine, wasm: bytes) -> None:
    """A small component needs no more than it says."""
    program = engine.load(make_source(wasm), LIMITS)
    assert program.memory_bytes <= 2 * 65_536
    assert program.code_bytes < 200_000

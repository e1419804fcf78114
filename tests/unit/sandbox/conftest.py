"""An engine over the hand-written guest, and a way to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lithox.model.limits import Limits
from lithox.sandbox.contract import Source, Step, StepKind
from lithox.sandbox.engine import EngineOptions, WasmEngine, WasmProgram
from lithox.sandbox.guest import WasmGuest
from tests.unit.sandbox import stand_in

LIMITS = Limits(fuel=1_000_000, memory_bytes=1 << 20, calls=1000)
QUANTUM_FUEL = 100_000


def make_source(text: bytes = b"", *, name: str = "f", language: str = "stand_in") -> Source:
    """Returns source whose digest is its text."""
    return Source(language=language, name=name, text=text, digest=f"{name}:{text.hex()}")


@pytest.fixture(scope="session")
def wasm_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in as a binary module."""
    return stand_in.write_wasm(tmp_path_factory.mktemp("wasm"))


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all engines, so that the stand-in is compiled once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_engine(wasm_path: Path, cache_dir: Path) -> Iterator[Callable[..., WasmEngine]]:
    """Makes engines over the stand-in and closes them."""
    engines: list[WasmEngine] = []

    def make(options: EngineOptions | None = None) -> WasmEngine:
        engine = WasmEngine(
            language="stand_in", wasm_path=wasm_path, cache_dir=cache_dir, options=options
        )
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(make_engine: Callable[..., WasmEngine]) -> WasmEngine:
    """An engine as a node has it."""
    return make_engine()


@pytest.fixture
def program(engine: WasmEngine) -> WasmProgram:
    """The stand-in, loaded."""
    return engine.load(make_source(), LIMITS)


@pytest.fixture
def run(program: WasmProgram) -> Callable[..., tuple[Step, WasmGuest]]:
    """Runs one message to its end and returns (last step, closed guest)."""

    def run_message(
        message: bytes,
        *,
        limits: Limits = LIMITS,
        quantum_fuel: int = QUANTUM_FUEL,
        answer: bytes = b"answer",
        frees_lock: bool = False,
    ) -> tuple[Step, WasmGuest]:
        guest = program.start(message, limits)
        try:
            while True:
                step = guest.step(quantum_fuel, frees_lock=frees_lock)
                if step.kind is StepKind.ASKED:
                    guest.answer(answer)
                elif step.kind is not StepKind.YIELDED:
                    return step, guest
        finally:
            guest.close()

    return run_message

"""An engine of components, and a way to run what is made of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from lithox.model.limits import Limits
from lithox.sandbox import messages
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.component.engine import ComponentEngine
from lithox.sandbox.component.program import ComponentProgram
from lithox.sandbox.contract import Source, Step, StepKind
from lithox.sandbox.mappings import MappingBudget
from tests.wat_components import make_component

LIMITS = Limits(fuel=50_000_000, memory_bytes=8 << 20, calls=100)
QUANTUM_FUEL = 400_000
SLICES_MAX = 10_000

Answer = Callable[[list[Any]], bytes]
"""Answers a system call, decoded, with a message."""


def raw(value: Any) -> msgspec.Raw:
    """Returns a value as MessagePack."""
    return msgspec.Raw(msgspec.msgpack.encode(value))


def make_run(handler: str = "run", *args: Any, **fields: Any) -> bytes:
    """Returns a run message; `state` is a map of values, `complete` as in the message."""
    state = {key: raw(value) for key, value in fields.pop("state", {}).items()}
    defaults: dict[str, Any] = dict(
        zip(
            ("entity", "caller", "request_id", "attempt", "now_ms", "seed", "complete"),
            ("e/1", "me", None, 1, 1_700_000_000_000, 7, True),
            strict=True,
        )
    )
    return messages.encode_run(
        messages.RunMessage(handler=handler, args=raw(list(args)), state=state, **defaults | fields)
    )


@dataclass(slots=True, kw_only=True)
class Ran:
    """What a run came to.

    Attributes:
        step: the last one.
        asked: the system calls it made, decoded.
        fuel: what it burned.
        slices: how many steps there were.
    """

    step: Step
    asked: list[list[Any]] = field(default_factory=list[list[Any]])
    fuel: int = 0
    slices: int = 0

    @property
    def outcome(self) -> list[Any]:
        """The outcome message, decoded."""
        assert self.step.kind is StepKind.FINISHED, self.step
        return msgspec.msgpack.decode(self.step.data)

    @property
    def value(self) -> Any:
        """What the handler returned."""
        kind, value, *_ = self.outcome
        assert kind == messages.OUTCOME_RETURNED, self.outcome
        return value


def drive(
    program: ComponentProgram,
    message: bytes,
    *,
    limits: Limits = LIMITS,
    answer: Answer | None = None,
    quantum_fuel: int = QUANTUM_FUEL,
) -> Ran:
    """Runs a handler to its end; each system call is answered by `answer`, else by nil."""
    guest = program.start(message, limits)
    ran = Ran(step=Step(StepKind.YIELDED))
    try:
        while ran.step.kind in {StepKind.YIELDED, StepKind.ASKED}:
            assert ran.slices < SLICES_MAX
            ran.step = guest.step(quantum_fuel, frees_lock=False)
            ran.slices += 1
            if ran.step.kind is StepKind.ASKED:
                call = msgspec.msgpack.decode(ran.step.data)
                ran.asked.append(call)
                guest.answer(answer(call) if answer else messages.encode_answer(None))
        ran.fuel = guest.fuel_used
    finally:
        guest.close()
    return ran


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> ModuleCache:
    """One cache, so that each component is compiled once."""
    return ModuleCache(tmp_path_factory.mktemp("components"))


@pytest.fixture(scope="session")
def engine(cache: ModuleCache) -> Iterator[ComponentEngine]:
    """One engine for all tests of a process; no test leaves a guest."""
    engine = ComponentEngine(language="wasm", cache=cache, mappings=MappingBudget())
    yield engine
    assert engine.statistics()["live_guests"] == 0
    engine.close()


def make_source(wasm: bytes, *, name: str = "app.wasm") -> Source:
    """Returns the source of a component; its digest is its bytes."""
    return Source(language="wasm", name=name, text=wasm, digest=f"{hash(wasm)}")


@pytest.fixture
def load(engine: ComponentEngine) -> Callable[..., ComponentProgram]:
    """Loads a component made of the fields of a core module; see `tests.wat_components`."""

    def load_fields(main: str | bytes, **plan: Any) -> ComponentProgram:
        return engine.load(make_source(make_component(main, **plan)), LIMITS)

    return load_fields

"""The engine of each language over its real guest, and a way to run a handler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from lithox.model.limits import Limits
from lithox.sandbox import engines as languages
from lithox.sandbox.contract import Engine, Program, Source, Step, StepKind
from lithox.sandbox.messages import (
    ErrorMessage,
    RunMessage,
    decode_error,
    decode_outcome,
    encode_answer,
    encode_run,
)
from tests import built_guests

LIMITS = Limits(fuel=50_000_000, memory_bytes=8 << 20, calls=10_000)
QUANTUM_FUEL = 50_000


def make_run(handler: str, *args: Any, seed: int = 1, complete: bool = True) -> bytes:
    """Returns the message of a run on an empty state."""
    return encode_run(
        RunMessage(
            handler=handler,
            args=msgspec.Raw(msgspec.msgpack.encode(list(args))),
            entity="test/one",
            caller="tester",
            request_id=None,
            attempt=1,
            now_ms=1_790_000_000_000,
            seed=seed,
            state={},
            complete=complete,
        )
    )


class Ran(NamedTuple):
    """What a run came to.

    Attributes:
        step: the last one.
        value: what the handler returned, None when it did not.
        error: what it raised, None when it did not.
    """

    step: Step
    value: Any
    error: ErrorMessage | None
    fuel_used: int
    memory_bytes: int
    yields: int
    asked: int


@pytest.fixture(scope="session")
def lua_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The Lua engine as a node opens it."""
    built_guests.require()
    engines = languages.open_engines(tmp_path_factory.mktemp("compiled"))
    yield engines["lua"]
    for engine in engines.values():
        engine.close()


@pytest.fixture
def load(lua_engine: Engine) -> Callable[[str], Program]:
    """Loads Lua source, once for each text."""

    def load_text(text: str, name: str = "m.lua", limits: Limits = LIMITS) -> Program:
        source = Source(language="lua", name=name, text=text.encode(), digest=name + text)
        return lua_engine.load(source, limits)

    return load_text


@pytest.fixture
def run(load: Callable[[str], Program]) -> Callable[..., Ran]:
    """Runs the body of a Lua function `go(self, ...)` to its end."""

    def run_body(
        body: str,
        *args: Any,
        limits: Limits = LIMITS,
        quantum_fuel: int = QUANTUM_FUEL,
        frees_lock: bool = False,
        seed: int = 1,
    ) -> Ran:
        program = load(f"local m = {{}}\nfunction m.go(self, ...)\n{body}\nend\nreturn m")
        guest = program.start(make_run("go", *args, seed=seed, complete=False), limits)
        yields = asked = 0
        while True:
            step = guest.step(quantum_fuel, frees_lock=frees_lock)
            if step.kind is StepKind.ASKED:
                asked += 1
                guest.answer(encode_answer(None))
            elif step.kind is StepKind.YIELDED:
                yields += 1
            else:
                break
        guest.close()
        value, error = None, None
        if step.kind is StepKind.FINISHED:
            outcome = decode_outcome(step.data)
            if outcome.kind == 0:
                value = msgspec.msgpack.decode(outcome.body)
            else:
                error = decode_error(outcome.body)
        return Ran(step, value, error, guest.fuel_used, guest.memory_bytes, yields, asked)

    return run_body


@pytest.fixture
def cases() -> Path:
    """Where the cases of this room are."""
    return Path(__file__).parent

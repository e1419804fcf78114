"""Runs of a language's module below the node: one guest, stepped by hand, with fixed answers."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from lithox.model.limits import Limits
from lithox.sandbox.contract import Program, Source, Step, StepKind
from lithox.sandbox.messages import RunMessage, decode_call, encode_answer, encode_run
from tests.conformance.languages.world import World

LIMITS = Limits(fuel=5_000_000_000, memory_bytes=128 << 20, calls=100_000)
NOW_MS = 1_790_000_000_000
USAGE = {"used": {"fuel": 4_000_000_000}, "allowed": {"fuel": 1 << 40}}


class Ran(NamedTuple):
    """What a run came to: its last step and what it burned."""

    step: Step
    fuel_used: int
    calls: int


def load(world: World) -> Program:
    """Returns the program of the world's language, loaded once."""
    text = world.language.read()
    engine = world.node._engines[world.language.language]
    source = Source(
        language=world.language.language,
        name=world.language.file_name,
        text=text,
        digest=f"engine-runs-{world.language.name}",
    )
    found = engine.find(source.digest)
    if found is None:
        engine.prepare(source)
        found = engine.load(source, LIMITS)
    return found


def run(  # noqa: PLR0913 - one argument per thing that must not show in an outcome
    world: World,
    handler: str,
    *args: Any,
    seed: int = 1,
    now_ms: int = NOW_MS,
    quantum_fuel: int = 1_000_000,
    state: dict[str, Any] | None = None,
) -> Ran:
    """Runs a handler to its end; system calls are answered alike each time."""
    encode = msgspec.msgpack.encode
    message = RunMessage(
        handler=handler,
        args=msgspec.Raw(encode(list(args))),
        entity="t/engine",
        caller="tester",
        request_id=None,
        attempt=1,
        now_ms=now_ms,
        seed=seed,
        state={key: msgspec.Raw(encode(value)) for key, value in (state or {}).items()},
        complete=True,
    )
    guest = load(world).start(encode_run(message), LIMITS)
    try:
        while True:
            # As the second lane does, which is left what takes long to read.
            step = guest.step(quantum_fuel, frees_lock=True)
            if step.kind is StepKind.ASKED:
                name = msgspec.msgpack.decode(decode_call(step.data)[1])
                guest.answer(encode_answer(USAGE if name == "usage" else None))
            elif step.kind is not StepKind.YIELDED:
                return Ran(step, guest.fuel_used, guest.calls)
    finally:
        guest.close()

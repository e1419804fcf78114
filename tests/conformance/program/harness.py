"""Runs program guests through the sandbox, against a host that is one function.

A short prelude stands where the native runtime does in a node: it shows `sys` to the program and
runs main, so that what is tested here is the guest and nothing above it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from lithox.model.limits import Limits
from lithox.sandbox.contract import Engine, Guest, Program, Source, Step, StepKind
from lithox.sandbox.messages import (
    EXT_CONTEXT,
    ErrorMessage,
    ProgramMessage,
    decode_error,
    decode_program_outcome,
    encode_program,
)

VERSIONS: Final = ("5.1", "5.2", "5.3", "5.4", "5.5")
LIMITS: Final = Limits(fuel=300_000_000, memory_bytes=8 << 20, calls=10_000)
QUANTUM_FUEL: Final = 50_000
NOW_MS: Final = 1_790_000_000_123
INFO: Final[dict[str, Any]] = {"pid": 7, "name": "m", "contexts": {"log": 3}, "parent": None}

PRELUDE: Final = b"""
local sys = ...
_G.sys = sys
sys.on_start(function(main, starters, info, ...)
  _G.info = info
  for i = 1, #starters do starters[i](info) end
  return main(...)
end)
"""

NOTHING: Final = b"\x92\x00\x90"
"""The answer [0, []]."""

_encode: Final = msgspec.msgpack.encode
_decode: Final = msgspec.msgpack.decode

Answer = Callable[[list[Any]], bytes | list[Any]]
"""Takes a call's [0, name, ...]; gives the answer, as it is encoded or to be encoded."""


@dataclass(slots=True, kw_only=True)
class Ran:
    """What a run came to.

    Attributes:
        step: the last one.
        values: what main returned, None when it did not.
        error: what it raised, None when it did not.
        calls: messages it sent, decoded; contexts as `msgspec.msgpack.Ext`.
        yields: how often it used up its quantum.
    """

    step: Step
    values: list[Any] | None = None
    error: ErrorMessage | None = None
    calls: list[list[Any]] = field(default_factory=list)
    yields: int = 0
    fuel_used: int = 0
    memory_bytes: int = 0


def context(index: int) -> msgspec.msgpack.Ext:
    """Returns the context at `index` of a message's list, as it stands inside values."""
    return msgspec.msgpack.Ext(EXT_CONTEXT, index.to_bytes(4, "big"))


def plain(value: Any) -> Any:
    """Returns `value` with each context inside it as the text `context N`."""
    if isinstance(value, msgspec.msgpack.Ext):
        assert value.code == EXT_CONTEXT
        return f"context {int.from_bytes(value.data, 'big')}"
    if isinstance(value, list):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in cast("dict[str, Any]", value).items()}
    return value


def make_message(*args: Any, seed: int = 1) -> bytes:
    """Returns what a program's process begins with."""
    raw = msgspec.Raw(_encode(args))
    return encode_program(ProgramMessage(args=raw, now_ms=NOW_MS, seed=seed, info=INFO))


@dataclass(slots=True, kw_only=True)
class Machine:
    """One version of Lua."""

    engine: Engine
    version: str

    def load(
        self,
        text: str | bytes,
        *preludes: tuple[str, str],
        name: str = "m.lua",
        limits: Limits = LIMITS,
    ) -> Program:
        """Loads a program with the test prelude and `preludes` after it."""
        chunks = (("native", PRELUDE), *((chunk, text.encode()) for chunk, text in preludes))
        data = text.encode() if isinstance(text, str) else text
        digest = repr((name, data, chunks))
        source = Source(
            language=self.engine.language, name=name, text=data, digest=digest, preludes=chunks
        )
        return self.engine.load(source, limits)

    def start(self, text: str | bytes, *args: Any, limits: Limits = LIMITS, seed: int = 1) -> Guest:
        """Returns a guest about to run `text`."""
        return self.load(text).start(make_message(*args, seed=seed), limits)

    def run(
        self,
        text: str | bytes,
        *args: Any,
        answer: Answer = lambda _call: NOTHING,
        limits: Limits = LIMITS,
        seed: int = 1,
    ) -> Ran:
        """Runs `text` to its end."""
        guest = self.start(text, *args, limits=limits, seed=seed)
        try:
            return finish(guest, answer)
        finally:
            guest.close()

    def values(
        self,
        text: str | bytes,
        *args: Any,
        answer: Answer = lambda _call: NOTHING,
        limits: Limits = LIMITS,
        seed: int = 1,
    ) -> list[Any]:
        """Runs `text` and returns its values; a run that did not return fails the test."""
        ran = self.run(text, *args, answer=answer, limits=limits, seed=seed)
        assert ran.error is None, f"{ran.error.message}\n{ran.error.traceback}"
        assert ran.values is not None, ran.step
        return ran.values

    def error(self, text: str | bytes, *args: Any, answer: Answer = lambda _call: NOTHING) -> str:
        """Runs `text` and returns the text of what it raised."""
        ran = self.run(text, *args, answer=answer)
        assert ran.error is not None, ran.step
        return ran.error.message


def finish(guest: Guest, answer: Answer = lambda _call: NOTHING) -> Ran:
    """Steps a guest to its end."""
    calls: list[list[Any]] = []
    yields = 0
    while True:
        step = guest.step(QUANTUM_FUEL, frees_lock=False)
        if step.kind is StepKind.ASKED:
            calls.append(_decode(step.data))
            said = answer(calls[-1])
            guest.answer(said if isinstance(said, bytes) else _encode(said))
        elif step.kind is StepKind.YIELDED:
            yields += 1
        else:
            break
    ran = Ran(
        step=step,
        calls=calls,
        yields=yields,
        fuel_used=guest.fuel_used,
        memory_bytes=guest.memory_bytes,
    )
    if step.kind is StepKind.FINISHED:
        outcome = decode_program_outcome(step.data)
        if outcome.kind == 0:
            ran.values = _decode(outcome.body)
        else:
            ran.error = decode_error(outcome.body)
    return ran

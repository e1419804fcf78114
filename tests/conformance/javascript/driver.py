"""Runs JavaScript handlers through the engine alone: no node, a host that is a few dictionaries."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict, Unpack

import msgspec

from lithox.dispatch.catalog import DEPLOY_LIMITS
from lithox.model.limits import Limits
from lithox.sandbox import messages
from lithox.sandbox.contract import Source, StepKind
from lithox.sandbox.engine import WasmEngine, WasmProgram

LIMITS: Final = Limits(fuel=2_000_000_000, memory_bytes=8 << 20, calls=1000)
NOW_MS: Final = 1_764_000_000_123
SEED: Final = 4711
QUANTUM_FUEL: Final = 10_000_000
_decode: Final = msgspec.msgpack.decode
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode


@dataclass(slots=True, kw_only=True)
class Run:
    """What a run came to: a value, an error of the handler's own, or an end from outside."""

    value: Any = None
    error: messages.ErrorMessage | None = None
    ended: str = ""
    reads: list[str] = field(default_factory=list)
    scans: list[messages.Used] = field(default_factory=list)
    writes: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, bytes] = field(default_factory=dict)
    calls: list[list[Any]] = field(default_factory=list)
    fuel: int = 0
    memory_bytes: int = 0


Answers = dict[str, Any]
"""Answers to system calls by name: bytes of a message, or a function of the arguments."""


class Settings(TypedDict, total=False):
    """What a run may be given; `state` values may be `msgspec.Raw`, `complete` sends them along."""

    state: dict[str, Any]
    complete: bool
    limits: Limits
    answers: Answers


@dataclass(slots=True, kw_only=True)
class Javascript:
    """The engine, with what tests ask of it."""

    engine: WasmEngine

    def load(self, text: str, *, name: str = "m.js") -> WasmProgram:
        """Returns the program of a module."""
        digest = hashlib.sha256(f"{name}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
        source = Source(language="javascript", name=name, text=text.encode(), digest=digest)
        return self.engine.load(source, DEPLOY_LIMITS)

    def run(self, text: str, handler: str = "go", *args: Any, **settings: Unpack[Settings]) -> Run:
        """Runs a handler to its end."""
        state = settings.get("state", {})
        complete = settings.get("complete", True)
        run = Run()
        message = messages.encode_run(
            messages.RunMessage(
                handler=handler,
                args=msgspec.Raw(_encode(args)),
                entity="a/b",
                caller="c/d",
                request_id=None,
                attempt=1,
                now_ms=NOW_MS,
                seed=SEED,
                state={key: _raw(value) for key, value in state.items()} if complete else {},
                complete=complete,
            )
        )
        guest = self.load(text).start(message, settings.get("limits", LIMITS))
        try:
            while True:
                step = guest.step(QUANTUM_FUEL, frees_lock=False)
                if step.kind is StepKind.ASKED:
                    guest.answer(_answer(step.data, state, settings.get("answers", {}), run.calls))
                elif step.kind is not StepKind.YIELDED:
                    break
            run.fuel, run.memory_bytes = guest.fuel_used, guest.memory_bytes
        finally:
            guest.close()
        if step.kind is StepKind.ENDED:
            run.ended = step.code
            return run
        outcome = messages.decode_outcome(step.data)
        run.reads, run.scans = outcome.reads, outcome.scans
        run.raw = {key: bytes(value) for key, value in outcome.writes.items()}
        run.writes = {key: _decode(value) for key, value in outcome.writes.items()}
        if outcome.kind == messages.OUTCOME_RAISED:
            run.error = messages.decode_error(outcome.body)
        else:
            run.value = _decode(outcome.body)
        return run

    def value(self, text: str, *args: Any, **settings: Unpack[Settings]) -> Any:
        """Returns what `go` returned."""
        run = self.run(text, "go", *args, **settings)
        assert run.error is None, run.error
        assert not run.ended, run.ended
        return run.value

    def error(self, text: str, *args: Any, **settings: Unpack[Settings]) -> messages.ErrorMessage:
        """Returns what `go` raised."""
        run = self.run(text, "go", *args, **settings)
        assert run.error is not None, run
        return run.error


def _raw(value: Any) -> msgspec.Raw:
    return value if isinstance(value, msgspec.Raw) else msgspec.Raw(_encode(value))


def _answer(message: bytes, state: dict[str, Any], answers: Answers, calls: list[Any]) -> bytes:
    _, name, *arguments = _decode(message, ext_hook=lambda code, data: (code, bytes(data)))
    calls.append([name, *arguments])
    if name in answers:
        answer = answers[name]
        return answer(*arguments) if callable(answer) else answer
    if name == "get":
        return _encode([0, _raw(state.get(arguments[0]))])
    if name == "scan":
        prefix, *rest = arguments
        return _page(state, lambda key: key.startswith(prefix), *rest)
    if name == "range":
        first, end, *rest = arguments
        return _page(state, lambda key: first <= key and (not end or key < end), *rest)
    return _encode([0])


def _page(
    state: dict[str, Any],
    is_inside: Callable[[str], bool],
    after: str | None,
    limit: int,
    writes: dict[str, Any],
) -> bytes:
    assert writes == {}
    keys = [key for key in sorted(state, key=str.encode) if is_inside(key)]
    keys = [key for key in keys if after is None or key.encode() > after.encode()]
    page = keys[: min(limit, 3)]
    return _encode([0, [[key, _raw(state[key])] for key in page], len(page) < len(keys)])

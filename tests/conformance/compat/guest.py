"""Our side: runs Lua in the program guests under a built-in runtime, with a host of a few lines.

The host takes what is written and gives what is read; every other system call is refused, as for a
program that was given no rights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import msgspec

from guests.sources import ROOT
from lithox.model.limits import Limits
from lithox.runtimes.registry import find_runtime
from lithox.sandbox.contract import Engine, Program, Source, StepKind
from lithox.sandbox.engines import open_engines
from lithox.sandbox.messages import (
    ErrorMessage,
    ProgramMessage,
    decode_program_outcome,
    encode_program,
    encode_program_answer,
    encode_program_refusal,
)
from tests.conformance.compat.reading import LOADER

NOW_MS: Final = 1_764_000_000_123
LIMITS: Final = Limits(
    fuel=20_000_000_000, memory_bytes=64 << 20, calls=1_000_000, output_bytes=64 << 20
)
QUANTUM_FUEL: Final = 50_000_000
_NOT_AVAILABLE: Final = 21


def runtime_of(column: str) -> str:
    """Returns the runtime's name: compat-5.1 of "5.1"."""
    return "compat" if column == "compat" else f"compat-{column}"


@dataclass(slots=True, kw_only=True)
class Result:
    """What a run wrote, and how it ended: `error` is None when main returned."""

    out: str
    err: str
    error: str | None = None
    values: list[Any] = field(default_factory=list)


class Guests:
    """The engines of programs, and programs loaded before."""

    def __init__(self, engines: dict[str, Engine]) -> None:
        self._engines = engines
        self._loaded: dict[tuple[str, bytes], Program] = {}

    def load(self, runtime: str, text: bytes, *, limits: Limits = LIMITS) -> Program:
        """Returns the program of `text` under `runtime`."""
        found = self._loaded.get((runtime, text))
        if found is None:
            spec = find_runtime(runtime)
            assert spec is not None, runtime
            digest = sha256(f"{runtime} {text!r}".encode()).hexdigest()
            source = Source(
                language=spec.engine,
                name="main.lua",
                text=text,
                digest=digest,
                preludes=spec.preludes,
            )
            found = self._engines[spec.engine].load(source, limits)
            self._loaded[runtime, text] = found
        return found

    def run(
        self,
        runtime: str,
        text: str | bytes,
        *arguments: Any,
        stdin: bytes = b"",
        limits: Limits = LIMITS,
    ) -> Result:
        """Runs `text` as the main code of a program to its end."""
        main = text.encode() if isinstance(text, str) else text
        info = {
            "pid": 1,
            "name": "main",
            "runtime": runtime,
            "mode": "preemptive",
            "contexts": {},
            "wall_ms": NOW_MS,
        }
        message = ProgramMessage(
            args=msgspec.Raw(msgspec.msgpack.encode(arguments)), now_ms=NOW_MS, seed=7, info=info
        )
        program = self.load(runtime, main, limits=limits)
        guest = program.start(encode_program(message), limits)
        host = _Host(stdin)
        try:
            while True:
                step = guest.step(QUANTUM_FUEL, frees_lock=False)
                if step.kind is StepKind.ASKED:
                    answer = host.answer(step.data)
                    if answer is None:
                        return host.result()
                    guest.answer(answer)
                elif step.kind is StepKind.FINISHED:
                    return host.finished(step.data)
                elif step.kind is StepKind.ENDED:
                    result = host.result()
                    result.error = f"{step.code}: {step.detail}"
                    return result
        finally:
            guest.close()

    def output(
        self, column: str, text: str | bytes, *arguments: Any, stdin: bytes = b""
    ) -> tuple[str, str]:
        """Returns what a case writes under the runtime of `column`, as `oracle.run` does."""
        case = text.encode() if isinstance(text, str) else text
        result = self.run(runtime_of(column), LOADER, case, *arguments, stdin=stdin)
        assert result.error is None, result.error
        return result.out, result.err


class _Host:
    """The other end of the system call."""

    def __init__(self, stdin: bytes) -> None:
        self._stdin = stdin
        self._out: dict[str, list[bytes]] = {"out": [], "err": []}

    def answer(self, message: bytes) -> bytes | None:
        """Returns the answer to one call; None when the program has called `exit`."""
        _, name, *arguments = msgspec.msgpack.decode(message)
        if name == "write":
            text = arguments[1]
            self._out[arguments[0]].append(text.encode() if isinstance(text, str) else text)
            return encode_program_answer([], True)
        if name == "read":
            data, self._stdin = self._stdin[: arguments[0]], self._stdin[arguments[0] :]
            return encode_program_answer([], data or None)
        if name == "time":
            return encode_program_answer([], NOW_MS)
        if name == "usage":
            used = {"used": {"fuel": 4_000_000}, "allowed": {"fuel": 1 << 40}}
            return encode_program_answer([], used)
        if name == "info":
            return encode_program_answer([], {"name": "main", "pid": 1})
        if name == "exit":
            return None
        refusal = f"there is no {name} here"
        return encode_program_refusal(_NOT_AVAILABLE, "request.not_available", refusal)

    def result(self) -> Result:
        """Returns what was written so far."""
        out, err = (b"".join(self._out[name]).decode("latin-1") for name in ("out", "err"))
        return Result(out=out, err=err)

    def finished(self, data: bytes) -> Result:
        """Returns what was written and how main ended."""
        result = self.result()
        outcome = decode_program_outcome(data)
        if outcome.kind == 0:
            result.values = msgspec.msgpack.decode(outcome.body)
        else:
            error = msgspec.msgpack.decode(outcome.body, type=ErrorMessage)
            result.error = f"{error.message}\n{error.traceback}"
        return result


@contextmanager
def open_guests() -> Iterator[Guests]:
    """Gives the guests of this process; they are closed afterwards."""
    engines = open_engines(ROOT / ".cache" / "engines")
    try:
        yield Guests(engines)
    finally:
        for engine in engines.values():
            engine.close()

"""Which handlers does a component give, and what does it cost to ask it?

A component says its names by running: `handlers` is called in an instance like that of a run, under
limits of fuel, memory and calls. Fuel is not time, so there is a bound of processor time beside it.
What it said is kept with its machine code: it says the same each time, since nothing it could see
differs, so nobody asks it again who finds that.

Invariants: the lock is free while the component runs, so this belongs into the thread of a
`prepare`; whatever the component asks of the node meanwhile is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from time import thread_time_ns
from typing import Final, NoReturn

import msgspec

from lithox.errors import CompileFailed, LimitExceeded, meaning_of
from lithox.model.limits import Limits
from lithox.sandbox import messages
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.component.configuration import MEMORIES_MAX
from lithox.sandbox.component.guest import ComponentGuest
from lithox.sandbox.component.program import ComponentProgram
from lithox.sandbox.contract import Source, Step, StepKind
from lithox.sandbox.meters import calls_of, fuel_of

HANDLER_NAME_CHARACTERS_MAX: Final = 128
QUANTUM_FUEL: Final = 10_000_000
CPU_NS_MAX: Final = 1_000_000_000
"""Processor time for asking a component for its handlers; CPython takes 5 ms of it. The worst code
there is would make three seconds of a deploy's fuel."""
MEMORY_BYTES_MIN: Final = 64 << 20
"""Memory for asking a component for its handlers, whatever a load of text may have: CPython alone
begins with 20 MB. Its runs have what their limits say."""
KEPT_VERSION: Final = 1
"""Another number makes every component be asked once more."""
_TOO_MANY_MEMORIES: Final = "memory count too high"
"""Words of an error by which wasmtime refuses a second, third or fourth memory."""
_REFUSED: Final = "request.not_available"

ThreadClock = Callable[[], int]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a component said.

    Attributes:
        names: all it gives, those that begin with `_` included.
        memories: how many memories an instance has.
        fuel: what asking took.
        calls: system calls it tried meanwhile.
    """

    names: list[str]
    memories: int
    fuel: int
    calls: int


_encode_said: Final = msgspec.msgpack.Encoder().encode
_decode_said: Final = msgspec.msgpack.Decoder(Said).decode
_decode_names: Final = msgspec.msgpack.Decoder(list[str]).decode


def _key_of(code_key: str) -> str:
    return hashlib.sha256(f"{code_key};handlers;{KEPT_VERSION}".encode()).hexdigest()


def find_said(cache: ModuleCache, code_key: str) -> Said | None:
    """Returns what the component said whose machine code has the name `code_key`, or None.

    Blocks: reads a small file.
    """
    payload = cache.find(_key_of(code_key))
    if payload is None:
        return None
    try:
        return _decode_said(payload)
    except msgspec.DecodeError:
        cache.refuse(_key_of(code_key))
        return None


def keep_said(cache: ModuleCache, code_key: str, said: Said) -> None:
    """Keeps what a component said. Blocks: writes a small file."""
    cache.save(_key_of(code_key), _encode_said(said))


def ask_names(
    program: ComponentProgram,
    source: Source,
    limits: Limits,
    *,
    clock: ThreadClock = thread_time_ns,
) -> Said:
    """Asks a component for its handlers; finds out how many memories it has on the way.

    Args:
        program: whose guest is asked; `memories` is set.
        source: for messages.
        limits: of fuel and calls, and of memory above `MEMORY_BYTES_MIN`.
        clock: this thread's processor time, in nanoseconds.

    Raises:
        CompileFailed: it traps, has no instance, or gives names that are none.
        LimitExceeded: it uses up its fuel, memory, calls or processor time.
        Overloaded: there is no room for another guest.

    Blocks: for `CPU_NS_MAX` of processor time at most, with the lock free.
    """
    limits = replace(limits, memory_bytes=max(MEMORY_BYTES_MIN, limits.memory_bytes or 0))
    until_ns = clock() + CPU_NS_MAX
    while True:
        guest = program.open_guest(None, limits)
        try:
            step = _run(guest, source, until_ns, clock)
        finally:
            guest.close()
        if step.kind is StepKind.FINISHED:
            break
        if _TOO_MANY_MEMORIES in step.detail and program.memories < MEMORIES_MAX:
            program.memories += 1
        else:
            _raise_ended(step, guest, source, limits)
    names = _decode_names(messages.decode_outcome(step.data).body)
    for name in names:
        if not 1 <= len(name) <= HANDLER_NAME_CHARACTERS_MAX:
            raise CompileFailed(
                f"{source.name} gives a handler with a name of {len(name)} letters; "
                f"1-{HANDLER_NAME_CHARACTERS_MAX} are allowed",
                file=source.name,
            )
    return Said(names=names, memories=program.memories, fuel=guest.fuel_used, calls=guest.calls)


def _run(guest: ComponentGuest, source: Source, until_ns: int, clock: ThreadClock) -> Step:
    """Steps a load to its end; whatever it asks of the node is refused."""
    while True:
        step = guest.step(QUANTUM_FUEL, frees_lock=True)
        if step.kind is StepKind.ASKED:
            status = meaning_of(_REFUSED).guest_status
            guest.answer(messages.encode_refusal(status, _REFUSED, "not while it is loaded", {}))
        elif step.kind is not StepKind.YIELDED:
            return step
        if clock() > until_ns:
            raise LimitExceeded(
                f"{source.name} takes more than {CPU_NS_MAX // 1_000_000} ms of processor time "
                "to say its handlers",
                limit="wall",
                used=CPU_NS_MAX,
                allowed=CPU_NS_MAX,
                file=source.name,
            )


def check_said(said: Said, source: Source, limits: Limits) -> None:
    """Raises LimitExceeded where asking took more than `limits` allow."""
    for limit, used, allowed in (
        ("fuel", said.fuel, fuel_of(limits)),
        ("calls", said.calls, calls_of(limits)),
    ):
        if used > allowed:
            raise LimitExceeded(
                f"{source.name} needs {used} of {limit} to say its handlers; {allowed} are allowed",
                limit=limit,
                used=used,
                allowed=allowed,
                file=source.name,
            )


def _raise_ended(step: Step, guest: ComponentGuest, source: Source, limits: Limits) -> NoReturn:
    """Raises what ended a load."""
    limit = step.code.removeprefix("guest.out_of_")
    if limit != step.code:
        allowed = {"fuel": limits.fuel, "memory": limits.memory_bytes, "calls": limits.calls}
        raise LimitExceeded(
            f"{source.name}: {step.detail} while it was asked for its handlers",
            limit=limit,
            used=guest.fuel_used if limit == "fuel" else guest.memory_bytes,
            allowed=allowed.get(limit),
            file=source.name,
        )
    raise CompileFailed(
        f"{source.name} was stopped while it was asked for its handlers: {step.detail}",
        file=source.name,
        expected="exports that run without a trap, without the state and other entities",
    )

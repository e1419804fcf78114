"""Runs of Python text below the node: one guest, stepped by hand, with fixed answers."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from lithox.model.limits import Limits
from lithox.sandbox.contract import Source, Step, StepKind
from lithox.sandbox.messages import RunMessage, decode_call, encode_answer, encode_run
from lithox.sandbox.python.engine import PythonEngine, PythonProgram
from lithox.sandbox.python.guest import PythonGuest

LIMITS = Limits(fuel=2_000_000_000, memory_bytes=64 << 20, calls=1000)
WAIT_MS = 20_000
"""How long a test waits for a process to end; more is a failure, less proves nothing."""
Answer = Callable[[str, list[Any]], bytes]


class Ran(NamedTuple):
    """What a run came to. `outcome`: the decoded outcome message, of one that finished."""

    step: Step
    outcome: list[Any]
    guest: PythonGuest


def load(engine: PythonEngine, text: str, *, name: str = "module.py") -> PythonProgram:
    """Returns the program of `text`."""
    source = Source(language="python", name=name, text=text.encode(), digest=f"{name} {text}")
    return engine.load(source, LIMITS)


def start(program: PythonProgram, handler: str, *args: Any, **settings: Any) -> PythonGuest:
    """Returns a guest ready for its first step.

    Args:
        settings: state (dict), complete, limits, seed, now_ms, account, is_nested.
    """
    encode = msgspec.msgpack.encode
    state: dict[str, Any] = settings.get("state", {})
    message = RunMessage(
        handler=handler,
        args=msgspec.Raw(encode(list(args))),
        entity="t/entity",
        caller="tester",
        request_id=None,
        attempt=1,
        now_ms=settings.get("now_ms", 1_790_000_000_000),
        seed=settings.get("seed", 1),
        state={key: msgspec.Raw(encode(value)) for key, value in state.items()},
        complete=settings.get("complete", True),
    )
    limits = settings.get("limits", LIMITS)
    account, is_nested = settings.get("account", "tester"), settings.get("is_nested", False)
    return program.start_for(account, encode_run(message), limits, is_nested=is_nested)


def finish(guest: PythonGuest, answer: Answer | None = None) -> Ran:
    """Steps a guest to its end; unless told, its calls are answered by null."""
    try:
        while True:
            step = guest.step(8_000_000, frees_lock=True)
            if step.kind is StepKind.ASKED:
                _, name, *args = [msgspec.msgpack.decode(one) for one in decode_call(step.data)]
                guest.answer(encode_answer(None) if answer is None else answer(name, args))
            elif step.kind is not StepKind.YIELDED:
                is_finished = step.kind is StepKind.FINISHED
                return Ran(step, msgspec.msgpack.decode(step.data) if is_finished else [], guest)
    finally:
        guest.close()


def run(program: PythonProgram, handler: str, *args: Any, **settings: Any) -> Ran:
    """Runs a handler to its end."""
    answer = settings.pop("answer", None)
    return finish(start(program, handler, *args, **settings), answer)


def wait_until_gone(pid: int) -> bool:
    """Returns whether process `pid`, a child of anybody, has ended within the time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(WAIT_MS))
    finally:
        os.close(descriptor)

"""Events of the kernel as messages of the guest: docs/reference/native.md has their fields.

Payloads travel as they came: nothing is decoded on the way from one process to another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from lithox.kernel.events import (
    Answered,
    AnswerEvent,
    CallEvent,
    CloseEvent,
    ExitEvent,
    MessageEvent,
    OpenEvent,
    Outcome,
)
from lithox.sandbox.messages import splice_answer

_encode: Final = msgspec.msgpack.Encoder().encode
_Raw: Final = msgspec.Raw
NOTHING: Final = _encode((0, ()))
"""The answer of a pull or a sleep whose time is up."""


def _call(event: CallEvent) -> bytes:
    return _encode((0, (), "call", event.cid, event.ctx, event.name, event.pid, _Raw(event.args)))


def _answer(event: AnswerEvent) -> bytes:
    return _encode((0, event.contexts, "answer", event.cid, event.status, _Raw(event.args)))


def _open(event: OpenEvent) -> bytes:
    return _encode((0, (), "open", event.ctx, event.pid))


def _close(event: CloseEvent) -> bytes:
    return _encode((0, (), "close", event.ctx, event.pid))


def _message(event: MessageEvent) -> bytes:
    return _encode(
        (0, (), "message", event.ctx, event.queue, event.pid, _Raw(event.args), event.missed)
    )


def _exit(event: ExitEvent) -> bytes:
    return _encode(
        (0, (), "exit", event.pid, event.status, event.code, event.message, _Raw(event.values))
    )


def _answered(outcome: Answered) -> bytes:
    return splice_answer(outcome.status, outcome.contexts, outcome.args)


_BY_TYPE: Final[dict[type, Callable[[Any], bytes]]] = {
    CallEvent: _call,
    AnswerEvent: _answer,
    OpenEvent: _open,
    CloseEvent: _close,
    MessageEvent: _message,
    ExitEvent: _exit,
    Answered: _answered,
}


def encode_outcome(outcome: Outcome | None) -> bytes:
    """Returns what ended a wait as the answer to the system call that waited."""
    return NOTHING if outcome is None else _BY_TYPE[type(outcome)](outcome)

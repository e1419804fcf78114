"""What a process hears: the records that leave its mailbox.

Each event has exactly the fields of the native API (docs/reference/native.md), in its order, and a
`kind`. Payloads (`args`, `values`) are MessagePack arrays that the kernel never looks into. Context
numbers are the receiver's own.

Invariants: events are immutable and hold no live object, so they can be logged and compared.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from lithox.errors import SUMMARIES, meaning_of
from lithox.model.values import encode_value

EMPTY_ARRAY: Final = b"\x90"
"""The MessagePack array without elements."""
EVENT_BYTES: Final = 256
"""Charge of every event besides its payload. Source: what the records of one take in memory."""


class CallEvent(NamedTuple):
    """Somebody calls `name` in context `ctx`, which the receiver owns.

    Attributes:
        pid: the caller; 0 is the node itself.
    """

    cid: int
    ctx: int
    name: str
    pid: int
    args: bytes
    kind = "call"


class AnswerEvent(NamedTuple):
    """The answer to the receiver's call `cid`.

    Attributes:
        contexts: numbers of the contexts that travelled with it.
    """

    cid: int
    status: int
    args: bytes
    contexts: list[int]
    kind = "answer"


class OpenEvent(NamedTuple):
    """A holder has shared the receiver's context `ctx` with process `pid`."""

    ctx: int
    pid: int
    kind = "open"


class CloseEvent(NamedTuple):
    """Process `pid` has given up one number for the receiver's context `ctx`."""

    ctx: int
    pid: int
    kind = "close"


class MessageEvent(NamedTuple):
    """A message of a queue the receiver listens to.

    Attributes:
        ctx: the receiver's number under which it listens.
        pid: who pushed; 0 is the node itself.
        missed: messages of this queue the receiver has lost since its last message event.
    """

    ctx: int
    queue: str
    pid: int
    args: bytes
    missed: int
    kind = "message"


class ExitEvent(NamedTuple):
    """A child of the receiver has ended.

    Attributes:
        code: "" when it ended by itself, else a key of `errors.TABLE` or `app.<code>`.
    """

    pid: int
    status: int
    code: str
    message: str
    values: bytes
    kind = "exit"


class Answered(NamedTuple):
    """What ended the wait in a request: the answer's own status and values."""

    status: int
    args: bytes
    contexts: list[int]
    kind = "answered"


Event = CallEvent | AnswerEvent | OpenEvent | CloseEvent | MessageEvent | ExitEvent
Outcome = Event | Answered


class Refusal(NamedTuple):
    """An answer that the kernel gives in the owner's stead: values are [code, message]."""

    status: int
    args: bytes


def make_refusal(code: str) -> Refusal:
    """Returns the answer that stands for `code`, a key of `errors.TABLE`."""
    return Refusal(meaning_of(code).guest_status, encode_value([code, SUMMARIES[code]]))


ABANDONED: Final = make_refusal("call.abandoned")
DEADLINE_PASSED: Final = make_refusal("request.deadline_passed")
NO_ROOM_FOR_CONTEXTS: Final = make_refusal("context.too_many")
NO_ROOM_FOR_ANSWER: Final = make_refusal("request.overloaded")
_OWN_ARGS: Final = frozenset(
    refusal.args
    for refusal in (ABANDONED, DEADLINE_PASSED, NO_ROOM_FOR_CONTEXTS, NO_ROOM_FOR_ANSWER)
)
_OWN_BYTES_MAX: Final = max(map(len, _OWN_ARGS))


def count_answer(args: bytes) -> int:
    """Returns what the payload of an answer counts: the kernel's own are shared and count 0."""
    size = len(args)
    return 0 if size <= _OWN_BYTES_MAX and args in _OWN_ARGS else size


NO_ROOM_FOR_EXIT: Final = "the mailbox had no room for more than the status of this exit"
"""Stands in for message and values of an exit event that a full mailbox cannot take."""

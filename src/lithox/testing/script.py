"""What a scripted handler is made of: the actions it yields, and what it gets as `self`.

A scripted handler is a Python generator function `handler(self, *args)`. It yields actions, is
sent their results; its return value is the run's value; an exception it raises is the run's error.

    ("burn", fuel)                         uses fuel; cut anywhere by the quantum or the limit
    ("spin",)                              uses fuel for ever
    ("get", key)                        -> value, or None when absent
    ("set", key, value)                    None deletes
    ("scan", prefix)                    -> list of (key, value), in key order
    ("range", start, end)               -> the same, start <= key < end (None: to the last)
    ("call", entity, handler, *args)    -> value; raises `Refused` when the callee failed
    ("request", entity, handler, *args) -> value
    ("send", entity, handler, *args)    -> message id
    ("schedule", {...})                 -> timer id; the fields of `self:schedule`
    ("cancel", timer_id)                -> whether there was one
    ("timers",) or ("timers", after)    -> (list of timers, whether there are more)
    ("open_big", key)                   -> BigValue, or None when absent
    ("read_big", key, digest, offset, size) -> bytes
    ("write_big", key, token, data)        takes data for a new big value; `token` names the writer
    ("close_big", key, token)           -> digest; the key holds the value from now on
    ("log", level, text, fields)
    ("usage",)                          -> {"used": ..., "allowed": ...}
    ("ask", name, *args)                -> list of values: any system call, known to the node or not
    ("say", message_bytes)              -> answer bytes: a system call as raw bytes, even malformed
    ("grow", memory_bytes)                 brings the guest's memory to that size
    ("trap", detail)                       ends the guest as a wasm trap does
    ("finish", outcome_bytes)              ends the run with a raw outcome, well-formed or not

Invariants: every action costs `ACTION_FUEL` before it is done and nothing else costs fuel but
`burn` and `spin`, so the fuel of a run is a function of the script and its answers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from random import Random
from typing import Any, Final

from lithox.model.values import Value

ACTION_FUEL: Final = 10
"""What each action costs by itself."""

Action = tuple[Any, ...]
Script = Generator[Action, Any, Value]
Handler = Callable[..., Script]
Module = Mapping[str, Handler]
"""Handler name -> generator function; names with a leading `_` are hidden, as in every language."""


class ScriptError(Exception):
    """Raise it in a script to end the run as a guest's error with a code of its own.

    Args:
        message: the error's text.
        code: becomes `app.<code>` when not empty.
        data: plain value that goes with it.
    """

    def __init__(self, message: str, *, code: str = "", data: Value = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class Refused(ScriptError):
    """A system call was refused; a script may catch it, as guests of every language may."""

    def __init__(self, status: int, code: str, message: str, fields: dict[str, Any]) -> None:
        super().__init__(message, code=code, data=fields)
        self.status = status
        self.fields = fields


class ScriptedSelf:
    """What a scripted handler knows of its run: the fields every language gives.

    Attributes:
        random: seeded by the run's seed; the only chance a script may use.
    """

    __slots__ = ("attempt", "caller", "id", "now_ms", "random", "request_id")

    def __init__(  # noqa: PLR0913 - a plain record; all by keyword
        self,
        *,
        entity: str,
        caller: str,
        request_id: str | None,
        attempt: int,
        now_ms: int,
        seed: int,
    ) -> None:
        self.id = entity
        self.caller = caller
        self.request_id = request_id
        self.attempt = attempt
        self.now_ms = now_ms
        self.random = Random(seed)  # noqa: S311 - a reproducible script, not a secret

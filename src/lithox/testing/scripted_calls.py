"""The actions of scripts that are one system call: what they ask, and what the answer means.

Pure: `question_of` gives name and arguments, `answer_of` the action's result; neither knows the
guest. What touches the state a guest holds is its own (`scripted`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from lithox.model.values import decode_state, decode_value, encode_value
from lithox.sandbox import messages
from lithox.testing.script import Action

Question = tuple[str, tuple[Any, ...]]
"""(name of the system call, its arguments)."""


def question_of(action: Action) -> Question | None:
    """Returns what an action asks; None when it is no action of this kind."""
    match action:
        case ("log" | "usage" as name, *args):
            return name, tuple(args)
        case ("ask", str(name), *args):
            return name, tuple(args)
        case ("send", str(entity), str(handler), *args):
            return messages.CALL_SEND, (entity, handler, _encoded(args))
        case ("request", str(entity), str(handler), *args):
            return messages.CALL_REQUEST, (entity, handler, _encoded(args))
        case ("schedule", _):
            return messages.CALL_SCHEDULE, (_encoded(action[1]),)
        case ("cancel", str(timer_id)):
            return messages.CALL_CANCEL, (timer_id,)
        case ("timers", *after):
            return messages.CALL_TIMERS, (after[0] if after else None,)
        case ("read_big", str(key), str(digest), int(offset), int(size)):
            return messages.CALL_BLOB_READ, (key, digest, offset, size)
        case ("write_big", str(key), int(token), bytes(data)):
            return messages.CALL_BLOB_WRITE, (key, token, data)
        case ("close_big", str(key), int(token)):
            return messages.CALL_BLOB_CLOSE, (key, token)
        case _:
            return None


def _encoded(value: Any) -> msgspec.Raw:
    return msgspec.Raw(encode_value(value))


def answer_of(action: Action, values: list[msgspec.Raw]) -> Any:
    """Returns the result of an action from the values of its answer, the status left out."""
    match action[0]:
        case "ask":
            return [decode_state(bytes(value)) for value in values]
        case "timers":
            return decode_value(bytes(values[0])), decode_value(bytes(values[1]))
        case _:
            return decode_state(bytes(values[0])) if values else None

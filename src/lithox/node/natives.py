"""What callers say to the node entity's own handlers, checked."""

from __future__ import annotations

from typing import Any, Final

from lithox.errors import BadArguments

PID_MAX: Final = (1 << 63) - 1


def read_pid(args: list[Any]) -> int:
    """Returns the one argument of `kill`; raises BadArguments when it is no process number."""
    if len(args) != 1 or type(args[0]) is not int or not 0 <= args[0] <= PID_MAX:
        raise BadArguments(f"kill takes one process number; found {args!r:.80}")
    return args[0]

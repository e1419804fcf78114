"""Where in a handler's source did it fail, as the traceback its language wrote tells? Pure.

A traceback is a guest's text: it is read by lines, within bounds, and what reads like no line of
any language below gives nothing.
"""

from __future__ import annotations

import re
from typing import Final

from lithox.errors import TABLE, GuestRaised, LithoxError

_CHARACTERS_MAX: Final = 64_000
_FILE: Final = r"([^()\[\]\s:\"]{1,200})"
_JAVASCRIPT: Final = re.compile(rf" *at (?:[^\n]*\()?{_FILE}:(\d{{1,9}})(?::\d+)?\)?\Z")
_LUA: Final = re.compile(rf"\t{_FILE}:(\d{{1,9}}): in ")
_PYTHON: Final = re.compile(r'  File "([^"\n]{1,200})", line (\d{1,9})')
_OURS: Final = "lithox"
"""The file that JavaScript names for what the node has written itself."""


def find_place(error: LithoxError) -> str | None:
    """Returns `file:line` of the innermost line of a handler that failed, or None.

    None as well where the handler gave an error code of its own: that is an answer it meant to
    give, and where it stands in its source tells its caller nothing.
    """
    if not isinstance(error, GuestRaised):
        return None
    if error.code != GuestRaised.default_code and error.code.removeprefix("app.") not in TABLE:
        return None
    text = error.fields.get("traceback")
    if not isinstance(text, str):
        return None
    last = None
    for line in text[:_CHARACTERS_MAX].splitlines():
        found = _JAVASCRIPT.match(line) or _LUA.match(line)
        if found is not None and found[1] != _OURS:
            return f"{found[1]}:{found[2]}"
        # Python's innermost line is its last.
        found = _PYTHON.match(line)
        last = last if found is None else f"{found[1]}:{found[2]}"
    return last

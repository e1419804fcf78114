"""Text of others on a terminal: whatever is not printable is shown as an escape, never obeyed.

Guests choose error messages, log lines, state keys and values; a terminal obeys control characters
in them (titles, colours, the clipboard), and direction marks make text read as what it is not.
"""

from __future__ import annotations

import json
import re
from typing import Final

# Everything Unicode calls a letter, mark, number, punctuation, symbol, or the plain space is
# printable to Python; this pattern only finds candidates, `str.isprintable` decides.
_CANDIDATES: Final = re.compile(r"[^ -~]")


def escape_line(text: str) -> str:
    """Returns `text` on one line: an escape character and a new line, too, as their numbers."""
    return _CANDIDATES.sub(_escape, text)


def escape_lines(text: str) -> str:
    """Returns `text` with its lines and tabs, all else that is not printable escaped."""
    return "\n".join("\t".join(map(escape_line, line.split("\t"))) for line in text.split("\n"))


def escape_json(text: str) -> str:
    """Returns a JSON document that reads the same, with nothing unprintable but its line ends."""
    return "\n".join(_CANDIDATES.sub(_escape_json, line) for line in text.split("\n"))


def escape_character(one: str) -> str:
    """Returns a character, or its number where it is not printable."""
    return one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode()


def _escape(found: re.Match[str]) -> str:
    return escape_character(found[0])


def _escape_json(found: re.Match[str]) -> str:
    one = found[0]
    return one if one.isprintable() else json.dumps(one)[1:-1]

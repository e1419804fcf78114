"""Hostile handlers, language by language: read from `faults/*.md`, a page of cases each.

A case is a heading, a line of codes with which a run may end, and the body of its handler.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "faults"
OK = "ok"
"""The handler may also end well: what it tried came to nothing."""
_CASE = re.compile(r"^## ([^\n]+)\n\n([^\n]+)\n\n```\w+\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
_HEADS = {
    "lua": ("local m = {}\nfunction m.go(self)\n", "\nend\nreturn m\n"),
    "javascript": ("export async function go(self) {\n", "\n}\n"),
    "python": ("def go(self):\n", "\n"),
}
"""What stands before and behind a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One hostile module.

    Attributes:
        text: the module; its handler is `go`.
        ends: codes with which a call of `go` may end.
        lasts: True when it burns fuel to its limit, so that neighbours must be served meanwhile.
    """

    text: str
    ends: tuple[str, ...]
    lasts: bool


def read(language: str) -> dict[str, Fault]:
    """Returns the faults of a language by name; none where it has no page."""
    path = FOLDER / f"{language}.md"
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    before, behind = _HEADS[language]
    indent = "    " if language == "python" else ""
    found: dict[str, Fault] = {}
    for name, ends, body in _CASE.findall(text):
        codes, _, word = ends.partition("; ")
        lines = "\n".join(f"{indent}{line}" for line in body.split("\n"))
        found[name] = Fault(
            text=f"{before}{lines}{behind}",
            ends=tuple(codes.split(", ")),
            lasts=word == "lasts",
        )
    assert len(found) == text.count("\n## "), f"{path} has a case that cannot be read"
    return found

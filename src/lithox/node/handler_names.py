"""Can what a module gives be called at all? Pure.

A name no request can say (`openPoll`), or a module that gives nothing, would be published and never
be reached: a deploy refuses both, and says where in the source it is, as far as a search of the
text can tell. Names that begin with `_` are no handlers and are not asked about. What is stored
already is not looked at: it goes on as it was.
"""

from __future__ import annotations

import re
from typing import Any, Final

from lithox.errors import BadArguments, CompileFailed
from lithox.model.ids import check_handler_name
from lithox.sandbox.contract import Source

_EXPECTED: Final = "a name [a-z_][a-z0-9_]{0,63}"
_NAME_SHOWN_MAX: Final = 80
_PLACES_MAX: Final = 1_000
"""Places of a name that are looked at."""
_AROUND_CHARACTERS: Final = 200
"""How far to the left and right a place is looked at: a source may be one line."""
_HOW: Final = {
    "lua": "`function m.NAME(self) ... end` in the table it returns",
    "javascript": "`export function NAME(self) { ... }`",
    "python": "`def NAME(self):` at its top level",
    "component": "a name in the list that its `handlers` returns",
}
_HOW_ELSE: Final = "a name in its custom section `lithox.handlers.1`"
_DEFINES: Final = {
    "lua": (re.compile(r"function[^=\n]*$"), re.compile(r"[\"'\]\s]*=(?!=)")),
    "javascript": (re.compile(r"\bexport\b[^\n]*$"), None),
    "python": (re.compile(r"(?:^|\n)(?:async )?def +$"), re.compile(r"[ \t]*=(?!=)")),
}
"""language -> what stands before a name it defines, and what behind it."""


def check_given(source: Source, names: tuple[str, ...]) -> None:
    """Raises CompileFailed unless a module gives handlers, and each of them can be called.

    Args:
        source: the module.
        names: what it gives, without those that begin with `_`.
    """
    if not names:
        how = _HOW.get(source.language, _HOW_ELSE)
        raise CompileFailed(
            f"{source.name}: the module gives no handler; a handler is {how}, and its name does "
            "not begin with _",
            file=source.name,
            expected=how,
        )
    for name in names:
        try:
            check_handler_name(name)
        except BadArguments:
            raise _refusal_of(source, name) from None


def _refusal_of(source: Source, name: str) -> CompileFailed:
    line = find_line(source, name)
    place = source.name if line is None else f"{source.name}:{line}"
    fitting = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[: _NAME_SHOWN_MAX + 1]).lower()
    try:
        such_as = f", such as {check_handler_name(fitting)}"
    except BadArguments:
        such_as = ""
    fields: dict[str, Any] = {} if line is None else {"line": line}
    return CompileFailed(
        f"{place}: nobody could call handler {name[:_NAME_SHOWN_MAX]!r}: expected {_EXPECTED}"
        f"{such_as}",
        file=source.name,
        expected=_EXPECTED,
        **fields,
    )


def find_line(source: Source, name: str) -> int | None:
    """Returns the line (from 1) that most likely defines `name`, or None where none can be told."""
    if source.language not in _DEFINES or len(name) > _AROUND_CHARACTERS:
        return None
    text = source.text.decode("utf-8", "replace")
    before, behind = _DEFINES[source.language]
    first = None
    wanted = re.compile(rf"(?<![\w$]){re.escape(name)}(?![\w$])")
    for number, found in enumerate(wanted.finditer(text)):
        if number == _PLACES_MAX:
            break
        start, end = found.span()
        left = text[max(0, start - _AROUND_CHARACTERS) : start]
        if before.search(left) or (behind and behind.match(text, end, end + _AROUND_CHARACTERS)):
            return _line_at(text, start)
        first = start if first is None else first
    return None if first is None else _line_at(text, first)


def _line_at(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1

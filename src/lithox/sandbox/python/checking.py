"""What does the type check of a module know of the node, and what does it say?

The worker checks types before a module runs. It is told what `self` is by a class among its stubs,
to which the first parameter of each function at the top is bound, in the text that is checked and
in no other. So a method that does not exist and a call that is not awaited are found, with their
places in the text as it was written. Pure; nothing here runs a module.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, Final, NamedTuple, cast

from lithox.errors import CompileFailed

MESSAGES_MAX: Final = 10
"""Complaints of the type check that are told."""
UNKNOWN_ERRORS: Final = (
    *("FileExistsError", "FileNotFoundError", "ImportError", "IsADirectoryError"),
    *("ModuleNotFoundError", "NotADirectoryError", "PermissionError", "UnboundLocalError"),
    *("UnicodeDecodeError", "UnicodeEncodeError"),
)
UNKNOWN_NAMES: Final = ("filter", "format", "getattr", "hasattr", "map", "open", "setattr")
"""Built-in names that the worker's Python has and its type check has not heard of."""
SELF_TYPE: Final = "LithoxSelf"
SELF_STUB: Final = f"""
class LithoxFailure:
    code: str
    message: str
    data: Any

class LithoxReader:
    size: int
    digest: str
    async def read(self, size: int = ...) -> bytes: ...
    def seek(self, offset: int) -> int: ...

class LithoxWriter:
    async def write(self, data: bytes) -> Any: ...
    async def close(self) -> str: ...

class {SELF_TYPE}:
    id: str
    caller: str
    request_id: Any
    attempt: int
    state: dict[str, Any]
    def now(self) -> int: ...
    def log(self, level: str, message: Any, fields: Any = ...) -> None: ...
    def usage(self) -> Any: ...
    def error(self, code: Any, message: Any = ..., data: Any = ...) -> RuntimeError: ...
    def error_of(self, error: BaseException) -> LithoxFailure: ...
    async def state_get(self, key: str) -> Any: ...
    async def state_put(self, key: str, value: Any) -> None: ...
    async def state_delete(self, key: str) -> None: ...
    async def scan(self, prefix: str = ..., after: Any = ..., limit: Any = ...) -> Any: ...
    async def range(
        self, first: str = ..., end: Any = ..., after: Any = ..., limit: Any = ...
    ) -> Any: ...
    async def call(self, entity: str, handler: str, *args: Any) -> Any: ...
    async def request(self, entity: str, handler: str, *args: Any) -> Any: ...
    async def send(self, entity: str, handler: str, *args: Any) -> Any: ...
    async def after(self, ms: Any, handler: str, *args: Any) -> Any: ...
    async def at(self, ms: Any, handler: str, *args: Any) -> Any: ...
    async def every(self, ms: Any, handler: str, *args: Any) -> Any: ...
    async def cron(self, line: str, handler: str, *args: Any) -> Any: ...
    async def schedule(self, **options: Any) -> Any: ...
    async def cancel(self, id: Any) -> Any: ...
    async def timers(self, after: Any = ...) -> Any: ...
    async def reader(self, key: str) -> Any: ...
    def writer(self, key: str) -> LithoxWriter: ...
"""
STUBS: Final = "\n".join(
    (
        "from typing import Any",
        *(f"class {name}(Exception): ..." for name in UNKNOWN_ERRORS),
        *(f"{name}: Any" for name in UNKNOWN_NAMES),
        SELF_STUB,
    )
)
HARMLESS: Final = frozenset(("unused-type-ignore-comment", "unused-ignore-comment"))
"""What the type check complains of that is no reason to refuse a module."""
SELF_PAGE: Final = "docs/reference/python-handlers.md"
LIMITS_PAGE: Final = "docs/limitations/python.md"

_DEF: Final = r"^(?:async[ \t]+)?def[ \t]+([^\W\d]\w{0,99})[ \t]*\("
_FUNCTION: Final = re.compile(_DEF, re.MULTILINE)
_WITH_SELF: Final = re.compile(_DEF + r"\s*self(?=\s*[,)])", re.MULTILINE)
_WITHOUT: Final = re.compile(r"\s*(?:\)|\*\*|\*\s*,)")
_WORD: Final = re.compile(r"\w+")
_BOUND: Final = f": {SELF_TYPE}"
_EXPECTED: Final = re.compile(r"[Ee]xpected `?(.{1,80}?)`?(?:,|$| found| but)")
_EXPECTED_TYPE: Final = re.compile(r"assignable to `([^`]{1,80})`|[Ee]xpected `([^`]{1,80})`")


class Checked(NamedTuple):
    """Text for the type check.

    Attributes:
        text: of the module, with `self` bound to its type.
        places: line -> the column behind which that has been put in.
    """

    text: str
    places: dict[int, int]


def bind_self(text: str) -> Checked:
    """Returns `text` for the check: first parameters called `self` have the type of the stub."""
    pieces: list[str] = []
    places: dict[int, int] = {}
    at, line, line_start = 0, 1, 0
    for found in _WITH_SELF.finditer(text):
        end = found.end()
        piece = text[at:end]
        line += piece.count("\n")
        if "\n" in piece:
            line_start = at + piece.rindex("\n") + 1
        places[line] = end - line_start
        pieces += (piece, _BOUND)
        at = end
    return Checked("".join((*pieces, text[at:])), places)


def refuse_without_self(text: str, name: str, handlers: list[str]) -> None:
    """Refuses a handler that takes no argument at all, and that nothing in the module names.

    Raises:
        CompileFailed: with file, line, column and what is expected.
    """
    bad: dict[str, int] = {}
    good: set[str] = set()
    for found in _FUNCTION.finditer(text):
        before = max(0, found.start() - 1)
        is_decorated = text.startswith("@", text.rfind("\n", 0, before) + 1, before)
        if not is_decorated and _WITHOUT.match(text, found.end()):
            bad[found[1]] = found.end()
        else:
            good.add(found[1])
    candidates = [handler for handler in handlers if handler in bad and handler not in good]
    words = Counter(found[0] for found in _WORD.finditer(text)) if candidates else Counter[str]()
    for handler in candidates:
        # A function that the module itself uses is a helper.
        if words[handler] == 1:
            at = bad[handler]
            line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
            raise CompileFailed(
                f"{name}:{line}:{column}: the handler {handler!r} does not take `self`; a function "
                f"that is no handler is called `_{handler}`",
                file=name,
                line=line,
                column=column,
                expected="self",
            )


def judge_types(diagnostics: str, name: str, checked: Checked) -> None:
    """Raises what the type check says, one line of JSON for each complaint that counts.

    Raises:
        CompileFailed: with the first place, and what is expected there, where that is known.
    """
    told: list[str] = []
    fields: dict[str, Any] = {"file": name}
    for line in diagnostics.splitlines():
        if len(told) >= MESSAGES_MAX:
            break
        try:
            found = cast("dict[str, Any]", json.loads(line))
            code = str(found.get("code") or "type error")
            if code in HARMLESS:
                continue
            place = cast("dict[str, Any]", found["location"])
            row, column = int(place["row"]), int(place["column"])
            message, expected = _reword(code, str(found["message"])[:300])
        except (ValueError, KeyError, TypeError):
            told.append(line[:300])
            continue
        if column > checked.places.get(row, column):
            column = max(checked.places[row], column - len(_BOUND))
        if "line" not in fields:
            fields |= {"line": row, "column": column}
            if expected is not None:
                fields["expected"] = expected
        told.append(f"{name}:{row}:{column}: {message} ({code})")
    if told:
        raise CompileFailed("\n".join(told), **fields)


def _reword(code: str, message: str) -> tuple[str, str | None]:
    """Returns (a complaint in words of the handler API, what is expected or None)."""
    if code == "unused-awaitable":
        return "the call is not awaited, so it would do nothing: write `await` before it", "await"
    if code == "unresolved-import":
        where = f"{LIMITS_PAGE} lists the modules that are there"
        message += f": {where}; what needs packages is a component, docs/how-to/components.md"
        return message, f"a module that {LIMITS_PAGE} lists"
    if code == "unresolved-attribute" and f"`{SELF_TYPE}`" in message:
        message = message.replace(f"Object of type `{SELF_TYPE}`", "`self`")
        message = message.replace(f" on type `{SELF_TYPE}`", " of `self`")
        return f"{message}; {SELF_PAGE} lists what it has", f"a name that {SELF_PAGE} lists"
    message = message.replace(f"`{SELF_TYPE}`", "`self`")
    message = message.replace(f"`{SELF_TYPE}.", "`self.").replace(f"{SELF_TYPE}.", "self.")
    found = _EXPECTED_TYPE.search(message)
    if found is not None:
        return message, found[1] or found[2]
    found = _EXPECTED.search(message) if code == "invalid-syntax" else None
    return message, None if found is None else found[1]

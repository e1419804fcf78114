"""How a failure reads on a terminal: one line, and below it where in the code it happened."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

import click

from lithox.cli.terminal import escape_json, escape_lines
from lithox.cli.tracebacks import find_place
from lithox.errors import CompileFailed, LithoxError, StoreInUse
from lithox.model.bundles import SOURCE_BYTES_MAX
from lithox.model.quantities import format_duration

EXIT_USAGE: Final = 2
EXIT_BUG: Final = 5
REPORT: Final = "please report it, with the output of LITHOX_TRACE=1, as an issue of the project"
_LINE_CHARACTERS_MAX: Final = 2000
_EXCERPT_CHARACTERS_MAX: Final = 400
MILLISECOND_NS: Final = 1_000_000


def _say(text: str, *, is_dim: bool = False) -> None:
    """Prints for people; parts of it may be a guest's words."""
    shown = escape_lines(text)
    if is_dim and is_terminal() and not os.environ.get("NO_COLOR"):
        shown = f"\x1b[2m{shown}\x1b[22m"
    print(shown, file=sys.stderr)


def show_usage(error: click.ClickException) -> None:
    """Prints a wrong command line: what is wrong, and where help is."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "lithox"
    _say(f"lithox: {error.format_message()} (see `{path} --help`)")


def show_error(error: LithoxError, *, folder: Path | None = None) -> None:
    """Prints an error as one line: message, code and when a retry may help.

    Below it stands what helps to find it: the line of code that does not compile, or where in its
    source a handler failed.

    Args:
        folder: where the deployed files are, so that a compile error can show its line.
    """
    text = _first_line(error.message)
    if isinstance(error, CompileFailed):
        text = _with_place(error, text)
    if isinstance(error, StoreInUse):
        text += "; or speak to it with --node"
    retry = error.retry_after_ms
    if retry is not None:
        text += f" (a retry may succeed in {format_duration(retry * MILLISECOND_NS)})"
    _say(f"lithox: {text} [{error.code}]")
    excerpt = _excerpt(error, folder)
    if excerpt is not None:
        _say(excerpt)
    place = find_place(error)
    if place is not None and f"{place}:" not in text:
        _say(f"  at {place}", is_dim=True)


def show_end(code: str, message: str) -> None:
    """Prints why a program was ended, as one line; nothing when it ended by itself."""
    if code not in {"", "process.exited"}:
        _say(f"lithox: {_first_line(message)} [{code}]")


def show_notice(text: str) -> None:
    """Prints a line of ours on stderr."""
    _say(text)


def show_json_error(error: LithoxError) -> None:
    """Prints an error as the HTTP contract shapes it, on stdout, for `--json`."""
    from lithox.model.values import to_json

    body = {"status": error.code, "error": to_json(error.to_fields())}
    print(escape_json(json.dumps(body, ensure_ascii=False, default=str)))


def show_bug(error: BaseException) -> None:
    """Prints a fault of our own: one line, and how to report it."""
    kind = type(error).__name__
    _say(f"lithox: internal error: {kind}: {_first_line(str(error))}; {REPORT} [internal]")


def _first_line(text: str) -> str:
    return " ".join(text.split())[:_LINE_CHARACTERS_MAX]


def _with_place(error: CompileFailed, text: str) -> str:
    """Returns `text` with `file:line:column:` before it, instead of what it says of that itself."""
    file, line, column = _place_of(error)
    if file is None:
        return text
    for said in (f"{file}:{line}:{column}:", f"{file}:{line}:", f"{file}:"):
        if text.startswith(said):
            text = text.removeprefix(said).lstrip()
            break
    else:
        if line is not None and f"{file}:{line}" in text:
            return text
    numbers = (line,) if column is None else (line, column)
    place = ":".join([file, *(str(one) for one in numbers if one is not None)])
    return f"{place}: {text}"


def _place_of(error: LithoxError) -> tuple[str | None, int | None, int | None]:
    """Returns (file, line, column) as far as an error names them; a node may say anything."""
    file, line, column = (error.fields.get(key) for key in ("file", "line", "column"))
    return (
        file if isinstance(file, str) else None,
        line if type(line) is int else None,
        column if type(column) is int and column > 0 and type(line) is int else None,
    )


def _excerpt(error: LithoxError, folder: Path | None) -> str | None:
    """Returns the line of code an error names, with its number and a mark, or None."""
    file, line, column = _place_of(error)
    code = error.fields.get("excerpt")
    if not isinstance(code, str):
        code = _read_line(file, line, folder)
    if code is None:
        return None
    head = "  | " if line is None else f"  {line} | "
    shown = code.partition("\n")[0][:_EXCERPT_CHARACTERS_MAX]
    # What is shown as an escape takes more room than the mark below knows of.
    is_plain = shown.replace("\t", "").isprintable()
    if column is None or column > len(shown) + 1 or not is_plain:
        return head + shown
    # Tabs stay, so that the mark stands below what it means.
    before = "".join("\t" if one == "\t" else " " for one in shown[: column - 1])
    return f"{head}{shown}\n{' ' * (len(head) - 2)}| {before}^"


def _read_line(file: str | None, line: int | None, folder: Path | None) -> str | None:
    """Returns line `line` of a deployed file, if it is there and a text."""
    if folder is None or file is None or line is None:
        return None
    base = folder if folder.is_dir() else folder.parent
    for candidate in (base / file, Path(file)):
        try:
            with candidate.open("rb") as opened:
                text = opened.read(SOURCE_BYTES_MAX)
        except (OSError, ValueError):
            continue
        lines = text.decode("utf-8", "replace").splitlines()
        if 1 <= line <= len(lines) and b"\0" not in text:
            return lines[line - 1]
    return None


def is_terminal() -> bool:
    """Returns whether a person is looking at stderr."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

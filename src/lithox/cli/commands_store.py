"""`lithox store ls/get/set/history/rollback/rm`: programs, libraries and runtimes by name."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from lithox.cli.backend import Backend, open_backend
from lithox.cli.options import COUNT, Target, target_options
from lithox.cli.terminal import escape_line, escape_lines
from lithox.errors import TooLarge

if TYPE_CHECKING:
    from lithox.cli.console import Column

KINDS: Final = ("program", "library", "runtime")
TEXT_BYTES_MAX: Final = 1 << 20
"""As much as a node takes; more is not read from a file."""
PAGE_SIZE: Final = 500
LISTED_DEFAULT: Final = 1000

_kind = click.argument("kind", type=click.Choice(KINDS))
_name = click.argument("name")


def _time_of(row: dict[str, Any]) -> str:
    """Returns the time of a version in UTC, to the second; nothing for the package's copy."""
    at_ms = row.get("at_ms", 0)
    if not at_ms:
        return ""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _size_of(row: dict[str, Any]) -> str:
    from lithox.model.quantities import format_size

    return "removed" if row.get("removed") else format_size(row.get("size", 0))


VERSION_COLUMNS: Final[tuple[Column, ...]] = (
    ("VERSION", lambda row: str(row.get("version", ""))),
    ("SIZE", _size_of),
    ("TIME", _time_of),
    ("BY", lambda row: str(row.get("by", ""))),
    ("RUNTIME", lambda row: str(row.get("runtime") or "")),
    ("NOTE", lambda row: str(row.get("note", ""))),
)
NAME_COLUMNS: Final[tuple[Column, ...]] = (
    ("KIND", lambda row: str(row.get("kind", ""))),
    ("NAME", lambda row: str(row.get("name", ""))),
    *VERSION_COLUMNS,
)


@click.group()
def store() -> None:
    """Programs, libraries and runtimes: KIND is one of program, library, runtime."""


@store.command("ls")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.argument("prefix", default="")
@click.option(
    "--limit", type=COUNT, default=LISTED_DEFAULT, show_default=True, help="How many at most."
)
@target_options
def store_ls(*, kind: str | None, prefix: str, limit: int, target: Target, as_json: bool) -> None:
    """List the names of a store, or of all three."""
    from lithox.cli.console import print_json, print_table, run_async

    async def work() -> tuple[list[dict[str, Any]], bool]:
        async with open_backend(target) as node:
            found: list[dict[str, Any]] = []
            more = False
            for one in KINDS if kind is None else (kind,):
                rows, is_cut = await _list(node, one, prefix, limit - len(found))
                found += [{"kind": one, **row} for row in rows]
                more = more or is_cut
            return found, more

    rows, more = run_async(work())
    if as_json:
        print_json({"items": rows, "more": more})
        return
    print_table(rows, NAME_COLUMNS)
    if more:
        click.echo(f"lithox: there are more; use --limit above {limit}", err=True)


async def _list(
    node: Backend, kind: str, prefix: str, limit: int
) -> tuple[list[dict[str, Any]], bool]:
    """Returns up to `limit` rows, page by page, and whether others follow."""
    found: list[dict[str, Any]] = []
    more = True
    while more and len(found) < limit:
        after = found[-1]["name"] if found else ""
        page_limit = min(PAGE_SIZE, limit - len(found))
        rows, more = await node.store_list(kind, prefix, after=after, limit=page_limit)
        found += rows
        more = more and bool(rows)
    return found, more


@store.command("get")
@_kind
@_name
@click.option("--version", type=int, metavar="N", help="Which version; 0 is the package's copy.")
@target_options
def store_get(*, kind: str, name: str, version: int | None, target: Target, as_json: bool) -> None:
    """Print the text of NAME; on a terminal control characters are shown, not obeyed."""
    from lithox.cli.console import print_json, run_async
    from lithox.model.values import to_json

    async def work() -> tuple[bytes, dict[str, Any]]:
        async with open_backend(target) as node:
            return await node.store_get(kind, name, version)

    text, info = run_async(work())
    if as_json:
        try:
            shown = to_json(text.decode())
        except UnicodeDecodeError:
            shown = to_json(text)
        print_json({"text": shown, "info": info})
    elif sys.stdout.isatty():
        click.echo(escape_lines(text.decode("utf-8", "backslashreplace")), nl=False)
    else:
        sys.stdout.buffer.write(text)
        sys.stdout.flush()


@store.command("set")
@_kind
@_name
@click.argument("file", type=click.File("rb"))
@click.option("--note", metavar="TEXT", help="Why; kept with the version.")
@click.option("--runtime", metavar="NAME", help="The runtime a program asks for ('' for none).")
@click.option(
    "--check", metavar="RUNTIME", help="Set it only if it loads under this runtime (native, ...)."
)
@target_options
def store_set(  # noqa: PLR0913 - click gives every option by its name
    *,
    kind: str,
    name: str,
    file: IO[bytes],
    note: str | None,
    runtime: str | None,
    check: str | None,
    target: Target,
    as_json: bool,
) -> int:
    """Make the content of FILE (`-`: stdin) the newest version of NAME; print its number."""
    from lithox.cli.console import run_async
    from lithox.cli.failures import show_error, show_json_error
    from lithox.errors import CompileFailed

    text = file.read(TEXT_BYTES_MAX + 1)
    if len(text) > TEXT_BYTES_MAX:
        raise TooLarge(f"{file.name}: more than {TEXT_BYTES_MAX} bytes")

    async def work() -> int:
        async with open_backend(target, may_create=True) as node:
            return await node.store_set(kind, name, text, note=note, runtime=runtime, check=check)

    try:
        version = run_async(work())
    except CompileFailed as error:
        if as_json:
            show_json_error(error)
        # The node knows the text by its name in the store; its line is in the file given here.
        place = f"{file.name}:{error.fields.get('line')}"
        error.message = error.message.replace(f"{name}:{error.fields.get('line')}", place, 1)
        error.fields["file"] = str(file.name)
        show_error(error, folder=Path())
        return error.exit_status
    _tell(kind, name, version, as_json=as_json)
    return 0


@store.command("history")
@_kind
@_name
@click.option("--limit", type=COUNT, default=100, show_default=True, help="How many at most.")
@target_options
def store_history(*, kind: str, name: str, limit: int, target: Target, as_json: bool) -> None:
    """List the versions of NAME, newest first."""
    from lithox.cli.console import print_json, print_table, run_async

    async def work() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with open_backend(target) as node:
            while len(found) < limit:
                page_limit = min(PAGE_SIZE, limit - len(found))
                before = found[-1]["version"] if found else None
                rows = await node.store_history(kind, name, before=before, limit=page_limit)
                found += rows
                if len(rows) < page_limit:
                    break
        return found

    rows = run_async(work())
    if as_json:
        print_json({"versions": rows})
    else:
        print_table(rows, VERSION_COLUMNS)


@store.command("rollback")
@_kind
@_name
@click.argument("version", type=int)
@click.option("--note", metavar="TEXT", help="Why; kept with the version.")
@target_options
def store_rollback(  # noqa: PLR0913 - click gives every option by its name
    *, kind: str, name: str, version: int, note: str | None, target: Target, as_json: bool
) -> None:
    """Make the text of an old VERSION the newest of NAME; print the new version's number."""
    from lithox.cli.console import run_async

    async def work() -> int:
        async with open_backend(target) as node:
            return await node.store_rollback(kind, name, version, note=note)

    _tell(kind, name, run_async(work()), as_json=as_json)


@store.command("rm")
@_kind
@_name
@click.option("--history", is_flag=True, help="Forget its versions too, and free their texts.")
@target_options
def store_rm(*, kind: str, name: str, history: bool, target: Target, as_json: bool) -> None:
    """Remove NAME; its history stays and can be rolled back to, unless --history."""
    from lithox.cli.console import run_async

    async def work() -> int:
        async with open_backend(target) as node:
            return await node.store_remove(kind, name, forgets_history=history)

    _tell(kind, name, run_async(work()), as_json=as_json)


def _tell(kind: str, name: str, version: int, *, as_json: bool) -> None:
    from lithox.cli.console import print_json

    if as_json:
        print_json({"version": version})
    else:
        click.echo(escape_line(f"{kind} {name}: version {version}"))

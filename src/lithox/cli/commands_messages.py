"""`lithox messages ls/dead/retry/purge`: what waits to be delivered, and what could not be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from lithox.cli.backend import Backend, open_backend
from lithox.cli.options import COUNT, Target, target_options
from lithox.cli.terminal import escape_line

if TYPE_CHECKING:
    from lithox.cli.console import Column

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 500
_page_options = (
    click.option("--after", default="", metavar="ID", help="Go on after this id."),
    click.option(
        "--limit", type=COUNT, default=LIMIT_DEFAULT, show_default=True, help="Show at most N."
    ),
)

MESSAGE_COLUMNS: Final[tuple[Column, ...]] = (
    ("ID", lambda row: str(row["id"])),
    ("SENDER", lambda row: str(row["sender"])),
    ("RECEIVER", lambda row: str(row["receiver"])),
    ("HANDLER", lambda row: str(row["handler"])),
    ("TIMER", lambda row: str(row["timer"] or "")),
    ("TRIES", lambda row: str(row["tries"])),
    ("BYTES", lambda row: str(row["bytes"])),
)
DEAD_COLUMNS: Final[tuple[Column, ...]] = (
    ("ID", lambda row: str(row["id"])),
    ("SENDER", lambda row: str(row.get("sender", ""))),
    ("RECEIVER", lambda row: str(row.get("receiver", ""))),
    ("HANDLER", lambda row: str(row.get("handler", ""))),
    ("TRIES", lambda row: str(row["tries"])),
    ("CODE", lambda row: str(row["code"])),
    ("MESSAGE", lambda row: str(row["message"])),
)


@click.group()
def messages() -> None:
    """Messages between entities: what waits, and what failed for good."""


def _paged(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in _page_options:
        function = option(function)
    return function


@messages.command("ls")
@_paged
@target_options
def messages_ls(*, after: str, limit: int, target: Target, as_json: bool) -> None:
    """List messages that wait to be delivered."""
    rows, more = _run(
        target, lambda node: node.messages_list(after=after, limit=min(limit, LIMIT_MAX))
    )
    _show(rows, more, "messages", MESSAGE_COLUMNS, as_json=as_json)


@messages.command("dead")
@_paged
@target_options
def messages_dead(*, after: str, limit: int, target: Target, as_json: bool) -> None:
    """List messages that failed as often as they may, each with its last error."""
    rows, more = _run(
        target, lambda node: node.messages_dead(after=after, limit=min(limit, LIMIT_MAX))
    )
    _show(rows, more, "dead", DEAD_COLUMNS, as_json=as_json)


@messages.command("retry")
@click.argument("ids", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="All dead letters.")
@target_options
def messages_retry(*, ids: tuple[str, ...], is_all: bool, target: Target, as_json: bool) -> None:
    """Deliver dead letters again: those with IDS, or --all."""
    wanted = _which(ids, is_all=is_all)
    count = _run(target, lambda node: node.messages_retry(wanted))
    _tell(count, "delivered again", as_json=as_json)


@messages.command("purge")
@click.argument("ids", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="All dead letters.")
@target_options
def messages_purge(*, ids: tuple[str, ...], is_all: bool, target: Target, as_json: bool) -> None:
    """Forget dead letters for good: those with IDS, or --all."""
    wanted = _which(ids, is_all=is_all)
    count = _run(target, lambda node: node.messages_purge(wanted))
    _tell(count, "forgotten", as_json=as_json)


def _which(ids: tuple[str, ...], *, is_all: bool) -> list[str] | None:
    if bool(ids) == is_all:
        raise click.UsageError("say which: ids of dead letters, or --all")
    return None if is_all else list(ids)


def _tell(count: int, done: str, *, as_json: bool) -> None:
    from lithox.cli.console import print_json

    if as_json:
        print_json({"count": count})
    else:
        click.echo(f"{count} dead letter{'' if count == 1 else 's'} {done}")


def _show(
    rows: list[dict[str, Any]],
    more: bool,  # noqa: FBT001 - the second half of a page
    name: str,
    columns: tuple[Column, ...],
    *,
    as_json: bool,
) -> None:
    from lithox.cli.console import print_json, print_table
    from lithox.model.values import to_json

    if as_json:
        print_json({name: to_json(rows), "more": more})
        return
    print_table(rows, columns)
    if more:
        click.echo(escape_line(f"more follow: --after {rows[-1]['id']}"), err=True)


def _run(target: Target, ask: Callable[[Backend], Any]) -> Any:
    from lithox.cli.console import run_async

    async def work() -> Any:
        async with open_backend(target) as node:
            return await ask(node)

    return run_async(work())

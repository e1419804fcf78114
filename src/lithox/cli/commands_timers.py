"""`lithox timers ls/cancel`: what an entity will be called for, and when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from lithox.cli.backend import open_backend
from lithox.cli.commands_messages import LIMIT_DEFAULT, LIMIT_MAX
from lithox.cli.options import COUNT, Target, target_options
from lithox.cli.terminal import escape_line

if TYPE_CHECKING:
    from lithox.cli.console import Column

NS_PER_MS: Final = 1_000_000


def _due_of(row: dict[str, Any]) -> str:
    """Returns the time as ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(row["due"] / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _repeats_of(row: dict[str, Any]) -> str:
    if row["every"]:
        from lithox.model.quantities import format_duration

        return f"every {format_duration(row['every'] * NS_PER_MS)}"
    return f"{row['cron']} ({row['zone']})" if row["cron"] else ""


TIMER_COLUMNS: Final[tuple[Column, ...]] = (
    ("ID", lambda row: str(row["id"])),
    ("HANDLER", lambda row: str(row["handler"])),
    ("DUE", _due_of),
    ("REPEATS", _repeats_of),
    ("MISSED", lambda row: str(row["missed"] or "")),
)


@click.group()
def timers() -> None:
    """Timers and schedules of entities."""


@timers.command("ls")
@click.argument("entity")
@click.option("--after", default="", metavar="ID", help="Go on after this id.")
@click.option(
    "--limit", type=COUNT, default=LIMIT_DEFAULT, show_default=True, help="Show at most N."
)
@target_options
def timers_ls(*, entity: str, after: str, limit: int, target: Target, as_json: bool) -> None:
    """List the timers of ENTITY: what each calls, when, and how it repeats."""
    from lithox.cli.console import print_json, print_table, run_async
    from lithox.model.values import to_json

    async def work() -> tuple[list[dict[str, Any]], bool]:
        async with open_backend(target) as node:
            return await node.timers_list(entity, after=after, limit=min(limit, LIMIT_MAX))

    rows, more = run_async(work())
    if as_json:
        print_json({"timers": to_json(rows), "more": more})
        return
    print_table(rows, TIMER_COLUMNS)
    if more:
        click.echo(escape_line(f"more follow: --after {rows[-1]['id']}"), err=True)


@timers.command("cancel")
@click.argument("entity")
@click.argument("timer")
@target_options
def timers_cancel(*, entity: str, timer: str, target: Target, as_json: bool) -> None:
    """Cancel TIMER (its id or name) of ENTITY."""
    from lithox.cli.console import print_json, run_async

    async def work() -> None:
        async with open_backend(target) as node:
            await node.timers_cancel(entity, timer)

    run_async(work())
    if as_json:
        print_json({"status": "ok"})
    else:
        click.echo(escape_line(f"cancelled {timer} of {entity}"))

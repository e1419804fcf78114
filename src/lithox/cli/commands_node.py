"""`lithox ps`, `top`, `kill`, `node info`, `audit`: watching and steering a node."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from lithox.cli.backend import Backend, open_backend
from lithox.cli.options import COUNT, DURATION, Target, target_options
from lithox.cli.terminal import escape_line

AUDIT_ROWS_MAX: Final = 500
_TOP_INTERVAL: Final = "1s"


@click.command()
@target_options
def ps(*, target: Target, as_json: bool) -> None:
    """List processes."""
    from lithox.cli.console import PROCESS_COLUMNS, print_json, print_table, run_async

    async def work() -> list[dict[str, Any]]:
        async with open_backend(target) as node:
            return await node.processes()

    rows = run_async(work())
    if as_json:
        print_json(rows)
    else:
        print_table(rows, PROCESS_COLUMNS)


@click.command()
@click.option(
    "--interval", type=DURATION, default=_TOP_INTERVAL, show_default=True, help="Time between."
)
@click.option("--count", type=COUNT, metavar="N", help="End after N refreshes.")
@target_options
def top(
    *,
    interval: int,
    count: int | None,
    target: Target,
    as_json: bool,
) -> None:
    """Show processes by what they use, refreshed in place; ends with Ctrl-C."""
    from lithox.cli.console import run_async

    # Where nobody looks there is nothing to refresh: one table, as `ps`.
    rounds = count if count is not None or sys.stdout.isatty() else 1

    async def work() -> None:
        async with open_backend(target) as node:
            await _watch(node, interval_s=interval / 1e9, rounds=rounds, as_json=as_json)

    try:
        run_async(work())
    except KeyboardInterrupt:
        return


async def _watch(node: Backend, *, interval_s: float, rounds: int | None, as_json: bool) -> None:
    """Prints the process table `rounds` times (None: until interrupted)."""
    import asyncio

    from lithox.cli.console import PROCESS_COLUMNS, print_json, print_table

    shown = 0
    if as_json or not sys.stdout.isatty():
        while rounds is None or shown < rounds:
            if shown:
                await asyncio.sleep(interval_s)
            rows = by_use(await node.processes())
            if as_json:
                print_json(rows)
            else:
                print_table(rows, PROCESS_COLUMNS)
            shown += 1
        return
    from rich.live import Live

    with Live(screen=rounds is None, auto_refresh=False) as live:
        while rounds is None or shown < rounds:
            if shown:
                await asyncio.sleep(interval_s)
            info = await node.node_info()
            live.update(_screen(info, by_use(await node.processes())), refresh=True)
            shown += 1


def by_use(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns processes, the one that has used most fuel first."""
    return sorted(rows, key=lambda row: (-row.get("fuel", 0), row.get("pid", 0)))


def _screen(info: dict[str, Any], rows: list[dict[str, Any]]) -> Any:
    """Returns one picture of `top`: a line on the node, then its processes."""
    from rich.console import Group
    from rich.text import Text

    from lithox.cli.console import PROCESS_COLUMNS, make_table
    from lithox.model.quantities import format_duration

    uptime = format_duration(int(info.get("uptime_ms", 0)) * 1_000_000)
    head = f"lithox {info.get('version', '')}  up {uptime}  {len(rows)} processes"
    return Group(Text(head, style="bold"), make_table(rows, PROCESS_COLUMNS))


@click.command()
@click.argument("pid", type=click.IntRange(min=0))
@target_options
def kill(*, pid: int, target: Target, as_json: bool) -> None:
    """End process PID and the request it runs; nothing of that run remains."""
    from lithox.cli.console import print_json, run_async

    async def work() -> None:
        async with open_backend(target) as node:
            await node.kill(pid)

    run_async(work())
    if as_json:
        print_json({"killed": pid})
    else:
        click.echo(f"ended {pid}")


@click.group()
def node() -> None:
    """The node itself."""


@node.command("info")
@target_options
def node_info(*, target: Target, as_json: bool) -> None:
    """Describe the node."""
    from lithox.cli.console import print_json, run_async

    async def work() -> dict[str, Any]:
        async with open_backend(target) as opened:
            return await opened.node_info()

    found = run_async(work())
    if as_json:
        print_json(found)
        return
    width = max(map(len, found), default=0)
    for name, value in found.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType]
        click.echo(escape_line(f"{name:<{width}}  {shown}"))


@click.command()
@click.option(
    "--limit",
    type=click.IntRange(1, AUDIT_ROWS_MAX),
    default=50,
    show_default=True,
    help="How many, newest first.",
)
@target_options
def audit(*, limit: int, target: Target, as_json: bool) -> None:
    """List refusals, aborts and administrative acts: who, what, when, how it ended."""
    from lithox.cli.console import AUDIT_COLUMNS, print_json, print_table, run_async

    async def work() -> list[dict[str, Any]]:
        async with open_backend(target) as opened:
            return await opened.audit(limit)

    rows = run_async(work())
    if as_json:
        print_json(rows)
    else:
        print_table(rows, AUDIT_COLUMNS)

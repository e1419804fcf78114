"""`lithox ps`, `top`, `kill`, `node info`, `audit`: watching and steering a node."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import click

from lithox.cli.backend import Backend, open_backend
from lithox.cli.options import COUNT, DURATION, Target, target_options
from lithox.cli.process_table import ORDER_BY_NAME
from lithox.cli.terminal import escape_line

AUDIT_ROWS_MAX: Final = 500
_TOP_INTERVAL: Final = "1s"


@click.command()
@target_options
def ps(*, target: Target, as_json: bool) -> None:
    """List processes."""
    from lithox.cli.console import print_json, print_table, run_async
    from lithox.cli.process_table import PROCESS_COLUMNS

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
@click.option(
    "--sort",
    "order",
    type=click.Choice(sorted(ORDER_BY_NAME)),
    default="fuel",
    show_default=True,
    help="What comes first.",
)
@click.option("--flat", is_flag=True, help="A list instead of a tree.")
@target_options
def top(  # noqa: PLR0913 - click gives every option by its name
    *,
    interval: int,
    count: int | None,
    order: str,
    flat: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Show processes as a tree, refreshed in place; keys sort and end, `q` leaves.

    Where no terminal is, one table is printed.
    """
    from lithox.cli.console import run_async

    is_living = sys.stdout.isatty() and sys.stdin.isatty() and not as_json

    async def work() -> None:
        async with open_backend(target) as node:
            if is_living:
                from lithox.cli.top import watch

                await watch(
                    node, order=order, is_tree=not flat, interval_s=interval / 1e9, rounds=count
                )
                return
            # Where nobody looks there is nothing to refresh: one table, as `ps`.
            await _print_frames(
                node,
                interval_s=interval / 1e9,
                rounds=count or 1,
                show=lambda rows: _print_frame(rows, order, is_tree=not flat, as_json=as_json),
            )

    try:
        run_async(work())
    except KeyboardInterrupt:
        return


async def _print_frames(
    node: Backend,
    *,
    interval_s: float,
    rounds: int,
    show: Callable[[list[dict[str, Any]]], None],
) -> None:
    """Prints the process table `rounds` times."""
    import asyncio

    from lithox.cli.process_table import add_load

    before: dict[int, int] = {}
    for shown in range(rounds):
        if shown:
            await asyncio.sleep(interval_s)
        rows = await node.processes()
        before = add_load(rows, before, int(interval_s * 1e6) if shown else 0)
        show(rows)


def _print_frame(rows: list[dict[str, Any]], order: str, *, is_tree: bool, as_json: bool) -> None:
    from lithox.cli.console import print_json, print_table
    from lithox.cli.process_table import TOP_COLUMNS, arrange

    arranged = arrange(rows, ORDER_BY_NAME[order], is_tree=is_tree)
    if as_json:
        print_json(arranged)
    else:
        print_table(arranged, TOP_COLUMNS)


@click.command()
@click.argument("pid", type=click.IntRange(min=0))
@target_options
def kill(*, pid: int, target: Target, as_json: bool) -> None:
    """End process PID: a program with its children, or a run, of which nothing remains."""
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

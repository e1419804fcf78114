"""Printing: tables, values as JSON, progress for what takes longer than a second."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lithox.cli.failures import is_terminal
from lithox.cli.process_table import Column
from lithox.cli.terminal import escape_json, escape_line

if TYPE_CHECKING:
    from rich.table import Table

Result = TypeVar("Result")
PROGRESS_AFTER_SECONDS: Final = 1.0


def _time_of(row: dict[str, Any]) -> str:
    """Returns the time of an audit record in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(row.get("at_ms", 0) / 1000, UTC)
    return moment.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00") + "Z"


AUDIT_COLUMNS: Final[tuple[Column, ...]] = (
    ("TIME", _time_of),
    ("WHO", lambda row: str(row.get("identity", ""))),
    ("ACT", lambda row: str(row.get("act", ""))),
    ("ENTITY", lambda row: str(row.get("entity", ""))),
    ("OUTCOME", lambda row: str(row.get("outcome", ""))),
    ("DETAIL", lambda row: str(row.get("detail", ""))),
)


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs a command's work on a loop of its own."""
    return asyncio.run(work)


def print_json(data: Any, *, is_indented: bool = False) -> None:
    """Prints plain JSON, keys in their own order; only what is not printable is escaped."""
    indent = 2 if is_indented else None
    print(escape_json(json.dumps(data, ensure_ascii=False, indent=indent, default=str)))


def print_value(value: Any) -> None:
    """Prints a value of the contract as JSON (bytes and `$` maps escaped)."""
    from lithox.model.values import encode_json

    print(escape_json(encode_json(value).decode()))


def make_table(rows: Iterable[dict[str, Any]], columns: Iterable[Column]) -> Table:
    """Returns rows as a table without lines, ready for rich; long cells go on below."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    listed = tuple(columns)
    for title, _ in listed:
        table.add_column(title, overflow="fold", justify="left")
    for row in rows:
        table.add_row(*(_safe(read(row)) for _, read in listed))
    return table


def make_cells(
    rows: Iterable[dict[str, Any]],
    columns: Iterable[Column],
    *,
    shrinks: str,
    is_chosen: Callable[[dict[str, Any]], bool],
) -> Table:
    """Returns the same with one line a row and the chosen row marked.

    Args:
        shrinks: title of the column that is cut where there is too little room.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    found, listed = list(rows), tuple(columns)
    for title, read in listed:
        width = max([len(title), *(len(escape_line(read(row))) for row in found)])
        table.add_column(
            title, overflow="ellipsis", no_wrap=True, min_width=1 if title == shrinks else width
        )
    for row in found:
        style = "reverse" if is_chosen(row) else None
        table.add_row(*(_safe(read(row)) for _, read in listed), style=style)
    return table


def print_table(rows: Iterable[dict[str, Any]], columns: Iterable[Column]) -> None:
    """Prints rows in columns; plain text with tabs where nobody looks, so that `cut` works."""
    listed, found = tuple(columns), list(rows)
    if not sys.stdout.isatty():
        print("\t".join(title for title, _ in listed))
        for row in found:
            print("\t".join(escape_line(read(row)) for _, read in listed))
        return
    from rich.console import Console

    Console().print(make_table(found, listed))


def _safe(text: str) -> str:
    from rich.markup import escape

    return escape(escape_line(text))


async def with_progress(work: Awaitable[Result], text: str) -> Result:
    """Awaits `work`; after a second tells on stderr that it still runs, and for how long."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=PROGRESS_AFTER_SECONDS)
        if done:
            return task.result()
        if not is_terminal():
            print(f"lithox: {text} ...", file=sys.stderr)
            return await task
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            progress.add_task(text, total=None)
            return await task
    finally:
        if not task.done():
            task.cancel()

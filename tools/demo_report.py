"""What the demo shows: steps and progress while it runs, tables at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from demo import Outcome
    from demo_load import Segment


class Stage:
    """Says what happens, with the seconds since the start; moves a bar while records flow."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def say(self, text: str) -> None:
        """Prints one step."""
        seconds = time.monotonic() - self._began
        self._console.print(f"[dim]{seconds:5.1f} s[/dim]  {text}")

    @contextmanager
    def progress(self, total: int) -> Iterator[None]:
        """Shows a bar up to `total` records; a plain line for each part where no terminal is."""
        columns = (
            TextColumn("         {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as self._progress:
            self._task = self._progress.add_task("", total=total, rate="")
            yield
        self._progress = None

    def title(self, text: str) -> None:
        """Names the part that begins."""
        self.say(text)
        if self._progress is not None:
            self._progress.update(self._task, description=text)

    def advance(self, count: int) -> None:
        """Moves the bar."""
        if self._progress is not None:
            self._progress.advance(self._task, count)


def print_report(outcome: Outcome) -> None:
    """Prints what was measured and what was compared."""
    console = Console(highlight=False)
    console.print(_speed_table(outcome.segments))
    console.print(_tenants_line(outcome.segments), soft_wrap=True)
    for name, codes in outcome.codes.items():
        ends = ", ".join(f"{count} x {code}" for code, count in sorted(codes.items()))
        console.print(f"  tenant {name}: {ends or 'no answer'}")
    lost = outcome.missing
    console.print(
        f"\n[bold]After SIGKILL[/bold]: ready again in {outcome.restart_s:.1f} s\n"
        f"  acknowledged before: {outcome.acknowledged:,}; found after: "
        f"{outcome.acknowledged - lost:,}{'' if lost else ' (all)'}\n"
        f"  in flight: {outcome.unsure}; of these {outcome.unsure_there} were there, "
        "whole; all were sent again with the same id\n"
        f"  sent again though acknowledged: {outcome.repeated:,}",
        soft_wrap=True,
    )
    sums = len(outcome.expected.files) * 2 + len(outcome.expected.references)
    wrong = len(outcome.differences)
    verdict = (
        f"[bold green]All {sums:,} totals equal a direct computation[/bold green]"
        if not wrong and not lost
        else f"[bold red]{wrong:,} of {sums:,} totals differ, {lost} acknowledged lost[/bold red]"
    )
    console.print(
        f"\n{verdict}: files and bytes of {len(outcome.expected.files)} distributions, references "
        f"of {len(outcome.expected.references):,} contents, {outcome.records:,} records.",
        soft_wrap=True,
    )


def _speed_table(segments: list[Segment]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for name in ("part", "records", "per second", "p50 ms", "p99 ms", "tried again"):
        table.add_column(name, justify="left" if name == "part" else "right")
    for one in segments:
        table.add_row(
            one.name,
            f"{one.count:,}",
            f"{one.per_second:,.0f}",
            f"{one.percentile(0.5):.1f}",
            f"{one.percentile(0.99):.1f}",
            str(one.retries),
        )
    return table


def _tenants_line(segments: list[Segment]) -> str:
    """Says what the bad tenants cost: the inner parts against the outer ones."""
    if len(segments) < 4:
        return ""
    outer, inner = (segments[0], segments[-1]), segments[1:-1]
    alone = sum(one.count for one in outer) / max(1e-9, sum(one.seconds for one in outer))
    beside = sum(one.count for one in inner) / max(1e-9, sum(one.seconds for one in inner))
    return (
        f"\n[bold]Two bad tenants[/bold], one that loops and one that hoards, leave the others "
        f"{100 * beside / alone:.0f} % of their throughput"
    )

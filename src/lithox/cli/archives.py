"""Archives on this side: files that are whole or not there, counts of what went by, progress.

An archive is written beside its name and renamed when it was proven whole and is on the disk, so a
broken-off backup never stands where a good one is looked for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Self

import click

from lithox.cli.console import PROGRESS_AFTER_SECONDS
from lithox.cli.failures import is_terminal
from lithox.errors import BadArguments, ConfigError
from lithox.model.archive import ArchiveReader
from lithox.model.quantities import format_size

if TYPE_CHECKING:
    from rich.progress import Progress

STANDARD: Final = "-"
PART_SUFFIX: Final = ".part"
READ_BYTES: Final = 256 << 10
TOLD_SECONDS: Final = 0.1
"""Progress is shown anew no more often."""


@contextmanager
def writing(name: str, *, is_forced: bool) -> Generator[IO[bytes]]:
    """Gives the file to write an archive to; `-` is standard output.

    The file gets its name when this is left without an error; else nothing is left.

    Raises:
        BadArguments: it is there already, or standard output is a terminal.
        ConfigError: it cannot be written.
    """
    if name == STANDARD:
        if sys.stdout.isatty():
            raise BadArguments("an archive is not for a terminal: name a file, or use a pipe")
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    path = Path(name)
    part = path.with_name(path.name + PART_SUFFIX)
    if path.exists() and not is_forced:
        raise BadArguments(f"{path} is there already; use --force to replace it")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def reading(name: str) -> Generator[Iterator[bytes]]:
    """Gives the bytes of an archive in pieces; `-` is standard input.

    Raises:
        ConfigError: it cannot be read.
    """
    if name == STANDARD:
        yield _pieces(sys.stdin.buffer)
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - its errors are told apart from the reader's
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}") from None
    with file:
        yield _pieces(file)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(READ_BYTES):
        yield piece


class Told:
    """Tells on stderr what goes on, once it has taken a second; one line, replaced as it goes.

    Nothing is said where nobody looks. Use it as a context manager.
    """

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._begun_s = self._told_s = now_s()
        self._shown: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown is not None:
            self._shown.stop()
            self._shown = None

    def note(self, act: str, counts: dict[str, int], size: int = 0) -> None:
        """Says how far it is."""
        now_s = self._now_s()
        is_late = now_s - self._begun_s >= PROGRESS_AFTER_SECONDS
        if not is_late or now_s - self._told_s < TOLD_SECONDS or not is_terminal():
            return
        self._told_s = now_s
        if self._shown is None:
            self._show()
        text = f"{act}: {format_counts(counts)}" + (f", {format_size(size)}" if size else "")
        assert self._shown is not None, "made above"
        self._shown.update(self._task, description=text)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._shown = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._shown.add_task("", total=None)
        self._shown.start()


class Passing:
    """An archive that goes by: proven whole, counted, told."""

    def __init__(self, kind: str, told: Told, act: str) -> None:
        self._reader = ArchiveReader(kind)
        self._told = told
        self._act = act

    def note(self, chunk: bytes) -> bytes:
        """Returns `chunk`, noted; raises BadArguments when it cannot be an archive."""
        self._reader.feed(chunk)
        self._told.note(self._act, self._reader.counts, self._reader.bytes_read)
        return chunk

    def finish(self) -> dict[str, Any]:
        """Returns {"counts", "rows_sha256", "bytes"}; raises BadArguments unless it was whole."""
        self._reader.finish()
        return {
            "counts": self._reader.counts,
            "rows_sha256": self._reader.rows_sha256,
            "bytes": self._reader.bytes_read,
        }


_NAMES: Final = {
    "cell": "cells",
    "result": "results",
    "audit": "audit records",
    "entity": "entities",
    "value": "values",
    "big": "big values",
    "chunk": "chunks",
    "timer": "timers",
}


def format_counts(counts: dict[str, int]) -> str:
    """Returns `12 cells, 1 results`, or `nothing`."""
    known = [(kind, counts[kind]) for kind in _NAMES if kind in counts]
    return ", ".join(f"{count:,} {_NAMES[kind]}" for kind, count in known) or "nothing"


def say_moved(act: str, done: dict[str, Any], *, as_json: bool, is_piped: bool = False) -> None:
    """Prints what was moved; on stderr where stdout is the archive."""
    if as_json:
        text = json.dumps(done, ensure_ascii=False)
    else:
        text = f"{act} {format_counts(done['counts'])}; SHA-256 of rows {done['rows_sha256']}"
    click.echo(text, err=is_piped)

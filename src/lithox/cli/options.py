"""Options that many commands share, and their kinds: durations, sizes, counts.

One parser for all quantities (`model.quantities`); a wrong one is a wrong command line, exit 2.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from lithox.cli.failures import show_json_error
from lithox.errors import BadArguments, LithoxError
from lithox.model.limits import Limits
from lithox.model.quantities import QUANTITY_MAX, parse_duration_ns, parse_size_bytes

DEFAULT_DATA: Final = "./lithox-data"
Command = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which node a command speaks to."""

    url: str | None
    token: str | None
    data: Path


class Quantity(click.ParamType[int]):
    """A number with a unit, by one of the parsers of `model.quantities`."""

    def __init__(self, name: str, parse: Callable[[str], int]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            amount = self._parse(str(value))
        except BadArguments as error:
            self.fail(error.message, param, ctx)
        if amount <= 0:
            self.fail(f"is more than 0; found {value!r}", param, ctx)
        return amount


def _parse_count(text: str) -> int:
    digits = text.replace("_", "")
    if not digits.isascii() or not digits.isdigit() or int(digits) > QUANTITY_MAX:
        raise BadArguments(f"is a whole number, such as 1_000_000; found {text[:40]!r}")
    return int(digits)


DURATION: Final = Quantity("duration", parse_duration_ns)
SIZE: Final = Quantity("size", parse_size_bytes)
COUNT: Final = Quantity("count", _parse_count)


def json_option(function: Command) -> Command:
    """Adds `--json`; with it an error is also JSON, on stdout, shaped as over HTTP."""

    @functools.wraps(function)
    def told(*args: Any, as_json: bool, **kwargs: Any) -> Any:
        try:
            return function(*args, as_json=as_json, **kwargs)
        except LithoxError as error:
            if as_json:
                show_json_error(error)
            raise

    return click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")(
        told
    )


def data_option(function: Command) -> Command:
    """Adds `--data DIR`."""
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        default=DEFAULT_DATA,
        show_default=True,
        envvar="LITHOX_DATA",
        help="Data directory of the node.",
    )(function)


def target_options(function: Command) -> Command:
    """Adds `--node`, `--token`, `--data` (given as `target`) and `--json` (as `as_json`)."""

    @functools.wraps(function)
    def aimed(*args: Any, url: str | None, token: str | None, data: Path, **kwargs: Any) -> Any:
        return function(*args, target=Target(url=url, token=token, data=data), **kwargs)

    node = click.option(
        "--node", "url", envvar="LITHOX_NODE", metavar="URL", help="The node to speak to."
    )
    token = click.option(
        "--token", envvar="LITHOX_TOKEN", metavar="TOKEN", help="Who you are to that node."
    )
    return node(token(data_option(json_option(aimed))))


def limit_options(function: Command) -> Command:
    """Adds `--fuel`, `--memory` and `--wall`, given together as `limits` (None: none said)."""

    @functools.wraps(function)
    def limited(
        *args: Any, fuel: int | None, memory: int | None, wall: int | None, **kwargs: Any
    ) -> Any:
        asked = Limits(fuel=fuel, memory_bytes=memory, wall_ns=wall)
        return function(*args, limits=None if asked == Limits() else asked, **kwargs)

    fuel = click.option("--fuel", type=COUNT, metavar="N", help="Lower the fuel of the run.")
    memory = click.option("--memory", type=SIZE, metavar="SIZE", help="Lower its memory (8MiB).")
    wall = click.option("--wall", type=DURATION, metavar="TIME", help="Lower its time (500ms).")
    return fuel(memory(wall(limited)))

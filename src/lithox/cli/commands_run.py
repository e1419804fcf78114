"""`lithox deploy`, `lithox call`: code in, values out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import click

from lithox.cli.options import DURATION, Target, limit_options, target_options
from lithox.cli.terminal import escape_line
from lithox.errors import BadArguments, InternalError, LithoxError
from lithox.model.limits import Limits

MILLISECOND_NS: Final = 1_000_000
_NEGATIVE: Final = re.compile(r"-(?:[0-9]|\.[0-9])")
_SHIELD: Final = "\0"
"""Stands before a negative number while click reads the line; no shell can pass a NUL."""
_JSON_STARTS: Final = ("{", "[", '"')


def read_argument(text: str) -> Any:
    """Returns the value a command-line argument stands for: JSON, or itself as text.

    Raises:
        BadArguments: it begins like a JSON map, list or text and is none.
    """
    from lithox.model.values import decode_json, parse_json

    try:
        parse_json(text)
    except BadArguments as error:
        if text.startswith(_JSON_STARTS):
            raise BadArguments(f"argument {text[:80]!r}: {error.message}") from None
        return text
    return decode_json(text)


class NumbersAllowed(click.Command):
    """A command whose arguments may be negative numbers, which click takes for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        shielded = [_SHIELD + one if _NEGATIVE.match(one) else one for one in args]
        return super().parse_args(ctx, shielded)


def unshield(text: str) -> str:
    """Returns an argument as it was given."""
    return text.removeprefix(_SHIELD)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@target_options
def deploy(*, path: Path, target: Target, as_json: bool) -> int:
    """Publish what PATH/lithox.toml names, templates, code and services, all or nothing."""
    from lithox.cli.backend import open_backend
    from lithox.cli.console import print_json, run_async, with_progress
    from lithox.cli.failures import show_error, show_json_error

    if not path.exists():
        raise click.UsageError(f"no such file or folder: {path}")

    async def work() -> dict[str, Any]:
        async with open_backend(target, may_create=True) as node:
            return await with_progress(node.deploy(path), f"deploying {path}")

    try:
        report = run_async(work())
    except LithoxError as error:
        if as_json:
            show_json_error(error)
        # Here, because only here is known where the file with the fault lies.
        show_error(error, folder=path)
        return error.exit_status
    if as_json:
        print_json(report)
        return 0
    for name, digest in report["modules"].items():
        click.echo(escape_line(f"{digest}  {name}"))
    for match in report["templates"]:
        handlers = ", ".join(report["handlers"].get(match, ()))
        click.echo(escape_line(f"{match}: {handlers}"))
    for kind, versions in report.get("code", {}).items():
        for name, version in versions.items():
            click.echo(escape_line(f"{kind} {name}: version {version}"))
    for name in report.get("services", ()):
        click.echo(escape_line(f"service {name}"))
    return 0


@click.command(cls=NumbersAllowed)
@click.argument("entity")
@click.argument("handler")
@click.argument("arguments", nargs=-1, metavar="[ARG]...")
@click.option("--id", "request_id", metavar="ID", help="Request id: the same id runs once.")
@click.option("--deadline", type=DURATION, metavar="TIME", help="Give up after this (5s).")
@limit_options
@target_options
def call(  # noqa: PLR0913 - click gives every option by its name
    *,
    entity: str,
    handler: str,
    arguments: tuple[str, ...],
    request_id: str | None,
    deadline: int | None,
    limits: Limits | None,
    target: Target,
    as_json: bool,
) -> int:
    """Run HANDLER of ENTITY and print its value as JSON.

    Arguments are JSON; a bare word is a text.
    """
    from lithox.cli.backend import open_backend
    from lithox.cli.console import print_json, print_value, run_async, with_progress
    from lithox.cli.failures import show_error
    from lithox.model.request import Answer
    from lithox.model.values import to_json

    values = [read_argument(unshield(one)) for one in arguments]
    deadline_ms = None if deadline is None else max(1, deadline // MILLISECOND_NS)

    async def work() -> Answer:
        async with open_backend(target) as node:
            asking = node.ask(
                entity,
                handler,
                *values,
                request_id=request_id,
                limits=limits,
                deadline_ms=deadline_ms,
            )
            return await with_progress(asking, f"{entity}:{handler} is running")

    answer = run_async(work())
    if answer.error is None:
        if as_json:
            body = {"request": answer.request_id, "status": "ok", "value": to_json(answer.value)}
            print_json({**body, "usage": answer.usage.to_json()})
        else:
            print_value(answer.value)
        return 0
    if not isinstance(answer.error, LithoxError):
        raise InternalError(str(answer.error)) from answer.error
    if as_json:
        # With the usage, which an error alone does not carry.
        shown = {"status": answer.error.code, "error": to_json(answer.error.to_fields())}
        print_json({"request": answer.request_id, **shown, "usage": answer.usage.to_json()})
    show_error(answer.error)
    return answer.error.exit_status

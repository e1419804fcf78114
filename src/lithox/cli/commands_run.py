"""`lithox deploy`, `lithox call`: code in, values out."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lithox.cli.arguments import NumbersAllowed, read_argument, unshield
from lithox.cli.commands_requests import (
    NO_WAIT_NS,
    WAIT_FOR_EVER,
    Wait,
    async_option,
    callback_option,
    check_callback,
    deadline_option,
    id_option,
    milliseconds,
    show_accepted,
    show_answer,
    wait_for_outcome,
)
from lithox.cli.options import Target, limit_options, target_options
from lithox.cli.terminal import escape_line
from lithox.errors import LithoxError
from lithox.model.limits import Limits

if TYPE_CHECKING:
    from lithox.cli.backend import Backend


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--check",
    is_flag=True,
    help="Compile and check everything, publish nothing; same exit status.",
)
@target_options
def deploy(*, path: Path, check: bool, target: Target, as_json: bool) -> int:
    """Publish what PATH/lithox.toml names, templates, code and services, all or nothing.

    PATH is a folder with a lithox.toml.
    """
    from lithox.cli.console import print_json, run_async, with_progress
    from lithox.cli.failures import show_error, show_json_error, show_notice

    if not path.exists():
        raise click.UsageError(f"no such file or folder: {path}")

    async def work() -> dict[str, Any]:
        async with _open_deployer(target, check=check) as node:
            what = f"checking {path}" if check else f"deploying {path}"
            return await with_progress(node.deploy(path, check=check), what)

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
    _show_report(report)
    if check:
        show_notice("checked; nothing was published")
    return 0


@asynccontextmanager
async def _open_deployer(target: Target, *, check: bool) -> AsyncGenerator[Backend]:
    """Opens the node to deploy to; a check makes no data directory, it takes one for a moment."""
    from lithox.cli.backend import open_backend

    with ExitStack() as opened:
        if check and target.url is None and not target.data.exists():
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="lithox-check-"))
            target = dataclasses.replace(target, data=Path(folder))
        async with open_backend(target, may_create=True) as node:
            yield node


def _show_report(report: dict[str, Any]) -> None:
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


@click.command(cls=NumbersAllowed)
@click.argument("entity")
@click.argument("handler")
@click.argument("arguments", nargs=-1, metavar="[ARG]...")
@id_option
@deadline_option
@async_option
@callback_option
@click.option(
    "--wait",
    type=Wait(),
    is_flag=False,
    flag_value=WAIT_FOR_EVER,
    default="1ns",
    show_default=False,
    metavar="[TIME]",
    help="With --async: wait for its end after all, so long or for ever.",
)
@limit_options
@target_options
def call(  # noqa: PLR0913 - click gives every option by its name
    *,
    entity: str,
    handler: str,
    arguments: tuple[str, ...],
    request_id: str | None,
    deadline: int | None,
    is_async: bool,
    callback: str | None,
    wait: int | None,
    limits: Limits | None,
    target: Target,
    as_json: bool,
) -> int:
    """Run HANDLER of ENTITY and print its value as JSON.

    Arguments are JSON; a bare word is a text.
    """
    from lithox.cli.backend import open_backend
    from lithox.cli.console import run_async, with_progress

    check_callback(callback, is_async=is_async)
    values = [read_argument(unshield(one)) for one in arguments]
    said: dict[str, Any] = {
        "request_id": request_id,
        "limits": limits,
        "deadline_ms": milliseconds(deadline),
    }

    async def work() -> int:
        async with open_backend(target) as node:
            if not is_async:
                asking = node.ask(entity, handler, *values, **said)
                answer = await with_progress(asking, f"{entity}:{handler} is running")
                return show_answer(answer, as_json=as_json)
            found = await node.call_async(entity, handler, *values, callback=callback, **said)
            if wait == NO_WAIT_NS:
                return show_accepted(found, as_json=as_json)
            waiting = wait_for_outcome(node, found, None, wait)
            outcome = await with_progress(waiting, f"{entity}:{handler} is running")
            if outcome is None:
                return show_accepted(found, as_json=as_json)
            return show_answer(outcome, as_json=as_json, has_usage=False)

    return run_async(work())

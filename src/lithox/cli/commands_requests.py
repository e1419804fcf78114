"""`lithox atomic`, `lithox request` and `lithox callbacks`; what they share with `lithox call`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from lithox.cli.arguments import NumbersAllowed, read_argument, unshield
from lithox.cli.options import COUNT, DURATION, Target, limit_options, target_options
from lithox.errors import InternalError, LithoxError
from lithox.model.limits import Limits

if TYPE_CHECKING:
    from lithox.cli.console import Column
    from lithox.cli.request_backend import RequestBackend
    from lithox.model.request import Answer

MILLISECOND_NS: Final = 1_000_000
SEPARATOR: Final = "+"
WAIT_FOR_EVER: Final = "for ever"
NO_WAIT_NS: Final = 1
WAIT_MS_STEP: Final = 30_000
"""One question waits this long at most; then it is asked again."""
EXIT_RUNNING: Final = 4
DEAD_COLUMNS: Final[tuple[Column, ...]] = (
    ("IDENTITY", lambda row: str(row["identity"])),
    ("REQUEST", lambda row: str(row["request"])),
    ("URL", lambda row: str(row["url"])),
    ("TRIES", lambda row: str(row["tries"])),
    ("ERROR", lambda row: str(row["error"])),
)


class Wait(click.ParamType[int | None]):
    """How long to wait: a duration, or for ever when nothing follows the option."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Returns nanoseconds, or None for ever."""
        return None if value == WAIT_FOR_EVER else DURATION.convert(value, param, ctx)


id_option: Final = click.option(
    "--id", "request_id", metavar="ID", help="Request id: the same id runs once."
)
deadline_option: Final = click.option(
    "--deadline", type=DURATION, metavar="TIME", help="Give up after this (5s)."
)
async_option: Final = click.option(
    "--async", "is_async", is_flag=True, help="Print the request's id once it is accepted."
)
callback_option: Final = click.option(
    "--callback", metavar="URL", help="With --async: send the outcome there, too."
)


def check_callback(callback: str | None, *, is_async: bool) -> None:
    """Raises a usage error for a call-back of a call that is waited for."""
    if callback is not None and not is_async:
        raise click.UsageError("--callback is for --async")


def milliseconds(duration_ns: int | None) -> int | None:
    """Returns a deadline in milliseconds, at least 1."""
    return None if duration_ns is None else max(1, duration_ns // MILLISECOND_NS)


def show_answer(answer: Answer, *, as_json: bool, has_usage: bool = True) -> int:
    """Prints what a request came to; returns the exit status."""
    from lithox.cli.console import print_json, print_value
    from lithox.cli.failures import show_error
    from lithox.model.outcome import outcome_to_json

    usage = {"usage": answer.usage.to_json()} if has_usage else {}
    if as_json:
        print_json({**outcome_to_json(answer), **usage})
    if answer.error is None:
        if not as_json:
            print_value(answer.value)
        return 0
    if not isinstance(answer.error, LithoxError):
        raise InternalError(str(answer.error)) from answer.error
    show_error(answer.error)
    return answer.error.exit_status


def show_accepted(request_id: str, *, as_json: bool) -> int:
    """Prints under which id a request is accepted."""
    from lithox.cli.console import print_json

    if as_json:
        print_json({"request": request_id, "status": "accepted"})
    else:
        click.echo(request_id)
    return 0


@click.command(cls=NumbersAllowed)
@click.argument("words", nargs=-1, required=True, metavar="ENTITY HANDLER [ARG]... [+ ...]")
@id_option
@deadline_option
@async_option
@callback_option
@limit_options
@target_options
def atomic(  # noqa: PLR0913 - click gives every option by its name
    *,
    words: tuple[str, ...],
    request_id: str | None,
    deadline: int | None,
    is_async: bool,
    callback: str | None,
    limits: Limits | None,
    target: Target,
    as_json: bool,
) -> int:
    """Run several calls in one transaction and print the list of their values.

    Calls are separated by a single +, as in: bank/a withdraw 5 + bank/b deposit 5. Arguments are
    JSON; a bare word is a text.
    """
    from lithox.cli.backend import open_backend
    from lithox.cli.console import run_async, with_progress

    check_callback(callback, is_async=is_async)
    calls = split_calls(words)
    said: dict[str, Any] = {
        "request_id": request_id,
        "limits": limits,
        "deadline_ms": milliseconds(deadline),
    }

    async def work() -> int:
        async with open_backend(target) as node:
            if is_async:
                found = await node.atomic_async(calls, callback=callback, **said)
                return show_accepted(found, as_json=as_json)
            asking = node.ask_atomic(calls, **said)
            answer = await with_progress(asking, f"{len(calls)} calls are running")
            return show_answer(answer, as_json=as_json)

    return run_async(work())


def split_calls(words: tuple[str, ...]) -> list[list[Any]]:
    """Returns [entity, handler, *arguments] of each call; raises a usage error."""
    calls: list[list[str]] = [[]]
    for word in words:
        if word == SEPARATOR:
            calls.append([])
        else:
            calls[-1].append(unshield(word))
    for index, call in enumerate(calls):
        if len(call) < 2:
            raise click.UsageError(f"call {index} is ENTITY HANDLER [ARG]...; found {call!r:.80}")
    return [[*call[:2], *map(read_argument, call[2:])] for call in calls]


@click.command()
@click.argument("request_id", metavar="ID")
@click.option("--entity", metavar="ENTITY", help="Whose handler was asked, if it was waited for.")
@click.option(
    "--wait",
    type=Wait(),
    is_flag=False,
    flag_value=WAIT_FOR_EVER,
    default="1ms",
    show_default=False,
    metavar="[TIME]",
    help="Wait for its end, so long or for ever.",
)
@target_options
def request(
    *, request_id: str, entity: str | None, wait: int | None, target: Target, as_json: bool
) -> int:
    """Print what a request came to; exit status 4 while it runs."""
    from lithox.cli.backend import open_backend
    from lithox.cli.console import print_json, run_async, with_progress

    async def work() -> Answer | None:
        async with open_backend(target) as node:
            asking = wait_for_outcome(node, request_id, entity, wait)
            return await with_progress(asking, f"{request_id} is running")

    answer = run_async(work())
    if answer is not None:
        return show_answer(answer, as_json=as_json, has_usage=False)
    if as_json:
        print_json({"request": request_id, "status": "running"})
    click.echo(f"lithox: request {request_id} is still running", err=True)
    return EXIT_RUNNING


async def wait_for_outcome(
    node: RequestBackend, request_id: str, entity: str | None, wait_ns: int | None
) -> Answer | None:
    """Returns an outcome, asking as often as it takes; None when the time is over."""
    left_ms = None if wait_ns is None else wait_ns // MILLISECOND_NS
    while True:
        step_ms = WAIT_MS_STEP if left_ms is None else min(left_ms, WAIT_MS_STEP)
        answer = await node.request_outcome(request_id, entity=entity, wait_ms=step_ms)
        if answer is not None:
            return answer
        if left_ms is not None:
            left_ms -= step_ms
            if left_ms <= 0:
                return None


@click.group()
def callbacks() -> None:
    """Call-backs of requests that were answered later, and have failed for good."""


@callbacks.command("dead")
@click.option("--after", default="", metavar="IDENTITY/ID", help="Go on after this one.")
@click.option("--limit", type=COUNT, default=100, show_default=True, help="Show at most N.")
@target_options
def callbacks_dead(*, after: str, limit: int, target: Target, as_json: bool) -> None:
    """List call-backs that have failed as often as they may."""
    from lithox.cli.backend import open_backend
    from lithox.cli.console import print_json, print_table, run_async

    async def work() -> dict[str, Any]:
        async with open_backend(target) as node:
            return await node.callbacks_dead(after=after, limit=limit)

    found = run_async(work())
    if as_json:
        print_json(found)
    else:
        print_table(found["callbacks"], DEAD_COLUMNS)


@callbacks.command("retry")
@click.argument("identity")
@click.argument("request_id", metavar="ID")
@target_options
def callbacks_retry(*, identity: str, request_id: str, target: Target, as_json: bool) -> None:
    """Send a dead call-back again."""
    from lithox.cli.backend import open_backend
    from lithox.cli.console import run_async

    del as_json

    async def work() -> None:
        async with open_backend(target) as node:
            await node.callback_retry(identity, request_id)

    run_async(work())


@callbacks.command("purge")
@click.argument("identity")
@click.argument("request_id", metavar="ID")
@target_options
def callbacks_purge(*, identity: str, request_id: str, target: Target, as_json: bool) -> None:
    """Forget a dead call-back."""
    from lithox.cli.backend import open_backend
    from lithox.cli.console import run_async

    del as_json

    async def work() -> None:
        async with open_backend(target) as node:
            await node.callback_purge(identity, request_id)

    run_async(work())

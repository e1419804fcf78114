"""`lithox service add/ls/show/start/stop/restart/logs/rm`: programs that are kept running."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from lithox.cli.backend import Backend, open_backend
from lithox.cli.options import COUNT, Target, target_options
from lithox.cli.terminal import escape_line, escape_lines

if TYPE_CHECKING:
    from lithox.cli.console import Column

FOLLOW_WAIT_MS: Final = 25_000
LINES_DEFAULT: Final = 100
LINES_MAX: Final = 10_000
_name = click.argument("name")
Command = Callable[..., Any]


def _exit_of(row: dict[str, Any]) -> str:
    ended = row.get("last_exit")
    return "" if not ended else str(ended.get("status", ""))


SERVICE_COLUMNS: Final[tuple[Column, ...]] = (
    ("NAME", lambda row: str(row.get("name", ""))),
    ("STATE", lambda row: str(row.get("state", ""))),
    ("PID", lambda row: str(row.get("pid") or "")),
    ("PROGRAM", lambda row: str(row.get("program") or "")),
    ("RESTARTS", lambda row: str(row.get("restarts", ""))),
    ("EXIT", _exit_of),
    ("REASON", lambda row: str(row.get("reason") or "")),
)


@click.group()
def service() -> None:
    """Programs that the node keeps running.

    They run while the node is served. With --data they can be defined and looked at, not started.
    """


def _definition_options(function: Command) -> Command:
    """Adds an option for every key of a definition, each under the key's own name."""
    texts = (
        ("--runtime", "NAME", "Under which runtime it runs."),
        ("--restart", "WHEN", "always, on-failure (the default) or never."),
        ("--backoff-min", "TIME", "Pause before the first restart (100ms)."),
        ("--backoff-max", "TIME", "Pauses double up to this (30s)."),
        ("--burst-window", "TIME", "Within which the burst is counted (10s)."),
        ("--stop-deadline", "TIME", "How long it may take to stop before it is killed (5s)."),
        ("--mode", "MODE", "preemptive or cooperative."),
        ("--ready", "WHEN", "started (the default), or notify: when it says so."),
        ("--quota", "SIZE", "What it may keep in its storage (16MiB)."),
    )
    lists = (
        ("--arg", "args", "TEXT", "An argument; may be given several times."),
        ("--requires", "requires", "NAME", "A service that must run; may be repeated."),
        ("--after", "after", "NAME", "A service it starts after, if it is there."),
        ("--context", "contexts", "PATTERN", "Native calls it may make, such as 'program.*'."),
        ("--limit", "limits", "NAME=AMOUNT", "fuel, memory, wall, output or calls."),
    )
    for option, metavar, text in texts:
        function = click.option(option, metavar=metavar, help=text)(function)
    for option, key, metavar, text in lists:
        function = click.option(option, key, metavar=metavar, multiple=True, help=text)(function)
    function = click.option("--burst", type=int, help="Ends in the window that give it up (5).")(
        function
    )
    function = click.option("--priority", type=int, help="0 to 9 (4).")(function)
    function = click.option("--storage", is_flag=True, help="It gets a storage context.")(function)
    function = click.option("--no-autostart", is_flag=True, help="It starts by hand only.")(
        function
    )
    function = click.option("--log-size", metavar="SIZE", help="Of one log file (1MiB).")(function)
    return click.option("--log-files", type=int, help="How many are kept (5).")(function)


def make_definition(program: str, said: dict[str, Any]) -> dict[str, Any]:
    """Returns the definition that options say; what they do not say is left to the defaults."""
    definition: dict[str, Any] = {"program": program}
    log = {"max_size": said.pop("log_size"), "files": said.pop("log_files")}
    log = {key: value for key, value in log.items() if value is not None}
    if said.pop("no_autostart"):
        definition["autostart"] = False
    limits = dict(_read_limit(one) for one in said.pop("limits"))
    for key, value in said.items():
        if value not in (None, False, ()):
            definition[key] = list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType]
    if log:
        definition["log"] = log
    if limits:
        definition["limits"] = limits
    return definition


def _read_limit(text: str) -> tuple[str, int | str]:
    key, equals, value = text.partition("=")
    if not key or not equals or not value:
        raise click.UsageError(f"--limit is NAME=AMOUNT; found {text!r:.80}")
    digits = value.replace("_", "")
    return key, int(digits) if digits.isascii() and digits.isdigit() else value


@service.command("add")
@_name
@click.argument("program")
@_definition_options
@target_options
def service_add(*, name: str, program: str, target: Target, as_json: bool, **said: Any) -> None:
    """Define NAME, which runs PROGRAM of the store; one that is there is defined anew."""
    definition = make_definition(program, said)
    row = _run(target, lambda node: node.service_put(name, definition), may_create=True)
    _print_row(row, as_json=as_json)


@service.command("ls")
@target_options
def service_ls(*, target: Target, as_json: bool) -> None:
    """List services: what each is doing, and why."""
    from lithox.cli.console import print_json, print_table

    rows = _run(target, lambda node: node.service_list())
    if as_json:
        print_json({"services": rows})
    else:
        print_table(rows, SERVICE_COLUMNS)


@service.command("show")
@_name
@target_options
def service_show(*, name: str, target: Target, as_json: bool) -> None:
    """Describe NAME: its state, its last exit and its definition."""
    from lithox.cli.console import print_json
    from lithox.model.values import to_json

    row = _run(target, lambda node: node.service_show(name))
    print_json(to_json(row), is_indented=not as_json)


@service.command("start")
@_name
@target_options
def service_start(*, name: str, target: Target, as_json: bool) -> None:
    """Start NAME and what it requires; returns when it is ready."""
    _act(target, lambda node: node.service_start(name), f"{name} runs", as_json=as_json)


@service.command("stop")
@_name
@target_options
def service_stop(*, name: str, target: Target, as_json: bool) -> None:
    """Stop NAME, those that require it first; returns when it has ended."""
    _act(target, lambda node: node.service_stop(name), f"{name} has ended", as_json=as_json)


@service.command("restart")
@_name
@target_options
def service_restart(*, name: str, target: Target, as_json: bool) -> None:
    """Stop NAME and start it again; returns when it is ready."""
    _act(target, lambda node: node.service_restart(name), f"{name} runs again", as_json=as_json)


@service.command("rm")
@_name
@target_options
def service_rm(*, name: str, target: Target, as_json: bool) -> None:
    """Stop NAME and forget it; its log and what it stored stay."""
    _act(target, lambda node: node.service_remove(name), f"removed {name}", as_json=as_json)


@service.command("logs")
@_name
@click.option("-n", "--lines", type=COUNT, default=LINES_DEFAULT, show_default=True, help="Last N.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written; Ctrl-C ends it.")
@target_options
def service_logs(*, name: str, lines: int, follow: bool, target: Target, as_json: bool) -> None:
    """Print what NAME has written: time, stream (out, err, end) and text."""
    from lithox.cli.console import run_async

    async def work() -> None:
        async with open_backend(target) as node:
            page = await node.service_logs(name, lines=min(lines, LINES_MAX))
            _print_lines(page, as_json=as_json)
            while follow:
                page = await node.service_logs(name, after=page["next"], wait_ms=FOLLOW_WAIT_MS)
                _print_lines(page, as_json=as_json)

    try:
        run_async(work())
    except KeyboardInterrupt:
        return


def _print_lines(page: dict[str, Any], *, as_json: bool) -> None:
    from lithox.cli.console import print_json

    text = page["text"].decode("utf-8", "backslashreplace")
    if as_json:
        print_json({**page, "text": text})
        return
    if page["missed"]:
        click.echo(f"lithox: {page['missed']} bytes are gone already", err=True)
    click.echo(escape_lines(text), nl=False)


def _run(target: Target, ask: Callable[[Backend], Any], *, may_create: bool = False) -> Any:
    from lithox.cli.console import run_async

    async def work() -> Any:
        async with open_backend(target, may_create=may_create) as node:
            return await ask(node)

    return run_async(work())


def _act(target: Target, ask: Callable[[Backend], Any], text: str, *, as_json: bool) -> None:
    from lithox.cli.console import print_json

    _run(target, ask)
    if as_json:
        print_json({"status": "ok"})
    else:
        click.echo(escape_line(text))


def _print_row(row: dict[str, Any], *, as_json: bool) -> None:
    from lithox.cli.console import print_json
    from lithox.model.values import to_json

    if as_json:
        print_json(to_json(row))
    else:
        reason = f": {row['reason']}" if row["reason"] else ""
        click.echo(escape_line(f"{row['name']} is {row['state']}{reason}"))

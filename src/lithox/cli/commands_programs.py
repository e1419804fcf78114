"""`lithox run` and `lithox shell`: programs on this terminal, one or several."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import click

from lithox.cli.commands_run import read_argument
from lithox.cli.options import Target, limit_options, target_options
from lithox.model.limits import PRIORITY_HIGHEST, PRIORITY_LOWEST, Limits

if TYPE_CHECKING:
    from lithox.cli.backend import Backend
    from lithox.cli.screen import Screen

SIGNAL_STATUS: Final = 128
"""Shells report a command that a signal ended as this plus the signal's number."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("program", metavar="[RUNTIME#]PROGRAM")
@click.argument("arguments", nargs=-1, metavar="[ARG]...", type=click.UNPROCESSED)
@click.option(
    "--priority",
    type=click.IntRange(PRIORITY_LOWEST, PRIORITY_HIGHEST),
    help="0 lowest to 9 highest.  [default: 4]",
)
@click.option(
    "--mode",
    type=click.Choice(("preemptive", "cooperative")),
    help="Whether it is interrupted, or switches at system calls only.",
)
@click.option("--json-args", is_flag=True, help="Arguments are JSON, as those of `lithox call`.")
@click.option("--raw", is_flag=True, help="Let the program say anything to the terminal.")
@limit_options
@target_options
def run(  # noqa: PLR0913 - click gives every option by its name
    *,
    program: str,
    arguments: tuple[str, ...],
    priority: int | None,
    mode: str | None,
    json_args: bool,
    raw: bool,
    limits: Limits | None,
    target: Target,
    as_json: bool,
) -> int:
    """Run a program as a process: a FILE.lua, or a name in the store.

    Its output comes as it is written; it gets this command's input when it reads. Options stand
    before PROGRAM; everything behind it is the program's, as text.
    """
    from lithox.cli.backend import open_backend
    from lithox.cli.console import run_async
    from lithox.cli.following import read_program

    order: dict[str, Any] = {
        **read_program(program),
        "args": [read_argument(one) if json_args else one for one in arguments],
        "limits": limits,
        "priority": priority,
        "mode": mode,
    }

    async def work() -> int:
        async with open_backend(target, may_create=True) as node:
            return await _run(node, order, is_raw=raw, as_json=as_json)

    return run_async(work())


class ScreenSink:
    """Output onto this command's own standard output and standard error."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    async def take(self, stream: str, data: bytes) -> None:
        await self._screen.write(stream, data)

    async def note_missed(self, missed: int) -> None:
        text = f"lithox: {missed} bytes of output were dropped before anybody read them\n"
        await self._screen.write_text("err", text)


class JsonSink:
    """Output as one JSON object a line, so that streams and binary output stay apart."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    async def tell(self, **said: Any) -> None:
        """Writes one object."""
        from lithox.cli.terminal import escape_json
        from lithox.model.values import encode_json

        await self._screen.write_text("out", escape_json(encode_json(said).decode()) + "\n")

    async def take(self, stream: str, data: bytes) -> None:
        try:
            await self.tell(stream=stream, data=data.decode())
        except UnicodeDecodeError:
            await self.tell(stream=stream, data=data)

    async def note_missed(self, missed: int) -> None:
        await self.tell(missed=missed)


async def _run(node: Backend, order: dict[str, Any], *, is_raw: bool, as_json: bool) -> int:
    """Runs one program to its end; returns the exit status."""
    from lithox.cli.failures import show_end
    from lithox.cli.following import Interrupts, follow, input_of_command, kill_quietly
    from lithox.cli.screen import Screen
    from lithox.cli.standard_input import InputSource
    from lithox.model.program_result import exit_status_of

    screen = Screen(is_raw=is_raw)
    sink = JsonSink(screen) if as_json else ScreenSink(screen)
    asked = asyncio.Event()
    with Interrupts(asked.set) as interrupts:
        pid = await node.run_program(**order)
        # Whoever stopped it before it had a number stops it now.
        killer = asyncio.ensure_future(_kill_when_asked(asked, node, pid))
        try:
            if isinstance(sink, JsonSink):
                await sink.tell(pid=pid)
            source = InputSource(node, pid, input_of_command())
            ended = await follow(node, pid, sink, source)
        except BaseException:
            await kill_quietly(node, pid)
            raise
        finally:
            killer.cancel()
            await screen.finish()
        if isinstance(sink, JsonSink):
            await sink.tell(exit=ended)
    if interrupts.number is not None:
        return SIGNAL_STATUS + interrupts.number
    show_end(ended["code"], ended["message"])
    return exit_status_of(ended["status"], ended["code"])


async def _kill_when_asked(asked: asyncio.Event, node: Backend, pid: int) -> None:
    from lithox.cli.following import kill_quietly

    await asked.wait()
    await kill_quietly(node, pid)


@click.command()
@click.option("-c", "line", metavar="COMMANDS", help="Run these commands and leave.")
@click.option("--raw", is_flag=True, help="Let programs say anything to the terminal.")
@target_options
def shell(*, line: str | None, raw: bool, target: Target, as_json: bool) -> int:
    """Run programs by name, several at once; `help` tells how.

    Without a terminal, commands are read from standard input.
    """
    if as_json:
        raise click.UsageError("what a shell prints is for people; `lithox run` has --json")
    import sys

    from lithox.cli.backend import open_backend
    from lithox.cli.console import run_async

    is_interactive = line is None and sys.stdin.isatty() and sys.stdout.isatty()

    async def work() -> int:
        async with open_backend(target, may_create=True) as node:
            return await _shell(node, line, is_interactive=is_interactive, is_raw=raw)

    return run_async(work())


async def _shell(node: Backend, line: str | None, *, is_interactive: bool, is_raw: bool) -> int:
    from lithox.cli.following import input_of_command
    from lithox.cli.screen import Screen
    from lithox.cli.shell import Shell, lines_of, lines_of_input, run_script
    from lithox.cli.shell_builtins import make_builtins

    one = Shell(
        node,
        Screen(is_raw=is_raw),
        builtins=make_builtins,
        is_interactive=is_interactive,
        input_file=input_of_command() if is_interactive else None,
    )
    if not is_interactive:
        return await run_script(one, lines_of_input() if line is None else lines_of(line))
    from lithox.cli.prompt import history_path, open_history, run_prompt
    from lithox.runtimes.registry import builtin_names

    return await run_prompt(one, open_history(history_path()), runtimes=builtin_names())

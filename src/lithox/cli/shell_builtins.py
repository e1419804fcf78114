"""The words of the shell that are not programs, each with its line of help."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from lithox.cli.failures import show_notice
from lithox.cli.shell import STATUS_MAX, Builtin, Shell, ShellEnded
from lithox.cli.terminal import escape_line
from lithox.errors import BadArguments

if TYPE_CHECKING:
    from lithox.cli.jobs import Job

KINDS: Final = ("program", "library", "runtime")
PAGE_SIZE: Final = 500
NAMES_MAX: Final = 10_000
"""Of one kind, in `store ls` and in completion."""

HELP: Final = (
    ("PROGRAM [ARG]...", "run a program by its name in the store"),
    ("FILE.lua [ARG]...", "run a file"),
    ("RUNTIME#PROGRAM", "run either in another runtime"),
    ("... &", "run it in the background; `;` separates commands"),
    ("run PROGRAM [ARG]...", "run a program that is called like a word of the shell"),
    ("jobs", "list what runs in the background"),
    ("fg [%N]", "give the terminal to a job; Ctrl-C ends it, Ctrl-Z lets it go on behind"),
    ("bg [%N]", "say what goes on in the background"),
    ("kill %N | PID", "end a job or a process"),
    ("wait [%N]...", "wait for jobs in the background"),
    ("ps", "list the node's processes"),
    ("top", "watch them; q leaves"),
    ("store ls [KIND]", "list programs, libraries and runtimes"),
    ("echo [WORD]...", "print words; $? is the last exit status, $! the last job's PID"),
    ("history", "list what was typed"),
    ("exit [STATUS]", "leave; what still runs is ended"),
)


def make_builtins(shell: Shell) -> dict[str, Builtin]:
    """Returns the words of `shell`, by name."""
    words = _Words(shell)
    return {
        "help": words.help,
        "jobs": words.jobs,
        "fg": words.foreground,
        "bg": words.background,
        "kill": words.kill,
        "wait": words.wait,
        "ps": words.ps,
        "top": words.top,
        "store": words.store,
        "run": words.help,
        "echo": words.echo,
        "history": words.history,
        "exit": words.exit,
        "quit": words.exit,
    }


Print = Callable[[str], Awaitable[None]]


class _Words:
    """What each word does. Each takes its arguments and returns an exit status."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def _print(self, text: str) -> None:
        await self._shell.screen.write_text("out", f"{text}\n")

    async def help(self, _arguments: tuple[str, ...]) -> int:
        width = max(len(form) for form, _ in HELP)
        for form, meaning in HELP:
            await self._print(f"{form:<{width}}  {meaning}")
        return 0

    async def jobs(self, _arguments: tuple[str, ...]) -> int:
        for job in self._shell.jobs:
            text = f"[{job.number}] {job.pid}  {job.state}  {job.text}"
            await self._print(escape_line(text))
            if job.status is not None:
                # This was the telling.
                self._shell.jobs.remove(job)
        return 0

    async def foreground(self, arguments: tuple[str, ...]) -> int:
        job = self._shell.jobs.find(_one(arguments, "fg"))
        if job.status is not None:
            await self._shell.tell_ends()
            return job.status
        await self._print(escape_line(job.text))
        return await self._shell.attend(job)

    async def background(self, arguments: tuple[str, ...]) -> int:
        job = self._shell.jobs.find(_one(arguments, "bg"))
        await self._print(escape_line(f"[{job.number}] {job.state}  {job.text}"))
        return 0

    async def kill(self, arguments: tuple[str, ...]) -> int:
        if not arguments:
            raise BadArguments("kill takes %N or a PID")
        for name in arguments:
            if name.startswith("%"):
                job = self._shell.jobs.find(name)
                if job.status is None:
                    await self._shell.node.kill(job.pid)
            elif name.isascii() and name.isdigit():
                await self._shell.node.kill(int(name))
            else:
                raise BadArguments(f"kill takes %N or a PID; found {name[:40]!r}")
        return 0

    async def wait(self, arguments: tuple[str, ...]) -> int:
        jobs: list[Job] = [self._shell.jobs.find(name) for name in arguments]
        return await self._shell.wait_for(jobs or self._shell.jobs.running())

    async def ps(self, _arguments: tuple[str, ...]) -> int:
        from lithox.cli.console import print_table
        from lithox.cli.process_table import PROCESS_COLUMNS

        print_table(await self._shell.node.processes(), PROCESS_COLUMNS)
        return 0

    async def top(self, _arguments: tuple[str, ...]) -> int:
        if not self._shell.is_interactive:
            return await self.ps(())
        from lithox.cli.top import watch

        await watch(self._shell.node, order="fuel", is_tree=True, interval_s=1.0, rounds=None)
        return 0

    async def store(self, arguments: tuple[str, ...]) -> int:
        action, *rest = arguments or ("ls",)
        kinds = tuple(rest) or KINDS
        if action != "ls" or not set(kinds) <= set(KINDS):
            raise BadArguments(
                f"store ls [{' | '.join(KINDS)}]; `lithox store` outside the shell does the rest"
            )
        for kind in kinds:
            for row in await list_names(self._shell, kind):
                text = f"{kind:<7}  {row['name']}  version {row.get('version', 0)}"
                await self._print(escape_line(text))
        return 0

    async def echo(self, arguments: tuple[str, ...]) -> int:
        await self._print(" ".join(map(escape_line, arguments)))
        return 0

    async def history(self, _arguments: tuple[str, ...]) -> int:
        for number, line in enumerate(self._shell.history(), 1):
            await self._print(f"{number:>5}  {escape_line(line)}")
        return 0

    async def exit(self, arguments: tuple[str, ...]) -> int:
        said = _one(arguments, "exit")
        if said is None:
            status = self._shell.status
        elif said.isascii() and said.isdigit() and int(said) <= STATUS_MAX:
            status = int(said)
        else:
            raise BadArguments(f"an exit status is 0 to {STATUS_MAX}; found {said[:40]!r}")
        running = self._shell.jobs.running()
        if running and self._shell.is_interactive and not self._shell.is_leaving:
            self._shell.is_leaving = True
            show_notice(f"{len(running)} jobs still run; exit once more ends them")
            return self._shell.status
        raise ShellEnded(status)


def _one(arguments: tuple[str, ...], name: str) -> str | None:
    if len(arguments) > 1:
        raise BadArguments(f"{name} takes one argument at most; found {len(arguments)}")
    return arguments[0] if arguments else None


async def list_names(shell: Shell, kind: str) -> list[dict[str, Any]]:
    """Returns the names of one store with what is known of each, page by page."""
    found: list[dict[str, Any]] = []
    more = True
    while more and len(found) < NAMES_MAX:
        after = found[-1]["name"] if found else ""
        rows, more = await shell.node.store_list(kind, after=after, limit=PAGE_SIZE)
        found += rows
    return found

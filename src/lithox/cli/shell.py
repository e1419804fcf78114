"""`lithox shell`: programs by name, several at once, on one terminal or from a script.

The shell itself needs no terminal: lines go in, exit statuses come out. `prompt.py` reads lines
from a person; here they may come from a file, a pipe, or `-c`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final

from lithox.cli.failures import EXIT_BUG, show_bug, show_error, show_notice
from lithox.cli.following import Interrupts, kill_quietly, read_program
from lithox.cli.jobs import Job, Jobs
from lithox.cli.screen import Screen
from lithox.cli.shell_words import Command, read_line
from lithox.cli.terminal import escape_line
from lithox.errors import BadArguments, LithoxError

if TYPE_CHECKING:
    from lithox.cli.backend import Backend

EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, what shells give."""
SIGNAL_STATUS: Final = 128
STATUS_MAX: Final = 255


class ShellEnded(Exception):
    """The user has asked to leave, or a script was interrupted."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


Builtin = Callable[[tuple[str, ...]], Awaitable[int]]


class Shell:
    """One shell over one node.

    Args:
        is_interactive: a person types: Ctrl-Z moves a job to the background, the end of a job in
            the background is told.
        input_file: descriptor from which programs in the foreground read; None: they have no input.

    Attributes:
        status: exit status of the last command, `$?`.
        jobs: what it has started and not yet told the end of.
        is_leaving: the user has been told of running jobs; the next `exit` ends them.
        history: gives the lines that were typed, oldest first.
    """

    def __init__(
        self,
        node: Backend,
        screen: Screen,
        *,
        builtins: BuiltinsOf,
        is_interactive: bool,
        input_file: int | None = None,
    ) -> None:
        self.node = node
        self.screen = screen
        self.is_interactive = is_interactive
        self._input_file = input_file
        self.status = 0
        self.jobs = Jobs()
        self.is_leaving = False
        self.history: Callable[[], list[str]] = list
        self._variables = {"?": "0", "!": ""}
        self._task: asyncio.Task[int] | None = None
        self._was_interrupted = False
        self._on_interrupt: Callable[[], None] | None = None
        self._on_leave: Callable[[], None] | None = None
        self._builtins = builtins(self)

    @property
    def builtin_names(self) -> list[str]:
        """The words that are not programs."""
        return sorted(self._builtins)

    async def run_line(self, line: str) -> None:
        """Runs the commands of one line, one after the other.

        Raises:
            ShellEnded: `exit`, or a signal where nobody types.
        """
        try:
            commands = read_line(line, self._variables)
        except BadArguments as error:
            show_error(error)
            self._finish(error.exit_status)
            return
        self._was_interrupted = False
        with self._signals() as signals:
            for command in commands:
                self._task = asyncio.ensure_future(self._run(command))
                self._finish(await self._task)
                if self._was_interrupted:
                    break
        if signals.number is not None:
            raise ShellEnded(SIGNAL_STATUS + signals.number)
        await self.tell_ends()

    def _signals(self) -> Interrupts:
        """Returns what catches signals while a line runs.

        A person's Ctrl-C, however often it comes, is for the command; a script ends by it, and by
        the second one at once.
        """
        if not self.is_interactive:
            return Interrupts(self._interrupt)
        also = {signal.SIGINT: self._interrupt, signal.SIGTSTP: self._leave}
        return Interrupts(self._interrupt, signals=(), also=also)

    def _interrupt(self) -> None:
        self._was_interrupted = True
        if self._on_interrupt is not None:
            self._on_interrupt()
        elif self._task is not None:
            self._task.cancel()

    def _leave(self) -> None:
        if self._on_leave is not None:
            self._on_leave()

    def _finish(self, status: int) -> None:
        self.status = status
        self._variables["?"] = str(status)

    async def _run(self, command: Command) -> int:
        name, *rest = command.words
        try:
            builtin = self._builtins.get(name)
            if builtin is None:
                return await self.start(command.words, command)
            if command.is_background and name != "run":
                raise BadArguments(f"{name} is a word of the shell: only programs run with '&'")
            if name == "run":
                if not rest:
                    raise BadArguments("run takes a program and its arguments")
                return await self.start(tuple(rest), command)
            return await builtin(tuple(rest))
        except (ShellEnded, BrokenPipeError):
            raise
        except asyncio.CancelledError:
            if not self._was_interrupted:
                raise
            return EXIT_INTERRUPTED
        except LithoxError as error:
            show_error(error)
            return error.exit_status
        except Exception as error:  # noqa: BLE001 - our fault in one command must not end all jobs
            show_bug(error)
            return EXIT_BUG

    async def start(self, words: tuple[str, ...], command: Command) -> int:
        """Runs a program, in the foreground unless its command ends with `&`."""
        self.jobs.check_room()
        program, *arguments = words
        pid = await self.node.run_program(**read_program(program), args=arguments)
        job = self.jobs.add(pid, command.text, self.screen)
        job.is_foreground = not command.is_background
        job.begin(self.node, self._input_file)
        if not command.is_background:
            return await self.attend(job)
        self._variables["!"] = str(pid)
        if self.is_interactive:
            show_notice(f"[{job.number}] {pid}")
        return 0

    async def attend(self, job: Job) -> int:
        """Gives the terminal to `job` until it ends or Ctrl-Z sends it to the background.

        Returns:
            its exit status; 130 when Ctrl-C ended it, 148 when it goes on behind.
        """
        assert job.follower is not None
        await job.take_terminal()
        leaving = asyncio.Event()
        killers: set[asyncio.Task[None]] = set()

        def end_it() -> None:
            killers.add(asyncio.ensure_future(kill_quietly(self.node, job.pid)))

        self._on_interrupt, self._on_leave = end_it, leaving.set
        left = asyncio.ensure_future(leaving.wait())
        try:
            await asyncio.wait({job.follower, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._on_interrupt = self._on_leave = None
            left.cancel()
        if job.status is None:
            job.leave_terminal()
            show_notice(escape_line(f"[{job.number}] {job.text} &"))
            return SIGNAL_STATUS + signal.SIGTSTP
        self.jobs.remove(job)
        if self._was_interrupted:
            return EXIT_INTERRUPTED
        if job.end_line:
            show_notice(f"lithox: {job.end_line}")
        return job.status

    async def tell_ends(self) -> None:
        """Tells once of each job in the background that has ended, and forgets it."""
        for job in self.jobs:
            if job.status is None:
                continue
            self.jobs.remove(job)
            reason = f": {job.end_line}" if job.end_line else ""
            if self.is_interactive or job.status:
                show_notice(escape_line(f"[{job.number}] {job.state}  {job.text}{reason}"))

    async def wait_for(self, jobs: list[Job]) -> int:
        """Waits for the ends of jobs; returns the status of the last, 130 when interrupted."""
        status = 0
        for job in jobs:
            assert job.follower is not None
            # What waits may be broken off, what follows the job may not.
            await asyncio.wait({job.follower})
            status = job.status or 0
        await self.tell_ends()
        return status

    async def close(self) -> None:
        """Ends what still runs: the jobs of a shell end with it."""
        running = self.jobs.running()
        for job in running:
            await kill_quietly(self.node, job.pid)
        followers = {job.follower for job in running if job.follower is not None}
        if followers:
            await asyncio.wait(followers, timeout=CLOSE_WAIT_S)
        for follower in followers:
            follower.cancel()


CLOSE_WAIT_S: Final = 5.0
"""How long `close` waits for the ends of killed jobs."""
BuiltinsOf = Callable[[Shell], "dict[str, Builtin]"]


async def run_script(shell: Shell, lines: AsyncIterator[str]) -> int:
    """Runs a script line by line, waits for what it left in the background; returns the status.

    A line that fails does not end a script; `$?` tells the next one.
    """
    try:
        async for line in lines:
            await shell.run_line(line)
        status = shell.status
        await shell.run_line("wait")
    except ShellEnded as ended:
        status = ended.status
    finally:
        await shell.close()
    return min(status, STATUS_MAX)


async def lines_of(text: str) -> AsyncIterator[str]:
    """Gives the lines of `-c`."""
    for line in text.splitlines():
        yield line


async def lines_of_input() -> AsyncIterator[str]:
    """Gives the lines of standard input, each when it is there."""
    while True:
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            return
        yield line

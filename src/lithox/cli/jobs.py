"""The jobs of a shell: each a program that runs, with somebody who follows it.

One job at most has the terminal; its output is shown as it is and it gets what is typed. Every
other one's output is shown line by line, behind its number. A job keeps its number until its end
has been told.

Invariants: every job is followed until its process has ended, so none of its output is lost while
the shell is there; a job that ends is told about exactly once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from lithox.cli.following import RunsPrograms, follow
from lithox.cli.screen import LinePrefixer, Screen
from lithox.cli.standard_input import InputSource
from lithox.errors import BadArguments, LithoxError, NotFound, Overloaded
from lithox.model.program_result import exit_status_of

JOBS_MAX: Final = 64


class Job:
    """One program the shell has started. It is also where the output of that program goes.

    Attributes:
        number: as in `%1`.
        text: the command as it was typed.
        is_foreground: it has the terminal.
        status: its exit status once it has ended, else None.
        end_line: why it was ended, for people; "" when it ended by itself.
        is_told: somebody has been told that it has ended.
    """

    def __init__(self, number: int, pid: int, text: str, screen: Screen) -> None:
        self.number = number
        self.pid = pid
        self.text = text
        self.is_foreground = False
        self.is_told = False
        self.status: int | None = None
        self.end_line = ""
        self._screen = screen
        self._lines = {
            "out": LinePrefixer(f"[{number}] "),
            "err": LinePrefixer(f"[{number}] "),
        }
        self.source: InputSource | None = None
        self.follower: asyncio.Task[None] | None = None

    def begin(self, node: RunsPrograms, input_file: int | None) -> None:
        """Begins to follow the process. Input comes from `input_file` while it has the terminal."""
        self.source = InputSource(node, self.pid, input_file)
        if input_file is not None and not self.is_foreground:
            self.source.pause()
        self.follower = asyncio.ensure_future(self._follow(node, self.source))

    async def _follow(self, node: RunsPrograms, source: InputSource) -> None:
        try:
            ended = await follow(node, self.pid, self, source)
        except LithoxError as error:
            self.status, self.end_line = error.exit_status, f"{error.message} [{error.code}]"
        else:
            self.status = exit_status_of(ended["status"], ended["code"])
            if ended["code"] not in {"", "process.exited"}:
                self.end_line = f"{ended['message']} [{ended['code']}]"
        await self._finish_output()

    async def take(self, stream: str, data: bytes) -> None:
        """Shows output; see the header."""
        if self.is_foreground:
            await self._screen.write(stream, data)
        else:
            await self._screen.write_text(stream, self._lines[stream].feed(data))

    async def note_missed(self, missed: int) -> None:
        """Tells that output was dropped."""
        text = f"lithox: [{self.number}] {missed} bytes of output were dropped\n"
        await self._screen.write_text("err", text)

    async def _finish_output(self) -> None:
        if self.is_foreground:
            await self._screen.finish()
        for stream, lines in self._lines.items():
            await self._screen.write_text(stream, lines.feed(b"", is_end=True))

    async def take_terminal(self) -> None:
        """Gives the terminal to this job."""
        self.is_foreground = True
        for stream, lines in self._lines.items():
            await self._screen.write_text(stream, lines.feed(b"", is_end=True))
        if self.source is not None:
            self.source.resume()

    def leave_terminal(self) -> None:
        """Takes the terminal from it; it goes on in the background."""
        self.is_foreground = False
        if self.source is not None:
            self.source.pause()

    @property
    def state(self) -> str:
        """What `jobs` says of it."""
        if self.status is None:
            is_waiting = self.source is not None and self.source.is_asked
            return "waits for input" if is_waiting else "running"
        return "done" if self.status == 0 else f"ended with {self.status}"


class Jobs:
    """All jobs of one shell, in the order in which they were started."""

    def __init__(self) -> None:
        self._by_number: dict[int, Job] = {}

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._by_number.values()))

    def add(self, pid: int, text: str, screen: Screen) -> Job:
        """Returns a new job under the smallest number above those in use."""
        number = max(self._by_number, default=0) + 1
        job = Job(number, pid, text, screen)
        self._by_number[number] = job
        return job

    def check_room(self) -> None:
        """Raises Overloaded when there are as many jobs as there may be."""
        if len(self._by_number) >= JOBS_MAX:
            raise Overloaded(f"a shell has at most {JOBS_MAX} jobs; wait for one, or kill one")

    def remove(self, job: Job) -> None:
        """Forgets a job; its number may be used again."""
        self._by_number.pop(job.number, None)

    def running(self) -> list[Job]:
        """Returns the jobs that have not ended."""
        return [job for job in self if job.status is None]

    def find(self, name: str | None) -> Job:
        """Returns the job called `name`.

        Args:
            name: `%2`, `2`; `%`, `%%`, `%+` and None: the newest that runs, else the newest.

        Raises:
            NotFound: there is none.
            BadArguments: that is no job's name.
        """
        if name in {None, "%", "%%", "%+"}:
            candidates = self.running() or list(self)
            if not candidates:
                raise NotFound("there is no job")
            return candidates[-1]
        digits = str(name).removeprefix("%")
        if not (digits.isascii() and digits.isdigit()):
            raise BadArguments(f"a job is named %1, %2 ...; found {str(name)[:40]!r}")
        job = self._by_number.get(int(digits))
        if job is None:
            raise NotFound(f"no job %{digits}")
        return job

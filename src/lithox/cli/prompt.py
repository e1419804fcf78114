"""The shell's prompt: editing, history, completion, and output of jobs above the line being typed.

The only module that knows prompt_toolkit (docs/decisions/0009-terminal.md). It reads lines; what
they mean is `shell.py`'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

from lithox.cli.failures import show_notice
from lithox.cli.following import CODE_SUFFIX
from lithox.cli.shell import SIGNAL_STATUS, STATUS_MAX, Shell, ShellEnded
from lithox.cli.shell_builtins import KINDS, list_names
from lithox.cli.shell_words import read_line
from lithox.errors import BadArguments, LithoxError

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

HISTORY_VARIABLE: Final = "LITHOX_HISTORY"
HISTORY_LINES_MAX: Final = 10_000
"""Kept in the file; older ones go when a shell starts."""
NAMES_KEPT_S: Final = 5.0
"""How long names from the node are used for completion before they are asked for again."""
FILES_MAX: Final = 1_000
_JOB_WORDS: Final = frozenset({"fg", "bg", "kill", "wait"})
_FILE_MODE: Final = 0o600
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


def history_path() -> Path:
    """Returns where the shell's history is kept: `LITHOX_HISTORY`, or the user's state folder."""
    said = os.environ.get(HISTORY_VARIABLE)
    if said:
        return Path(said)
    state = os.environ.get("XDG_STATE_HOME")
    folder = Path(state) if state else Path.home() / ".local" / "state"
    return folder / "lithox" / "shell_history"


def open_history(path: Path) -> History:
    """Returns the history in `path`, made if it is not there, for its owner's eyes only.

    A file that cannot be used costs the history, not the shell. Blocks for the disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=_FILE_MODE)
        _trim(path)
    except OSError as error:
        show_notice(f"lithox: no history is kept: {path}: {error.strerror}")
        return InMemoryHistory()
    return FileHistory(str(path))


def _trim(path: Path) -> None:
    """Keeps the newest lines: entries are a comment with the time, then lines that begin with +."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    if len(lines) <= 3 * HISTORY_LINES_MAX:
        return
    shorter = path.with_name(f"{path.name}.new")
    shorter.touch(mode=_FILE_MODE)
    shorter.write_text("".join(lines[-3 * HISTORY_LINES_MAX :]), encoding="utf-8")
    shorter.replace(path)


class ShellCompleter(Completer):
    """Completes words of the shell, programs, runtimes, jobs and files.

    Names of the node are asked for when completion is, and kept for some seconds.
    """

    def __init__(self, shell: Shell, *, runtimes: Iterable[str] = ()) -> None:
        self._shell = shell
        self._runtimes = sorted(runtimes)
        self._names: dict[str, list[str]] = {}
        self._asked_s: float | None = None

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Any:
        """Gives what is known without asking; prompt_toolkit asks the other one."""
        del complete_event
        return self._complete(document.text_before_cursor)

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion]:
        """Gives the completions of the word before the cursor."""
        del complete_event
        await self._ask()
        for one in self._complete(document.text_before_cursor):
            yield one

    async def _ask(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._asked_s is not None and now_s - self._asked_s < NAMES_KEPT_S:
            return
        self._asked_s = now_s
        # A node that does not answer must not break what is being typed.
        with contextlib.suppress(LithoxError):
            for kind in ("program", "runtime"):
                rows = await list_names(self._shell, kind)
                self._names[kind] = [str(row["name"]) for row in rows]

    def _complete(self, text: str) -> list[Completion]:
        words, word = _words_before(text)
        if not words or words == ["run"]:
            candidates = self._programs(word)
            if not words:
                candidates += self._shell.builtin_names
        elif words[0] in _JOB_WORDS:
            candidates = [f"%{job.number}" for job in self._shell.jobs]
        elif words[0] == "store":
            candidates = ["ls"] if len(words) == 1 else list(KINDS)
        else:
            candidates = _files(word, "")
        found = sorted({one for one in candidates if one.startswith(word) and one != word})
        return [Completion(one, start_position=-len(word)) for one in found]

    def _programs(self, word: str) -> list[str]:
        """Returns what may be run: programs, files, and either behind a runtime."""
        runtime, mark, name = word.partition("#")
        known = self._names.get("program", []) + _files(name if mark else word, CODE_SUFFIX)
        if mark:
            return [f"{runtime}#{one}" for one in known]
        runtimes = {*self._runtimes, *self._names.get("runtime", [])}
        return known + [f"{one}#" for one in runtimes]


def _words_before(text: str) -> tuple[list[str], str]:
    """Returns (whole words of the last command, the word that is being typed)."""
    head, separator, _ = text.rpartition(" ")
    word = text[len(head) + len(separator) :]
    for one in ";&":
        head = head.rpartition(one)[2]
        if one in word:
            head, word = "", word.rpartition(one)[2]
    try:
        commands = list(read_line(head, {}))
    except BadArguments:
        return [""], word
    return list(commands[-1].words) if commands else [], word


def _files(word: str, suffix: str) -> list[str]:
    """Returns paths that begin with `word`: folders, and files that end in `suffix`."""
    folder, _, _ = word.rpartition("/")
    base = Path(folder or ("/" if word.startswith("/") else "."))
    prefix = word[: len(word) - len(word.rpartition("/")[2])]
    found: list[str] = []
    with contextlib.suppress(OSError):
        for entry in base.iterdir():
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                found.append(f"{prefix}{entry.name}/")
            elif entry.name.endswith(suffix):
                found.append(f"{prefix}{entry.name}")
            if len(found) >= FILES_MAX:
                break
    return found


async def run_prompt(
    shell: Shell,
    history: History,
    *,
    runtimes: Iterable[str] = (),
    input_: Input | None = None,
    output: Output | None = None,
) -> int:
    """Reads and runs lines until the user leaves; returns the exit status.

    Args:
        runtimes: names of runtimes that need no store.
        input_, output: another terminal than the process's own (for tests).
    """
    session: PromptSession[str] = PromptSession(
        history=history,
        completer=ShellCompleter(shell, runtimes=runtimes),
        complete_while_typing=False,
        enable_history_search=True,
        input=input_,
        output=output,
    )
    shell.history = lambda: list(history.get_strings())
    reading = asyncio.current_task()
    assert reading is not None
    came: list[int] = []
    loop = asyncio.get_running_loop()

    def leave(number: int) -> None:
        came.append(number)
        reading.cancel()

    for number in _ENDING:
        # A terminal that is closed must not leave its jobs behind.
        loop.add_signal_handler(number, leave, number)
    try:
        while True:
            try:
                # Whatever jobs write while somebody types appears above the line.
                with patch_stdout(raw=True):
                    line = await session.prompt_async("lithox> ")
            except KeyboardInterrupt:
                continue
            except EOFError:
                line = "exit"
            was_leaving = shell.is_leaving
            await shell.run_line(line)
            shell.is_leaving = shell.is_leaving and not was_leaving
    except ShellEnded as ended:
        return min(ended.status, STATUS_MAX)
    except asyncio.CancelledError:
        if not came:
            raise
        return SIGNAL_STATUS + came[0]
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)
        await shell.close()

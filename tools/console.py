"""How the tools speak: one line per step, moving while it lasts on a terminal.

Standard library only, since it runs before anything is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Self

LAST_WORDS_MAX = 60
"""Characters of a running step's own last line that are shown beside its clock."""
FAILURE_LINES_MAX = 60
"""Lines of a failed step's output that are printed; all of them are in the log file."""
QUIET_REPORT_S = 15.0
"""Where no terminal is, a long step says that it still runs this often."""


class StepFailedError(Exception):
    """A step ended badly; its output has been printed already."""


class Step:
    """One step with a name, a clock and the last words of what runs inside it.

    Use as a context manager. `say` may be called from any thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._words = ""
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._thread = threading.Thread(target=self._move, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        verdict = "done" if kind is None else "FAILED"
        self._print(f"{verdict} in {self.seconds():.1f} s", "\n")

    def seconds(self) -> float:
        """Returns how long it has lasted."""
        return time.monotonic() - self._started

    def say(self, words: str) -> None:
        """Shows `words` as what it is doing now."""
        self._words = words.strip()[:LAST_WORDS_MAX]

    def _print(self, text: str, end: str) -> None:
        start = "\r\x1b[K" if self._is_terminal else ""
        print(f"{start}  {self._name} ... {text}", end=end, flush=True)

    def _move(self) -> None:
        pause = 0.2 if self._is_terminal else QUIET_REPORT_S
        while not self._ended.wait(pause):
            self._print(f"{self.seconds():.0f} s  {self._words}", "" if self._is_terminal else "\n")


def run_step(name: str, command: list[str], *, log: Path, folder: Path) -> None:
    """Runs `command` as a step; its output goes to `log`, its last line to the console.

    Raises:
        StepFailedError: it ended with another status than 0; the end of its output is printed.

    Blocks: until the command ends.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Step(name) as step, log.open("wb") as copy:
            status = _follow(command, step, copy, folder)
            if status != 0:
                raise StepFailedError(name)
    except StepFailedError:
        lines = log.read_text(errors="replace").splitlines()
        print("\n".join(lines[-FAILURE_LINES_MAX:]), file=sys.stderr)
        print(f"\n{name} ended with status {status}: {' '.join(command)}", file=sys.stderr)
        raise


def _follow(command: list[str], step: Step, copy: IO[bytes], folder: Path) -> int:
    """Returns the status of `command` after copying all it says."""
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            copy.write(line)
            step.say(line.decode(errors="replace"))
    return child.returncode

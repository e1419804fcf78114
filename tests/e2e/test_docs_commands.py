"""Every command a document shows works as shown, in the order shown, and prints what is shown.

Each document gets an empty folder in which `examples` and `sdk` are those of the checkout, and a
port of its own in place of 7070. Processes shown with `&` must say that they are ready before the
next command runs, and must end well when they are asked to. A block of code whose first line is a
comment with a path in a folder (`-- shop/stock.lua`) is a file the reader writes. A command below
which a line begins with `lithox: ` is shown failing: it must fail, with that line. `…` stands for
what differs each time.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import Shown, shown_commands, split
from tests.repo.checkout import ROOT
from tests.servers import require_tool

SHOWN_PORT = "7070"
SECONDS_MAX = 50
DOCUMENTS = sorted({shown.where.rsplit(":", 1)[0] for shown in shown_commands()})
FAILURE_MARK = "lithox: "
FILE_MARK = re.compile(r"(?:--|#|//) ([a-z_]+/[a-z_]+\.[a-z]+)$")
LITHOX = Path(sys.executable).with_name("lithox")


def free_port() -> str:
    """Returns a port of loopback that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def is_as_shown(line: str, shown: str) -> bool:
    """Returns whether a printed line is the one a document shows; `…` there is anything."""
    return re.fullmatch(".+".join(map(re.escape, shown.split("…"))), line) is not None


class Reader:
    """Follows what a background process prints, so that it never blocks on a full pipe."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._child = child
        self._has_spoken = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.lines.append(line)
            self._has_spoken.set()
        self._has_spoken.set()

    def wait_ready(self) -> None:
        """Waits for the first line, which is how a node says that it is ready."""
        assert self._has_spoken.wait(SECONDS_MAX), "it does not say that it is ready"
        assert self.lines, f"it ended with status {self._child.wait()} before it was ready"

    def finish(self) -> None:
        """Waits for the end of the output and lets the pipe go."""
        self._thread.join(SECONDS_MAX)
        assert self._child.stdout is not None
        self._child.stdout.close()


class Reading:
    """Somebody who types what one document shows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.children: list[tuple[subprocess.Popen[str], Reader]] = []
        for name in ("examples", "sdk"):
            (folder / name).symlink_to(ROOT / name)
        self.surroundings = {
            name: value for name, value in os.environ.items() if not name.startswith("LITHOX_")
        } | {"LITHOX_PROCESSES": "1"}

    def words(self, shown: Shown) -> list[str]:
        """Returns the command with this folder's port and this environment's `lithox`."""
        words = shlex.split(re.sub(rf"(?<=[: ]){SHOWN_PORT}\b", self.port, shown.command))
        if words[0].startswith(".venv/bin/"):
            words[0] = str(LITHOX.with_name(words[0].removeprefix(".venv/bin/")))
        if words[1:2] == ["serve"] and "--listen" not in words:
            words += ["--listen", f"127.0.0.1:{self.port}"]
        return words

    def type(self, shown: Shown) -> None:
        """Runs one command as shown; fails when it does not do what is shown."""
        if shown.is_background:
            child = subprocess.Popen(
                self.words(shown),
                cwd=self.folder,
                env=self.surroundings,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.children.append((child, reader := Reader(child)))
            reader.wait_ready()
            return
        done = subprocess.run(
            self.words(shown),
            cwd=self.folder,
            env=self.surroundings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        told = f"{shown.where}: {shown.command}\n{done.stdout}{done.stderr}"
        expected = [line for line in shown.output if line.strip()]
        is_failing = any(line.startswith(FAILURE_MARK) for line in expected)
        assert (done.returncode != 0) is is_failing, told
        printed = done.stderr if is_failing else done.stdout
        if expected:
            found = [line for line in printed.splitlines() if line.strip()]
            assert len(found) == len(expected), told
            assert all(map(is_as_shown, found, expected)), told

    def write_files(self, document: Path) -> None:
        """Writes the files that the document has its reader write."""
        for block in split(document.read_text("utf-8"))[1]:
            found = FILE_MARK.match(block.lines[0]) if block.lines else None
            if found is not None:
                path = self.folder / found[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("\n".join(block.lines) + "\n", "utf-8")

    def end(self) -> list[int]:
        """Asks every background process to end; returns their statuses."""
        statuses: list[int] = []
        for child, reader in reversed(self.children):
            child.send_signal(signal.SIGTERM)
            try:
                statuses.append(child.wait(SECONDS_MAX))
            except subprocess.TimeoutExpired:
                child.kill()
                statuses.append(child.wait())
            reader.finish()
        self.children.clear()
        return statuses


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Reading]:
    """Gives a reader in an empty folder, and ends what it has started."""
    one = Reading(tmp_path)
    yield one
    one.end()


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_shown_works(document: str, reading: Reading) -> None:
    """Each command of the document ends with 0 and prints what is shown below it."""
    shown = [one for one in shown_commands() if one.where.rsplit(":", 1)[0] == document]
    for tool, package in (("curl", "curl"), ("redis-cli", "redis-tools")):
        if any(one.command.startswith(tool) for one in shown):
            require_tool(tool, package)
    reading.write_files(ROOT / document)
    for one in shown:
        reading.type(one)
    assert set(reading.end()) <= {0}


@pytest.mark.e2e
@pytest.mark.slow
def test_the_shown_python_program_prints_what_is_shown(tmp_path: Path) -> None:
    """The program in docs/how-to/embed-in-python.md runs as it stands."""
    blocks = split((ROOT / "docs" / "how-to" / "embed-in-python.md").read_text("utf-8"))[1]
    program, printed = ("\n".join(block.lines) for block in blocks)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == (printed, 0), done.stderr


def test_shown_output_is_really_compared() -> None:
    """A line that differs is not as shown, and dots stand for something, never for nothing."""
    assert is_as_shown("by process 12; stop", "by process …; stop")
    assert not is_as_shown("by process ; stop", "by process …; stop")
    assert not is_as_shown("by process 12; go", "by process …; stop")
    assert not is_as_shown("5", "6")

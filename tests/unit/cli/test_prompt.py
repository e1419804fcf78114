"""The prompt: what Tab offers, and where history is kept."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from lithox.cli import prompt
from lithox.cli.backend import EmbeddedBackend
from lithox.cli.prompt import ShellCompleter, history_path, open_history, run_prompt
from lithox.cli.screen import Screen
from lithox.cli.shell import Shell
from lithox.cli.shell_builtins import make_builtins
from lithox.errors import StoreUnavailable

PROGRAMS = ["hello", "help-me"]


@pytest.fixture
def shell(node, tmp_path, monkeypatch):
    """A shell in a folder with two files, over a node with two programs and a runtime."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.lua").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.lua").write_text("")
    names = {"program": PROGRAMS, "runtime": ["mine"]}

    class Backend(EmbeddedBackend):
        async def store_list(self, kind, prefix="", *, after="", limit=100):
            rest = [one for one in names[kind] if one > after]
            return [{"name": one} for one in rest[:1]], len(rest) > 1

    return Shell(Backend(node), Screen(), is_interactive=True, builtins=make_builtins)


def offered(shell: Shell, text: str) -> list[str]:
    """Returns what Tab offers behind `text`."""

    async def ask() -> list[str]:
        completer = ShellCompleter(shell, runtimes=("native", "compat-5.1"))
        event = CompleteEvent(completion_requested=True)
        return [one.text async for one in completer.get_completions_async(Document(text), event)]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hel", ["hello", "help", "help-me"]),
        ("run hel", ["hello", "help-me"]),
        ("he", ["hello", "help", "help-me", "here.lua"]),
        ("echo x; hel", ["hello", "help", "help-me"]),
        ("hello &hel", ["hello", "help", "help-me"]),
        ("sub/", ["sub/deep.lua"]),
        ("com", ["compat-5.1#"]),
        ("mi", ["mine#"]),
        ("compat-5.1#hel", ["compat-5.1#hello", "compat-5.1#help-me"]),
        ("compat-5.1#sub/", ["compat-5.1#sub/deep.lua"]),
        ("hello no", ["notes.txt"]),
        ("hello su", ["sub/"]),
        ("store ", ["ls"]),
        ("store ls r", ["runtime"]),
        ("kill ", []),
        ("echo 'a", []),
        ("zzz", []),
    ],
)
def test_tab_offers_what_may_stand_there(shell, text, words):
    """Programs, files and words first; arguments behind them."""
    assert offered(shell, text) == words


def test_jobs_are_offered_where_a_job_is_meant(shell):
    """By their numbers."""
    shell.jobs.add(7, "loop", Screen())
    assert offered(shell, "fg ") == ["%1"]
    assert offered(shell, "kill %") == ["%1"]


def test_a_node_that_does_not_answer_breaks_nothing(shell, monkeypatch):
    """Words and files are offered all the same."""

    async def broken(*args, **kwargs):
        raise StoreUnavailable("closed")

    monkeypatch.setattr(type(shell.node), "store_list", broken)
    assert offered(shell, "he") == ["help", "here.lua"]


def test_lines_are_read_until_the_end(shell, capsys):
    """Ctrl-C empties the line, Ctrl-D leaves with the last status; both are what they are."""

    async def work() -> int:
        with create_pipe_input() as keys:
            keys.send_text("fail 3\nhello x\x03\x04")
            return await run_prompt(shell, InMemoryHistory(), input_=keys, output=DummyOutput())

    assert asyncio.run(work()) == 3
    assert "hello x" not in capsys.readouterr().out


def test_history_is_for_its_owner_and_bounded(tmp_path, monkeypatch):
    """The file is made with no right for others; old lines go."""
    path = tmp_path / "state" / "history"
    history = open_history(path)
    assert isinstance(history, FileHistory)
    history.store_string("one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setattr(prompt, "HISTORY_LINES_MAX", 2)
    for word in ("two", "three", "four"):
        history.store_string(word)
    kept = list(open_history(path).load_history_strings())
    assert kept[0] == "four"
    assert "one" not in kept
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_history_is_no_reason_not_to_start(tmp_path, capsys):
    """A file in the way costs the history and says so."""
    (tmp_path / "file").write_text("")
    assert isinstance(open_history(tmp_path / "file" / "history"), InMemoryHistory)
    assert "no history is kept" in capsys.readouterr().err


def test_history_stands_where_users_expect_it(monkeypatch, tmp_path):
    """The variable, the state folder, the home folder, in this order."""
    monkeypatch.delenv("LITHOX_HISTORY", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert history_path() == tmp_path / ".local" / "state" / "lithox" / "shell_history"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    assert history_path() == tmp_path / "s" / "lithox" / "shell_history"
    monkeypatch.setenv("LITHOX_HISTORY", str(tmp_path / "h"))
    assert history_path() == Path(tmp_path / "h")

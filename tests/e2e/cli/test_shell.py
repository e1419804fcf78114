"""`lithox shell`, `run` and `top` on a real terminal, over a real node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli.pseudo_terminal import CTRL_C, CTRL_D, CTRL_Z, ENTER, TAB, Terminal
from tests.e2e.node.serving import Served, serving, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROGRAMS = {
    "parrot": "for line in io.lines() do print('you said ' .. line) end",
    "loop": "print('looping') while true do end",
    "status": "os.exit(tonumber((...)))",
    "draws": "io.write('\\27[1mbold\\27[0m \\27[2J\\27]0;title\\7 end of drawing\\n')",
}
PROMPT = "lithox>"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Gives a served node."""
    with serving(tmp_path_factory.mktemp("node") / "data") as served:
        yield served


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gives the folder in which commands run, with the programs in it."""
    for name, text in PROGRAMS.items():
        (tmp_path / f"{name}.lua").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shell(node: Served, folder: Path) -> Iterator[Terminal]:
    """Gives a shell at its first prompt."""
    one = Terminal("shell", "--node", node.url, history=folder / "history")
    try:
        one.expect(PROMPT)
        yield one
    finally:
        one.close()


def names(node: Served) -> list[str]:
    """Returns the programs that run."""
    found = node.get("/v1/processes")["processes"]
    return [row["program"] for row in found if row["kind"] == "program"]


def ask(shell: Terminal, line: str, answer: str) -> str:
    """Types a line, waits for its answer and for the next prompt."""
    shell.type(line + ENTER)
    taken = shell.expect(rf"\n{answer}")
    shell.expect(PROMPT)
    return taken


def test_programs_run_and_their_status_is_told(shell):
    """The first thing a person does."""
    ask(shell, "status.lua 7; echo status $?", "status 7")
    shell.type("exit" + ENTER)
    assert shell.wait() == 0


def test_ctrl_c_ends_the_foreground_and_nothing_else(shell, node):
    """However often it is pressed: the loop ends, the shell stays."""
    shell.type("loop.lua; echo not run" + ENTER)
    shell.expect("\nlooping")
    shell.type(CTRL_C + CTRL_C)
    shell.expect(PROMPT)
    wait_until(lambda: "loop.lua" not in names(node), "the loop ends")
    assert "\nnot run" not in shell.text
    ask(shell, "echo status $?", "status 130")


def test_what_is_typed_goes_to_the_foreground(shell):
    """Lines reach the program that asks for them; Ctrl-D is their end; the rest is the shell's."""
    shell.type("parrot.lua" + ENTER)
    shell.expect("parrot.lua\n")
    shell.type("hello\n")
    shell.expect("you said hello")
    shell.type(CTRL_D)
    shell.expect(PROMPT)
    ask(shell, "echo the shell again", "the shell again")


def test_ctrl_z_fg_and_jobs(shell):
    """A program goes behind, waits there for its input, and comes to the front again."""
    shell.type("parrot.lua" + ENTER)
    shell.expect("parrot.lua\n")
    shell.type("one\n")
    shell.expect("you said one")
    shell.type(CTRL_Z)
    shell.expect(r"\[1\] parrot.lua &")
    shell.expect(PROMPT)
    ask(shell, "jobs", r"\[1\] \d+  waits for input  parrot.lua")
    shell.type("fg" + ENTER)
    shell.expect("\nparrot.lua\n")
    shell.type("two\n")
    shell.expect("you said two")
    shell.type(CTRL_D)
    shell.expect(PROMPT)
    shell.type("jobs; echo none left" + ENTER)
    assert "parrot" not in shell.expect("\nnone left").split("\n", 1)[1]


def test_jobs_run_behind_and_speak_with_their_number(shell, node):
    """Output appears above the line being typed; `kill` ends, and the end is told once."""
    shell.type("loop.lua &" + ENTER)
    shell.expect(r"\[1\] \d+")
    shell.expect(r"\[1\] looping")
    ask(shell, "kill %1; wait", r"\[1\] ended with 4  loop.lua: .*\[request.cancelled\]")
    assert "loop.lua" not in names(node)


def test_leaving_ends_the_jobs(shell, node):
    """Told once, done the second time; nothing runs on."""
    shell.type("loop.lua &" + ENTER)
    shell.expect(r"\[1\] looping")
    shell.type("exit" + ENTER)
    shell.expect("1 jobs still run; exit once more ends them")
    shell.expect(PROMPT)
    shell.type(CTRL_D)
    assert shell.wait() == 0
    wait_until(lambda: "loop.lua" not in names(node), "the job ends")


def test_names_are_completed_and_history_is_kept(shell, node, folder):
    """Tab completes words of the shell, files and programs; a new shell knows the old lines."""
    shell.type("hist" + TAB)
    # Only what is new is drawn.
    shell.expect("ory")
    shell.type(ENTER)
    shell.expect(r"1  history")
    shell.expect(PROMPT)
    shell.type("stat" + TAB)
    shell.expect("us.lua")
    shell.type(" 3" + ENTER)
    shell.expect(PROMPT)
    shell.type("stor" + TAB)
    # `storage`, a program of the package, and `store`, a word of the shell.
    shell.expect("storage")
    shell.type(CTRL_C)
    shell.expect(PROMPT)
    shell.type("exit" + ENTER)
    shell.wait()
    kept = (folder / "history").read_text()
    assert "+status.lua 3\n" in kept
    assert (folder / "history").stat().st_mode & 0o077 == 0
    again = Terminal("shell", "--node", node.url, history=folder / "history")
    try:
        again.expect(PROMPT)
        ask(again, "history", r"\s+2  status.lua 3")
        again.type("exit" + ENTER)
        assert again.wait() == 0
    finally:
        again.close()


def test_a_program_draws_only_what_is_harmless(node, folder):
    """Colours pass, commands to the terminal are shown; with --raw everything passes."""
    quiet = Terminal("run", "--node", node.url, "draws.lua", history=folder / "h")
    quiet.expect("end of drawing")
    assert quiet.wait() == 0
    assert b"\x1b[1mbold\x1b[0m" in quiet.raw
    assert b"\\x1b[2J\\x1b]0;title\\x07" in quiet.raw
    quiet.close()
    loud = Terminal("run", "--raw", "--node", node.url, "draws.lua", history=folder / "h")
    loud.expect("end of drawing")
    loud.wait()
    assert b"\x1b[2J\x1b]0;title\x07" in loud.raw
    loud.close()


def test_run_talks_to_the_terminal(node, folder):
    """What a person types reaches the program, Ctrl-C ends it."""
    one = Terminal("run", "--node", node.url, "parrot.lua", history=folder / "h")
    one.type("hello\n")
    one.expect("you said hello")
    one.type(CTRL_C)
    assert one.wait() == 130
    one.close()


def test_top_sorts_and_ends_by_keys(node, folder):
    """A tree that refreshes; a process is ended after a yes; q leaves and restores the screen."""
    loop = Terminal("run", "--node", node.url, "loop.lua", history=folder / "h")
    loop.expect("looping")
    top = Terminal("top", "--node", node.url, "--interval", "100ms", history=folder / "h")
    try:
        top.expect(r"by tree, fuel.*PID +RUNS.*└ loop.lua.*sort: f=fuel")
        top.type("t")
        top.expect("by fuel.*loop.lua")
        top.type("x")
        top.expect(r"end process \d+\? y ends it")
        top.type("n")
        top.expect("sort: f=fuel")
        top.type("q")
        assert top.wait() == 0
        assert top.raw.rstrip().endswith((b"\x1b[?1049l", b"\x1b[?25h"))
    finally:
        top.close()
        loop.type(CTRL_C)
        loop.wait()
        loop.close()


def test_a_shell_needs_no_node(folder):
    """It opens the data directory, and programs run while somebody types."""
    one = Terminal("shell", "--data", folder / "data", history=folder / "h")
    try:
        one.expect(PROMPT)
        one.type("loop.lua &" + ENTER)
        one.expect(r"\[1\] looping")
        ask(one, "status.lua 3; echo status $?", "status 3")
        one.type("kill %1; wait; exit 5" + ENTER)
        assert one.wait() == 5
    finally:
        one.close()

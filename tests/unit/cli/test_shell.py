"""The shell without a terminal: commands, jobs, statuses, and how a script ends."""

from __future__ import annotations

import asyncio
import io
import signal

import pytest

from lithox.cli.backend import EmbeddedBackend
from lithox.cli.jobs import JOBS_MAX
from lithox.cli.screen import Screen
from lithox.cli.shell import Shell, ShellEnded
from lithox.cli.shell_builtins import HELP, make_builtins
from tests.unit.gateway.fake_programs import FIRST_PID


def test_commands_run_one_after_the_other(run, node):
    """By name, by file, with quotes; `$?` is the status of the one before."""
    ended = run("shell", "-c", "hello 'a b'; fail 7; echo $?\nhello c; echo $?")
    assert ended.out == "hello a b\n7\nhello c\n0\n"
    assert ended.status == 0


def test_the_status_of_a_script_is_that_of_its_last_command(run, node):
    """As in other shells; `exit` says another."""
    assert run("shell", "-c", "hello x; fail 7").status == 7
    assert run("shell", "-c", "exit 9; hello x") == (9, "", "")
    assert run("shell", "-c", "fail 7; exit").status == 7


def test_a_script_comes_from_standard_input(run, node, monkeypatch):
    """Line by line; a line that fails does not end it."""
    monkeypatch.setattr("sys.stdin", io.StringIO("none\nhello a 'b\n# nothing\n\nhello c"))
    ended = run("shell")
    assert (ended.status, ended.out) == (0, "hello c\n")
    assert ended.err == (
        "lithox: no program 'none' [request.not_found]\n"
        "lithox: a ' is not closed [request.bad_arguments]\n"
        "\x1b[2J\n"
    )


def test_output_of_jobs_says_whose_it_is(run, node):
    """Each line behind the job's number; a script waits for its jobs at its end."""
    ended = run("shell", "-c", "hello a &\nhello b &\n")
    assert sorted(ended.out.splitlines()) == ["[1] hello a", "[2] hello b"]
    assert "[1] \\x1b[2J" in ended.err


def test_jobs_are_listed_waited_for_and_ended(run, node):
    """`jobs`, `wait`, `kill %N`, `kill PID`, `$!`."""
    ended = run(
        "shell",
        "-c",
        f"loop &\nloop &\nkill {FIRST_PID + 1}; wait %2; echo $?\njobs\nkill %1; wait; echo $! $?",
    )
    lines = [line for line in ended.out.splitlines() if "looping" not in line]
    assert lines == ["4", f"[1] {FIRST_PID}  running  loop", f"{FIRST_PID + 1} 4"]
    assert "[2] ended with 4  loop: an operator ended the run [request.cancelled]" in ended.err


def test_a_job_comes_to_the_front(run, node):
    """`fg` waits for it and has its status."""
    ended = run("shell", "-c", "fail 3 &\nfg; echo $?")
    assert ended.out.splitlines()[-1] == "3"


def test_programs_of_a_script_have_no_input(run, node):
    """Who reads is told the end at once, also behind `&`: a script cannot hang on it."""
    ended = run("shell", "-c", "cat; echo $?\ncat &\n")
    assert (ended.status, ended.out) == (0, "0\n")
    assert all(one.is_input_over for one in node.runs.values())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fg", "there is no job"),
        ("fg %7", "no job %7"),
        ("kill", "kill takes %N or a PID"),
        ("kill x", "kill takes %N or a PID; found 'x'"),
        ("kill 99", "no process 99"),
        ("wait x", "a job is named %1, %2 ...; found 'x'"),
        ("exit 300", "an exit status is 0 to 255; found '300'"),
        ("exit 1 2", "exit takes one argument at most; found 2"),
        ("store set", "store ls [program | library | runtime]"),
        ("store ls songs", "store ls [program | library | runtime]"),
        ("run", "run takes a program and its arguments"),
        ("jobs &", "jobs is a word of the shell: only programs run with '&'"),
    ],
)
def test_a_wrong_word_is_one_line_and_status_2(run, node, line, words):
    """And the script goes on."""
    ended = run("shell", "-c", f"{line}\necho $?")
    assert words in ended.err
    assert ended.out == "2\n"


def test_run_reaches_programs_called_like_a_word(run, node):
    """The words of the shell hide nothing for ever."""
    assert run("shell", "-c", "run hello x").out == "hello x\n"
    assert run("shell", "-c", "run help").err.startswith("lithox: no program 'help'")


def test_every_word_is_in_the_help(run, node):
    """What `help` lists is what there is."""
    told = " ".join(form for form, _ in HELP)
    out = run("shell", "-c", "help").out
    for form, meaning in HELP:
        assert form in out
        assert meaning in out
    shell = Shell(EmbeddedBackend(node), Screen(), is_interactive=False, builtins=make_builtins)
    assert [name for name in shell.builtin_names if name not in told] == ["help", "quit"]


def test_tables_and_stores_are_shown(run, node):
    """`ps`, `top` and `store ls` where no terminal is."""
    assert "counter/alice:increment" in run("shell", "-c", "ps").out
    assert "counter/alice:increment" in run("shell", "-c", "top").out
    assert run("shell", "-c", "store ls program").status == 0


def test_a_bug_in_one_command_does_not_end_the_shell(run, node, monkeypatch):
    """It is told as ours, and the next line runs."""
    monkeypatch.setattr(node, "processes", lambda caller: 1 // 0)
    ended = run("shell", "-c", "ps\nhello x; echo $?")
    assert "internal error: ZeroDivisionError" in ended.err
    assert ended.out == "hello x\n0\n"


def test_a_signal_ends_a_script_and_its_jobs(run, node, monkeypatch):
    """130; nothing it started runs on, nothing behind it is run."""
    original = node.read_output

    async def interrupted(pid, **kwargs):
        if kwargs["after"] and pid == FIRST_PID + 1:
            signal.raise_signal(signal.SIGINT)
        return await original(pid, **kwargs)

    monkeypatch.setattr(node, "read_output", interrupted)
    ended = run("shell", "-c", "loop &\nloop; hello x\nhello y")
    assert ended.status == 130
    assert "hello" not in ended.out
    assert [one.exit["code"] for one in node.runs.values()] == ["request.cancelled"] * 2


def interactive(node) -> Shell:
    """Returns a shell as a person has it, but without a terminal."""
    return Shell(EmbeddedBackend(node), Screen(), is_interactive=True, builtins=make_builtins)


def test_leaving_with_jobs_takes_two_words(node, capsys):
    """The first `exit` says what runs; another line in between takes it back."""

    async def work():
        shell = interactive(node)
        await shell.run_line("loop &")
        await shell.run_line("exit 3")
        assert shell.is_leaving
        with pytest.raises(ShellEnded) as caught:
            await shell.run_line("exit 3")
        await shell.close()
        return caught.value.status

    assert asyncio.run(work()) == 3
    assert "1 jobs still run; exit once more ends them" in capsys.readouterr().err
    assert node.runs[FIRST_PID].exit is not None


def test_ctrl_z_sends_the_foreground_to_the_background(node, capsys, monkeypatch):
    """148, its number is told, and it runs on; Ctrl-C then is for nobody."""
    original = node.read_output

    async def stopped(pid, **kwargs):
        if kwargs["after"]:
            signal.raise_signal(signal.SIGTSTP)
        return await original(pid, **kwargs)

    async def work():
        monkeypatch.setattr(node, "read_output", stopped)
        shell = interactive(node)
        await shell.run_line("loop")
        status = shell.status
        await shell.run_line("jobs")
        await shell.close()
        return status

    assert asyncio.run(work()) == 128 + signal.SIGTSTP
    captured = capsys.readouterr()
    assert "[1] loop &" in captured.err
    assert f"[1] {FIRST_PID}  running  loop" in captured.out


def test_jobs_are_bounded(run, node):
    """One more than there may be is refused; the others run on."""
    script = "\n".join(["loop &"] * (JOBS_MAX + 1) + ["echo $?", "exit 5"])
    ended = run("shell", "-c", script)
    assert f"a shell has at most {JOBS_MAX} jobs" in ended.err
    assert (ended.status, ended.out.splitlines()[-1]) == (5, "4")
    assert len(node.runs) == JOBS_MAX

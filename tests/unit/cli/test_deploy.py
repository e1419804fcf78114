"""`lithox deploy`: its report, its check, and where an error stands in the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from lithox.cli.failures import show_error
from lithox.errors import CompileFailed

MANIFEST = '[[template]]\nmatch = "counter/*"\nlanguage = "lua"\nsource = "counter.lua"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lithox.toml").write_text(MANIFEST)
    (tmp_path / "counter.lua").write_text("return {}\n\tlocal x = = 1\n")
    return tmp_path


def test_a_check_says_what_a_deploy_would_and_publishes_nothing(run, node, folder):
    """The report is the deploy's; only the notice on stderr differs."""
    checked = run("deploy", "--check", str(folder))
    assert (len(node.checked), node.deployed) == (1, [])
    deployed = run("deploy", str(folder))
    assert (checked.status, checked.out) == (deployed.status, deployed.out) == (0, deployed.out)
    assert (checked.err, deployed.err) == ("checked; nothing was published\n", "")
    assert run("deploy", "--check", "--json", str(folder)).out.startswith("{")


def test_a_check_ends_as_the_deploy_would(run, node, folder):
    """Exit status and error are the same."""
    (folder / "counter.lua").write_text("return {}\nsyntax error\n")
    checked, deployed = (run("deploy", *said, str(folder)) for said in (["--check"], []))
    assert checked == deployed
    assert checked.status == 1
    assert checked.err == (
        "lithox: counter.lua:2: '=' expected [guest.compile_failed]\n  2 | syntax error\n"
    )


def _shown(capsys: pytest.CaptureFixture[str], error: CompileFailed, folder: Path) -> list[str]:
    show_error(error, folder=folder)
    return capsys.readouterr().err.splitlines()


def test_an_error_names_file_line_and_column_with_a_mark(capsys, folder):
    """Whatever of its place the message said itself is said once; tabs keep the mark in place."""
    for message in (
        "counter.lua:2: '=' unexpected",
        "counter.lua:2:12: '=' unexpected",
        "'=' unexpected",
    ):
        error = CompileFailed(message, file="counter.lua", line=2, column=12)
        assert _shown(capsys, error, folder) == [
            "lithox: counter.lua:2:12: '=' unexpected [guest.compile_failed]",
            "  2 | \tlocal x = = 1",
            "    | \t          ^",
        ]


def test_a_mark_behind_the_end_of_a_line_is_shown(capsys, folder):
    """An end that came too early is one character behind the last one."""
    error = CompileFailed("end expected", file="counter.lua", line=1, column=10)
    assert _shown(capsys, error, folder)[2] == "    |          ^"


@pytest.mark.parametrize("column", [0, -1, 99, "2", True, None])
def test_a_column_that_is_none_is_left_out(capsys, folder, column):
    """What a node says of a column is not believed: the line is shown without a mark."""
    error = CompileFailed("wrong", file="counter.lua", line=1, column=column)
    first, second, *rest = _shown(capsys, error, folder)
    assert first.startswith("lithox: counter.lua:1:")
    assert (second, rest) == ("  1 | return {}", [])


def test_bytes_and_missing_files_are_not_shown(capsys, folder):
    """A WebAssembly module has no lines, and a file that is gone none either."""
    (folder / "a.wasm").write_bytes(b"\0asm\n\1\0\0\0")
    for file in ("a.wasm", "gone.lua", "nul\0.lua"):
        error = CompileFailed("wrong", file=file, line=1, column=1)
        assert len(_shown(capsys, error, folder)) == 1

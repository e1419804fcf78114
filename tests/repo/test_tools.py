"""The tools speak clearly: steps, gates, and what cannot be installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tests.repo.checkout  # noqa: F401 - puts tools/ on the path

import check  # isort: skip  (tools/ is put on the path by checkout)
import console  # isort: skip
import system_packages  # isort: skip


def test_a_step_that_ends_well_keeps_its_output_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The console gets one line; the log gets what the command said."""
    log = tmp_path / "logs" / "step.log"
    command = [sys.executable, "-c", "print('hello')"]
    console.run_step("greeting", command, log=log, folder=tmp_path)
    assert log.read_text() == "hello\n"
    said = capsys.readouterr()
    assert said.out.startswith("  greeting ... done in ")
    assert said.err == ""


def test_a_step_that_fails_shows_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The end of the output, the status and the command are printed, and the step raises."""
    program = "print('first'); print('the reason'); raise SystemExit(3)"
    command = [sys.executable, "-c", program]
    with pytest.raises(console.StepFailedError):
        console.run_step("failing", command, log=tmp_path / "step.log", folder=tmp_path)
    said = capsys.readouterr()
    assert "failing ... FAILED in " in said.out
    assert "the reason\n" in said.err
    assert said.err.rstrip().endswith(f"failing ended with status 3: {' '.join(command)}")


@pytest.mark.parametrize(
    ("program", "is_open"), [("pass", True), ("raise SystemExit('no')", False)]
)
def test_a_gate_is_open_when_its_command_ends_with_0(program: str, *, is_open: bool) -> None:
    """The verdict follows the exit status, and keeps what the command said."""
    verdict = check.check(check.Gate("one", [sys.executable, "-c", program]))
    assert (verdict.is_open, verdict.output) == (is_open, "" if is_open else "no\n")


def test_a_gate_whose_command_is_missing_is_closed() -> None:
    """A tool that is not installed does not count as content."""
    assert not check.check(check.Gate("none", ["/nonexistent/tool"])).is_open


def test_one_closed_gate_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every gate has its line, only closed ones show their output, and the status says it."""
    gates = [
        check.Gate("good", [sys.executable, "-c", "print('quiet')"]),
        check.Gate("bad", [sys.executable, "-c", "raise SystemExit('loud')"]),
    ]
    monkeypatch.setattr(check, "GATES", gates)
    assert check.main([]) == 1
    out = capsys.readouterr().out
    assert [line.split()[:2] for line in out.splitlines()[:2]] == [
        ["good", "ok"],
        ["bad", "FAILED"],
    ]
    assert "loud" in out
    assert "quiet" not in out
    assert check.main(["good"]) == 0
    assert check.main(["sideways"]) == 2


def test_nothing_is_installed_without_the_right_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who is not root is told what is missing, and the target goes on."""
    monkeypatch.setattr(system_packages, "PACKAGES", {"no-such-command": "some-package"})
    monkeypatch.setattr(system_packages.os, "geteuid", lambda: 1000)
    assert system_packages.main([]) == 0
    assert capsys.readouterr().out == (
        "  not installed here: some-package (apt-get install some-package); its tests will skip\n"
    )

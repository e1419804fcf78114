"""`make bench-compare` chooses what it compares with, and ends with 1 for what is worse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.guard import __main__ as command
from bench.guard import files


def make_figures(calls: float) -> dict[str, Any]:
    return {"counts": {"made": {"python": "3.11.7"}, "figures": {"calls": calls}}}


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Returns what each commit keeps; nothing is measured but `now`, and there is no tag."""
    commits: dict[str, Any] = {"HEAD": make_figures(100.0), "now": make_figures(100.0)}
    monkeypatch.setattr(command, "find_figures", commits.get)
    monkeypatch.setattr(command, "last_tag", lambda: commits.get("tag"))
    monkeypatch.setattr(command, "measure_now", lambda **_: commits["now"])
    monkeypatch.setattr(files, "FIGURES", tmp_path / "figures.json")
    return commits


def test_without_a_tag_it_says_so_and_takes_this_commit(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """There is always something to compare with once figures are committed."""
    assert command.main([]) == 0
    said = capsys.readouterr().out
    assert said.startswith("no tag yet: compared with the figures of this commit")
    assert said.endswith("nothing that can be compared moved since this commit\n")
    del kept["HEAD"]
    with pytest.raises(SystemExit, match="no figures are kept yet"):
        command.choose_reference(None)


def test_worse_than_the_last_tag_ends_with_one(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The tag counts, not this commit; what is better ends with 0."""
    kept |= {"tag": "v1", "v1": make_figures(50.0)}
    files.write_figures(kept["HEAD"])
    assert command.main([]) == 1
    assert "worse  calls: 50 -> 100 (+100.0%)" in capsys.readouterr().out
    kept["v1"] = make_figures(200.0)
    assert command.main([]) == 0
    assert "since v1: 0 worse, 1 better, 0 other" in capsys.readouterr().out


def test_a_tag_from_before_the_guard_is_passed_over(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named, and this commit is compared with instead."""
    kept["tag"] = "v0"
    assert command.choose_reference(None)[0] == "this commit"
    assert capsys.readouterr().out.startswith("v0 has no bench/guard/figures.json")


def test_a_commit_without_figures_is_refused(kept: dict[str, Any]) -> None:
    """Whoever names a commit means that one."""
    del kept
    with pytest.raises(SystemExit, match="v9 is unknown or has no bench/guard/"):
        command.choose_reference("v9")


def test_what_could_not_be_measured_stays_when_the_file_is_renewed(kept: dict[str, Any]) -> None:
    """A machine without valgrind renews counts, and leaves instructions as they were."""
    files.write_figures({**make_figures(100.0), "instructions": {"made": {}, "figures": {"i": 1}}})
    kept["now"] = make_figures(120.0)
    assert command.main(["--write"]) == 0
    found = files.read_figures()
    assert found["counts"]["figures"] == {"calls": 120.0}
    assert found["instructions"]["figures"] == {"i": 1}

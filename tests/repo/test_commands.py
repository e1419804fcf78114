"""The one door works: targets, set-up that is done once, locked dependencies, skips that count."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.repo.checkout import ROOT

import notice  # isort: skip  (tools/ is put on the path by checkout)
import setup  # isort: skip
import targets  # isort: skip

PROMISED = {
    "help",
    "demo",
    "check",
    "fix",
    "test",
    "sim",
    "conformance",
    "e2e",
    "torment",
    "docs",
    "bench",
    "bench-compare",
    "bench-mixed",
    "bench-peers",
    "lock",
    "all",
    "clean",
}
SKIPS = """
import pytest

def test_skips():
    pytest.skip("no server here")

@pytest.mark.xfail
def test_fails_as_expected():
    assert False
"""


def rules() -> dict[str, tuple[str, list[str]]]:
    """Returns target -> (its words, its recipe lines) of the Makefile."""
    found: dict[str, tuple[str, list[str]]] = {}
    name = ""
    for line in (ROOT / "Makefile").read_text().splitlines():
        head = re.match(r"([a-z0-9-]+):(?: ## (.+))?$", line)
        if head:
            name = head[1]
            found[name] = (head[2] or "", [])
        elif line.startswith("\t"):
            found[name][1].append(line.strip())
    return found


def test_every_target_is_one_line_into_tools() -> None:
    """The Makefile has the promised targets, each with words for the list and one line of work."""
    assert set(rules()) == PROMISED
    for name, (words, recipe) in rules().items():
        assert words
        assert len(recipe) == 1
        assert recipe[0].startswith(f"@$(PYTHON) tools/task.py {name}")


def test_make_without_a_target_lists_them() -> None:
    """`make` prints every target with its words, one line each, and changes nothing."""
    listed = subprocess.run(
        [sys.executable, "tools/task.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == list(rules())


@pytest.mark.parametrize("target", sorted(PROMISED - {"help", "clean"}))
def test_every_target_has_its_commands(target: str) -> None:
    """A promised target runs at least one command."""
    assert targets._commands(target, [])


def test_an_unknown_target_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt target is named and ends with 2, before anything is set up for it.

    On a fresh machine set-up builds every guest, which took over a minute.
    """

    def refuse(**_: object) -> None:
        pytest.fail("an unknown target was set up for")

    monkeypatch.setattr(targets, "set_up", refuse)
    assert targets.main(["tset"]) == 2
    assert capsys.readouterr().err == "there is no target 'tset'; `make` lists them\n"


def test_set_up_does_each_part_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is made when its stamp differs, all after a new environment, and never twice."""
    made: list[str] = []
    digests = {"environment": "e1", "dependencies": "d1", "project": "p1", "guest": "g1"}
    digests["compiled"] = "c1"
    for part, maker in (
        ("environment", "_make_environment"),
        ("dependencies", "_install_dependencies"),
        ("project", "_install_project"),
        ("guest", "_build_guest"),
        ("compiled", "_compile"),
    ):
        monkeypatch.setattr(setup, maker, lambda part=part: made.append(part))
        monkeypatch.setattr(setup, f"_digest_{part}", lambda part=part: digests[part])
    monkeypatch.setattr(setup, "_STAMP", tmp_path / "stamp.json")

    def made_by(*, with_guest: bool = True, with_compiled: bool = True) -> list[str]:
        made.clear()
        setup.set_up(with_guest=with_guest, with_compiled=with_compiled)
        return list(made)

    sources = made_by(with_guest=False, with_compiled=False)
    assert sources == ["environment", "dependencies", "project"]
    assert made_by(with_compiled=False) == ["guest"]
    assert made_by() == ["compiled"]
    assert made_by() == []
    digests["dependencies"] = "d2"
    assert made_by() == ["dependencies"]
    digests["environment"] = "e2"
    assert made_by() == ["environment", "dependencies", "project", "guest", "compiled"]
    (tmp_path / "stamp.json").write_text("{torn")
    assert made_by() == ["environment", "dependencies", "project", "guest", "compiled"]


def test_a_failed_part_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that failed leaves no stamp."""
    monkeypatch.setattr(setup, "_STAMP", tmp_path / "stamp.json")
    monkeypatch.setattr(setup, "_make_environment", lambda: None)

    def fail() -> None:
        raise setup.StepFailedError("dependencies")

    monkeypatch.setattr(setup, "_install_dependencies", fail)
    with pytest.raises(setup.StepFailedError):
        setup.set_up()
    assert set(setup._read_stamps()) == {"environment"}


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt"])
def test_dependencies_are_locked(name: str) -> None:
    """Every requirement has one exact version and hashes, and what pyproject.toml asks is in it."""
    text = (ROOT / "requirements" / name).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    pinned: dict[str, Version] = {}
    for entry in entries:
        found = re.match(r"([A-Za-z0-9_.-]+)==([^\s;\\]+)", entry)
        assert found, entry
        assert "--hash=sha256:" in entry, entry
        pinned[found[1]] = Version(found[2])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [Requirement(line) for line in project["dependencies"]]
    if name == "dev.txt":
        lines = (ROOT / "requirements" / "dev.in").read_text().splitlines()
        asked += [Requirement(line) for line in lines if line and not line.startswith("#")]
    wrong = [
        str(one)
        for one in asked
        if one.name not in pinned or not one.specifier.contains(pinned[one.name])
    ]
    assert wrong == [], "run `make lock`"


def test_both_lock_files_agree() -> None:
    """What runs is tested in the very version that is shipped."""
    pins = [
        set(re.findall(r"^(\S+==\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE))
        for name in ("runtime.txt", "dev.txt")
    ]
    assert pins[0] <= pins[1]


def test_notice_names_every_runtime_dependency() -> None:
    """NOTICE lists each package that pip installs beside lithox."""
    names = notice.names_in((ROOT / "requirements" / "runtime.txt").read_text())
    told = re.findall(r"^([A-Za-z0-9_.-]+): \S", (ROOT / "NOTICE").read_text(), re.MULTILINE)
    assert [name for name in names if name not in told] == [], "run `make lock`"


@pytest.mark.parametrize(
    ("with_ci", "status", "words"), [(False, 0, "skipped"), (True, 1, "failed")]
)
def test_a_skip_is_a_failure_in_ci(
    tmp_path: Path, *, with_ci: bool, status: int, words: str
) -> None:
    """A skipped test passes at home and fails with CI set; an expected failure never does."""
    path = tmp_path / "test_skips.py"
    path.write_text(SKIPS)
    surroundings = {name: value for name, value in os.environ.items() if name != "CI"}
    if with_ci:
        surroundings["CI"] = "1"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-n", "0", "-p", "tests.conftest", "-q"),
            *("-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), str(path)),
        ],
        cwd=ROOT,
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert f"1 {words}, 1 xfailed" in done.stdout

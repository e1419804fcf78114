"""What is compiled is there, and nobody runs what he does not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tests.repo.checkout  # noqa: F401 - puts tools/ on the path

import compiled  # isort: skip  (tools/ is put on the path by checkout)
import compiled_finder  # isort: skip

SOURCES = Path(__file__).parents[2] / "src"


def test_every_compiled_module_is_there() -> None:
    """A module that was moved is not left uncompiled unseen."""
    names = compiled.names()
    assert len(set(names)) == len(names) > 30
    assert [name for name in names if not (SOURCES / name).is_file()] == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sources of the same age."""
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("x = 1\n")
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    return tmp_path


def test_an_older_file_in_the_place_of_another_is_seen(folder: Path) -> None:
    """What tools for copying do to times does not hide a change."""
    before = compiled_finder.state_of(str(folder))
    assert compiled_finder.state_of(str(folder)) == before
    os.utime(folder / "b.py", ns=(10**17, 10**17))
    assert compiled_finder.state_of(str(folder)) != before


@pytest.mark.parametrize("change", ["longer", "gone", "renamed", "new"])
def test_every_change_is_seen(folder: Path, change: str) -> None:
    """Of one source's text, name or being there."""
    before = compiled_finder.state_of(str(folder))
    if change == "longer":
        (folder / "a.py").write_text("x = 10\n")
        os.utime(folder / "a.py", ns=(10**18, 10**18))
    elif change == "gone":
        (folder / "a.py").unlink()
    elif change == "renamed":
        (folder / "a.py").rename(folder / "c.py")
    else:
        (folder / "inside").mkdir()
        (folder / "inside" / "a.py").touch()
    assert compiled_finder.state_of(str(folder)) != before


def test_caches_of_python_are_no_change(folder: Path) -> None:
    """Running the sources once does not make them others."""
    before = compiled_finder.state_of(str(folder))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.py").touch()
    assert compiled_finder.state_of(str(folder)) == before


def test_a_compiled_module_that_is_gone_is_not_found(tmp_path: Path) -> None:
    """Then the source runs."""
    file = tmp_path / "a.so"
    finder = compiled_finder.Finder({"lithox.a": str(file)})
    assert finder.find_spec("lithox.a") is None
    file.touch()
    spec = finder.find_spec("lithox.a")
    assert spec is not None
    assert spec.origin == str(file)
    assert finder.find_spec("lithox.b") is None

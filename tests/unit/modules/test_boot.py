"""The boot copy inside the package: found by name, listed, never a way to another file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lithox.errors import BadArguments
from lithox.modules import boot
from lithox.modules.code import KINDS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gives a folder that stands for the package's."""
    monkeypatch.setattr(boot.resources, "files", lambda package: tmp_path)
    boot._read_all.cache_clear()
    yield tmp_path  # type: ignore[misc]
    boot._read_all.cache_clear()


def test_files_are_found_by_kind_and_name(folder: Path) -> None:
    """A `.lua` file of the kind's folder is there under its name, others are not."""
    programs = folder / "boot" / "programs"
    programs.mkdir(parents=True)
    (programs / "init.lua").write_bytes(b"print(1)")
    (programs / "notes.txt").write_bytes(b"x")
    assert boot.find_boot("program", "init") == b"print(1)"
    assert boot.list_boot("program") == ["init"]
    assert boot.find_boot("program", "notes") is None
    assert boot.find_boot("library", "init") is None
    assert boot.list_boot("runtime") == []


@pytest.mark.parametrize("name", ["../programs/init", "/etc/passwd", "..", ""])
def test_a_name_is_no_path(folder: Path, name: str) -> None:
    """What is no name is refused before anything is looked for."""
    with pytest.raises(BadArguments):
        boot.find_boot("program", name)


def test_an_unknown_kind_is_refused() -> None:
    """There are three kinds."""
    with pytest.raises(BadArguments):
        boot.find_boot("entity", "x")


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_package_ships_has_names(kind: str) -> None:
    """Every file can be found under the name it is listed by."""
    for name in boot.list_boot(kind):
        assert boot.find_boot(kind, name) is not None

"""Fetching packages: what is no Debian is told from a Debian that does not give the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.conformance.compat import debian

APT = """#!/bin/sh
echo "$*" >> "$0.log"
case "$*" in
update*) {update} ;;
download*Dir::State::Lists*) {again} ;;
*) echo "E: Unable to locate package" >&2; exit 100 ;;
esac
"""
GIVES = 'for name; do :; done; echo package > "$name.deb"'
FAILS = 'echo "E: no network" >&2; exit 100'
DPKG = "#!/bin/sh\nmkdir files\n"


def make_commands(folder: Path, monkeypatch: pytest.MonkeyPatch, **parts: str) -> Path:
    """Puts an apt-get whose own lists are empty on the PATH; returns where it notes its calls."""
    monkeypatch.setattr(debian, "_read_lists", cache(debian._read_lists.__wrapped__))
    folder.mkdir()
    for name, text in (("apt-get", APT.format(**parts)), ("dpkg-deb", DPKG)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "apt-get.log"


def test_empty_lists_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a fresh machine the lists are fetched for the first package, and serve the next."""
    log = make_commands(tmp_path / "bin", monkeypatch, update=":", again=GIVES)
    for package in ("lua-a", "lua-b"):
        assert debian.unpacked(package, tmp_path / "debs") == tmp_path / "debs" / package
    calls = [line.split()[0] for line in log.read_text().splitlines()]
    assert calls == ["download", "update", "download", "download", "download"]


def test_failed_fetch_says_all_that_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is not got though apt is there is an error with apt's own words."""
    make_commands(tmp_path / "bin", monkeypatch, update=FAILS, again=FAILS)
    with pytest.raises(debian.NotFetchedError) as raised:
        debian.unpacked("lua-a", tmp_path / "debs")
    said = str(raised.value).splitlines()
    assert [line.rpartition(": ")[2] for line in said] == [
        "Unable to locate package",
        *("no network", "no network"),
    ]
    assert [line.split()[1] for line in said] == ["download", "update", "download"]
    assert not list((tmp_path / "debs").glob("*.part"))


def test_machine_without_apt_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no apt-get the reason says so, and what would be fetched."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        debian.NoAptError, match=r"^no apt-get here to fetch lua-a: it is a Debian package$"
    ):
        debian.unpacked("lua-a", tmp_path / "debs")

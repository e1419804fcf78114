"""Documents lead where they say, and show no command that nobody runs."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest

from tests.documents import (
    NOT_RUN,
    anchors,
    broken_links,
    commands_in,
    documents,
    shown_commands,
    split,
)
from tests.repo.checkout import ROOT, name_of

RUN_BY_E2E = {".venv/bin/lithox", "curl", ".venv/bin/python", "redis-benchmark", "redis-cli"}
"""Programs that tests/e2e/test_docs_commands.py can run."""


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    """Each link inside the repository names a file that is there and a heading it has."""
    assert broken_links(path) == []


def test_a_broken_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file and a missing heading are broken; code, addresses and real ones are not."""
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n[a](page.md#one) [b](none.md) [c](#two) `[d](no.md)` [e](https://x.example/)\n"
        "```text\n[f](no.md)\n```\n"
    )
    monkeypatch.setattr("tests.documents.name_of", lambda path: path.name)
    assert broken_links(page) == ["page.md:2: none.md", "page.md:2: #two"]
    assert anchors(page) == {"one"}


def test_commands_are_collected_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A console block gives its commands in order, with output, without comments and marks."""
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ lithox serve &\n$ lithox call a b  # why\n5\n```\n```lua\n$ no\n```\n"
    )
    monkeypatch.setattr("tests.documents.name_of", lambda path: path.name)
    found = [tuple(shown) for shown in commands_in(page)]
    assert found == [
        ("page.md:2", "lithox serve", [], True),
        ("page.md:3", "lithox call a b", ["5"], False),
    ]


def test_every_command_shown_is_one_that_is_run() -> None:
    """A command in a document is run by the end-to-end tests, or has a reason why not."""
    strangers = [
        f"{shown.where}: {shown.command}"
        for shown in shown_commands()
        if shlex.split(shown.command)[0] not in RUN_BY_E2E
    ]
    assert strangers == []
    assert all(NOT_RUN.values())


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_every_block_says_its_language(path: Path) -> None:
    """A fenced block names its language, so that commands cannot hide in an unmarked one."""
    hidden = [
        f"{name_of(path)}:{block.line}"
        for block in split(path.read_text("utf-8"))[1]
        if not block.language or block.language in {"bash", "sh", "shell"}
    ]
    assert hidden == []


def test_every_document_is_in_the_index() -> None:
    """docs/README.md leads to every page under docs/; to decisions by their folder."""
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    missing = [
        name
        for path in documents()
        if path.is_relative_to(ROOT / "docs")
        and (name := path.relative_to(ROOT / "docs").as_posix()) != "README.md"
        and f"({name})" not in index
        and f"({name.split('/', maxsplit=1)[0]})" not in index
    ]
    assert missing == []


def test_the_readme_shows_the_example_that_is_there() -> None:
    """The handler and manifest in README.md are those of examples/counter."""
    blocks = split((ROOT / "README.md").read_text("utf-8"))[1]
    lua = next(b.lines for b in blocks if b.language == "lua")
    (toml,) = [b.lines for b in blocks if b.language == "toml"]
    folder = ROOT / "examples" / "counter"
    shown = [line for line in lua if not line.startswith("--")]
    there = [
        line
        for line in (folder / "counter.lua").read_text("utf-8").splitlines()
        if not line.startswith("--")
    ]
    assert shown == there
    assert tomllib.loads("\n".join(toml)) == tomllib.loads((folder / "lithox.toml").read_text())

"""What the documents say to readers: their links, headings and the commands they show.

`shown_commands` is what tests/e2e/test_docs_commands.py runs: every command in a block marked
`console`, but those `NOT_RUN` gives a reason for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.repo.checkout import name_of, tracked

_FENCE = re.compile(r"^(?P<marks>`{3,}|~{3,})(?P<language>[A-Za-z]*)\s*$")
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
_CODE = re.compile(r"(`+)(?:(?!\1).)+\1")
_HEADING = re.compile(r"^#{1,6}\s+(?P<words>.+?)\s*#*$")

NOT_RUN: dict[str, str] = {
    "componentize-py": "takes half a minute; tests/built_components.py runs it as it is shown",
    "kill": "a job of the reader's shell; the tests end what they have started",
    "pip": "what it installs is there; tests install nothing",
    "make": "the suite runs inside `make test`; the others take minutes or change the checkout",
}
"""First words of commands that are shown and not run, and why."""


class Shown(NamedTuple):
    """One command as a document shows it.

    Attributes:
        where: file and line, such as `README.md:42`.
        command: the text after the `$`, without a trailing comment.
        output: the lines shown below it, up to the next command.
        is_background: True when it ends with `&`.
    """

    where: str
    command: str
    output: list[str]
    is_background: bool


class Block(NamedTuple):
    """One fenced block: its language, the line it begins in, and its lines."""

    language: str
    line: int
    lines: list[str]


def documents() -> list[Path]:
    """Returns every tracked Markdown file."""
    return tracked(".md")


def split(text: str) -> tuple[list[tuple[int, str]], list[Block]]:
    """Returns (numbered lines outside fenced blocks, the blocks)."""
    prose: list[tuple[int, str]] = []
    blocks: list[Block] = []
    marks = ""
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line.strip())
        if marks:
            if fence and fence["marks"].startswith(marks) and not fence["language"]:
                marks = ""
            else:
                blocks[-1].lines.append(line)
        elif fence:
            marks = fence["marks"]
            blocks.append(Block(fence["language"], number + 1, []))
        else:
            prose.append((number, line))
    return prose, blocks


def links(path: Path) -> Iterator[tuple[int, str]]:
    """Gives (line, target) of every link in `path` that is not inside code."""
    for number, line in split(path.read_text("utf-8"))[0]:
        for found in _LINK.finditer(_CODE.sub("", line)):
            yield number, found["target"]
        # A link whose words are code is a link all the same.
        for found in re.finditer(r"\[`[^`]+`\]\(([^)\s]+)\)", line):
            yield number, found[1]


def anchors(path: Path) -> set[str]:
    """Returns the anchors of the headings in `path`, as GitHub makes them."""
    found: set[str] = set()
    for _, line in split(path.read_text("utf-8"))[0]:
        heading = _HEADING.match(line)
        if heading:
            words = re.sub(r"[^\w\- ]", "", heading["words"].lower())
            found.add(words.replace(" ", "-"))
    return found


def broken_links(path: Path) -> list[str]:
    """Returns a line for each link of `path` to a file or heading that is not there."""
    broken: list[str] = []
    for number, target in links(path):
        if re.match(r"[a-z]+:", target):
            continue
        file_part, _, anchor = target.partition("#")
        aim = (path.parent / file_part).resolve() if file_part else path
        if not aim.exists() or (anchor and aim.suffix == ".md" and anchor not in anchors(aim)):
            broken.append(f"{name_of(path)}:{number}: {target}")
    return broken


def commands_in(path: Path) -> Iterator[Shown]:
    """Gives every command in the `console` blocks of `path`, in order."""
    for block in split(path.read_text("utf-8"))[1]:
        if block.language != "console":
            continue
        shown: Shown | None = None
        for number, line in enumerate(block.lines, block.line):
            if line.startswith("$ "):
                if shown:
                    yield shown
                text = re.sub(r"\s+# .*$", "", line.removeprefix("$ ")).strip()
                is_background = text.endswith("&")
                command = text.removesuffix("&").strip()
                shown = Shown(f"{name_of(path)}:{number}", command, [], is_background)
            elif shown:
                shown.output.append(line)
        if shown:
            yield shown


def shown_commands() -> list[Shown]:
    """Returns every shown command that is to be run, document by document, in order."""
    return [
        shown
        for path in documents()
        for shown in commands_in(path)
        if shown.command.split()[0] not in NOT_RUN
    ]

"""The example programs print what their READMEs show."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest

import lithox
from tests.e2e.test_docs_commands import is_as_shown
from tests.repo.checkout import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXAMPLES = ROOT / "examples"
UNORDERED = {"tasks"}
"""What runs at once prints in no promised order."""
LUA_LINES_MAX = 60


def sessions(example: str) -> list[tuple[list[str], str]]:
    """Returns (words of a `lithox` command, what it prints) of an example's README.

    What a last command prints may stand in a block of text below.
    """
    text = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    text = text.replace("```\n\n```text\n", "")
    found: list[tuple[list[str], str]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ \.venv/bin/lithox ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            found.append((shlex.split(command), printed))
    return found


async def run(node: lithox.Node, program: str, args: list[str]) -> str:
    """Runs a program of the store to its end and returns everything it wrote."""
    pid = await node.run_program(program=program, args=args)
    await node.write_input(pid, b"", is_end=True)
    text, after = b"", 0
    while True:
        read = await node.read_output(pid, after=after, wait_ms=1_000)
        text += b"".join(chunk["data"] for chunk in read["chunks"])
        after = read["next"]
        if read["exit"] is not None:
            return text.decode()


def in_order(text: str, example: str) -> list[str]:
    """Returns the lines, sorted where nothing promises an order."""
    lines = text.splitlines()
    return sorted(lines) if example in UNORDERED else lines


@pytest.mark.parametrize("example", ["filter", "watcher", "translator", "chat", "tasks"])
def test_example_prints_what_its_readme_shows(example: str, tmp_path: Path) -> None:
    """Every command of the README, on a fresh node, prints the lines below it."""

    async def story() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            for words, printed in sessions(example):
                if words[0] == "serve":
                    continue
                if words[0] == "deploy":
                    await node.deploy(ROOT / words[1])
                    continue
                assert words[0] == "run"
                said = await run(node, words[1], words[2:])
                lines, shown = in_order(said, example), in_order(printed, example)
                assert len(lines) == len(shown), said
                assert all(map(is_as_shown, lines, shown)), said

    asyncio.run(story())


@pytest.mark.parametrize("example", ["filter", "watcher", "translator", "chat", "tasks"])
def test_example_is_short(example: str) -> None:
    """A program one can read in a minute."""
    for path in (EXAMPLES / example).glob("*.lua"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LUA_LINES_MAX

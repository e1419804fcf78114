"""Each room says its one question, what it owns and what it may import, and says it truly."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.repo.checkout import ROOT, name_of

PACKAGE = ROOT / "src" / "lithox"
ROOMS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
LINES_MIN, LINES_MAX = 6, 30
ABOVE_ALL = {"testing"}
"""Rooms outside the order: test helpers may import everything, nothing shipped imports them."""


def layers() -> list[set[str]]:
    """Returns the layers of layers.toml, lowest first."""
    contracts = tomllib.loads((ROOT / "layers.toml").read_text())["tool"]["importlinter"]
    (found,) = [c["layers"] for c in contracts["contracts"] if c["type"] == "layers"]
    return [{name.strip() for name in line.split("|")} for line in reversed(found)]


def importable_from(room: str) -> set[str]:
    """Returns what `room` may import according to layers.toml."""
    order = layers()
    if room in ABOVE_ALL:
        return set().union(*order)
    (height,) = [number for number, layer in enumerate(order) if room in layer]
    return set().union(*order[:height])


def test_every_room_is_in_the_order() -> None:
    """The folders of the package are the rooms of layers.toml, no more and no fewer."""
    assert {room.name for room in ROOMS} - ABOVE_ALL == set().union(*layers()) - {"errors"}


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_room_has_a_readme_that_is_true(room: Path) -> None:
    """A room's README is short, asks one question, and claims only imports that are allowed."""
    text = (room / "README.md").read_text("utf-8")
    lines = text.splitlines()
    assert lines[0].startswith(f"# {room.name}: "), "the title is `# room: QUESTION`"
    assert LINES_MIN <= len(lines) <= LINES_MAX
    assert re.search(r"^Owns: ", text, flags=re.MULTILINE)
    (claim,) = re.findall(r"^May import: (.+?)\.$", text, flags=re.MULTILINE)
    claimed = set(re.findall(r"`([a-z_]+)`", claim))
    assert claimed <= importable_from(room.name)
    assert claimed or claim == "nothing of lithox"


def test_the_architecture_lists_every_room() -> None:
    """ARCHITECTURE.md's table has one row for each room, linked to its README."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    missing = [
        r.name for r in ROOMS if f"| [{r.name}](src/lithox/{r.name}/README.md) |" not in text
    ]
    assert missing == []

"""Lua's own test files of 5.3, 5.4 and 5.5, inside the program guests."""

from __future__ import annotations

from pathlib import Path

import pytest

from guests.sources import ROOT, lua_sources
from lithox.model.limits import Limits
from lithox.sandbox.contract import Engine
from tests.conformance.lua_files import MODULES, NOT_APPLICABLE, adjusted
from tests.conformance.program.harness import Machine
from tests.conformance.program.upstream import (
    CHANGES,
    PROLOGUE,
    SKIPS_ITSELF,
    VERSIONS,
    find_reason,
)

NAMES = (
    *("all", "api", "attrib", "big", "bitwise", "bwcoercion", "calls", "closure", "code"),
    *("constructs", "coroutine", "db", "errors", "events", "files", "gc", "goto", "heavy"),
    *("literals", "locals", "main", "math", "nextvar", "pm", "sort", "strings", "tpack", "utf8"),
    *("vararg", "verybig"),
)
ADDED = {
    "5.3": (),
    "5.4": ("cstack", "gengc", "tracegc"),
    "5.5": ("cstack", "gengc", "tracegc", "memerr"),
}
FILES = [
    (version, f"{name}.lua") for version in VERSIONS for name in sorted(NAMES + ADDED[version])
]
RUN = [(version, name) for version, name in FILES if find_reason(version, name) is None]
LIMITS = Limits(fuel=60_000_000_000, memory_bytes=512 << 20, calls=1_000_000)
PAGE = ROOT / "docs" / "limitations" / "programs-lua.md"


def folder(version: str) -> Path:
    return lua_sources(version, print) / "testes"


@pytest.mark.slow
@pytest.mark.parametrize(("version", "name"), RUN)
def test_upstream_file_passes(engines: dict[str, Engine], version: str, name: str) -> None:
    """The file runs to its end inside the guest of its version without a failed assertion."""
    tests = folder(version)
    modules = {module: (tests / f"{module}.lua").read_bytes() for module in MODULES}
    text = adjusted((tests / name).read_bytes(), CHANGES.get((version, name), ()))
    machine = Machine(engine=engines[f"lua-program-{version}"], version=version)
    machine.values(PROLOGUE, name, text, modules, limits=LIMITS)


def test_every_upstream_file_is_accounted_for() -> None:
    """Each file of each version is named here: it runs, or has a reason why it does not."""
    there = {(version, path.name) for version in VERSIONS for path in folder(version).glob("*.lua")}
    assert there == set(FILES)
    assert set(CHANGES) <= set(RUN)


def make_row(name: str) -> str:
    """Returns what the page says of a file in the versions that have it."""
    cells: list[str] = []
    for version in VERSIONS:
        if (version, name) not in FILES:
            cells.append("no such file")
            continue
        reason = find_reason(version, name)
        if reason is not None:
            cells.append(f"cannot apply: {reason}" if name in NOT_APPLICABLE else f"left: {reason}")
            continue
        by_reason: dict[str, list[str]] = {}
        for change in CHANGES.get((version, name), ()):
            by_reason.setdefault(change.reason, []).append(change.lines())
        left = "; ".join(f"{', '.join(lines)} ({why})" for why, lines in by_reason.items())
        skips = f", but skips itself: {SKIPS_ITSELF[name]}" if name in SKIPS_ITSELF else ""
        cells.append(f"passes{skips}" + (f"; left out or changed: {left}" if left else ""))
    if len(set(cells)) == 1:
        cells = [cells[0], "the same", "the same"]
    return f"| `{name}` | {' | '.join(cells)} |"


def test_limitations_list_every_upstream_file() -> None:
    """docs/limitations/programs-lua.md has exactly the row of each file."""
    rows = [
        line for line in PAGE.read_text().splitlines() if line.startswith("| `") and ".lua`" in line
    ]
    assert rows == [make_row(name) for name in sorted({name for _, name in FILES})]

"""Lua's own test files, inside the guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from guests.sources import ROOT, lua54_sources
from tests.conformance.lua.driver import Host, LuaGuest
from tests.conformance.lua.upstream import CHANGES, NOT_APPLICABLE, PROLOGUE
from tests.conformance.lua_files import MODULES, SKIPS_ITSELF, adjusted

PASSING = (
    *("api", "big", "bitwise", "bwcoercion", "calls", "closure", "code", "constructs"),
    *("coroutine", "cstack", "errors", "events", "gc", "gengc", "goto", "heavy", "literals"),
    *("locals", "math", "nextvar", "pm", "sort", "strings", "tpack", "utf8", "vararg"),
)
MEMORY_BYTES = 512 << 20
FUEL = 60_000_000_000


@pytest.fixture(scope="session")
def tests_of_lua() -> Path:
    return lua54_sources(print) / "testes"


@pytest.mark.slow
@pytest.mark.parametrize("name", PASSING)
def test_upstream_file_passes(tests_of_lua: Path, name: str) -> None:
    """The file runs to its end inside the guest without a failed assertion."""
    file = tests_of_lua / f"{name}.lua"
    modules = {module: (tests_of_lua / f"{module}.lua").read_bytes() for module in MODULES}
    guest = LuaGuest(Host(), memory_bytes=MEMORY_BYTES)
    guest.load(PROLOGUE, "prologue.lua")
    text = adjusted(file.read_bytes(), CHANGES.get(file.name, ()))
    outcome = guest.run("run", file.name, text, modules, fuel=FUEL)
    assert outcome.error is None, f"{outcome.error.message}\n{outcome.error.traceback}"


def test_every_upstream_file_is_accounted_for(tests_of_lua: Path) -> None:
    """Each file passes or has a reason why it cannot apply, and none is forgotten."""
    names = {path.name for path in tests_of_lua.glob("*.lua")}
    assert names == {f"{name}.lua" for name in PASSING} | set(NOT_APPLICABLE)
    assert set(CHANGES) | set(SKIPS_ITSELF) <= names - set(NOT_APPLICABLE)


def test_limitations_list_every_upstream_file(tests_of_lua: Path) -> None:
    """docs/limitations/lua.md has a row for each file, with its changes or its reason."""
    page = (ROOT / "docs" / "limitations" / "lua.md").read_text()
    for path in sorted(tests_of_lua.glob("*.lua")):
        row = next(line for line in page.splitlines() if line.startswith(f"| `{path.name}` |"))
        if path.name in NOT_APPLICABLE:
            assert NOT_APPLICABLE[path.name] in row
        else:
            assert "| passes" in row
        if path.name in SKIPS_ITSELF:
            assert SKIPS_ITSELF[path.name] in row
        for change in CHANGES.get(path.name, ()):
            assert change.lines() in row
            assert change.reason in row

"""The native runtime documents every name it gives, and gives every name it documents."""

from __future__ import annotations

import re

import pytest

from lithox.errors import TABLE
from lithox.runtimes.documents import Entry, read_entries
from tests.unit.runtimes.fake_world import FakeWorld

STOCK = {"os.clock", "os.difftime"}
"""The guest's own, as in stock Lua."""
_CODE = re.compile(r"\b(?:request|guest|process|context|call|store|transaction)\.[a-z_]+\b")
_NAMES = """
local names = {}
for library, table in pairs {os = os, io = io, task = task, daemon = require "daemon"} do
  for name in pairs(table) do names[#names + 1] = library .. "." .. name end
end
return table.concat(names, " ")
"""


def test_every_public_name_is_documented(world: FakeWorld) -> None:
    """Whatever the prelude puts into os, io, task and daemon stands on the page, and no more."""
    there = set(world.run(_NAMES).split()) - STOCK - {"daemon.rpc"}
    documented = {one.name for one in read_entries() if "." in one.name}
    assert there == documented


def test_documented_globals_exist(world: FakeWorld) -> None:
    """Documented names without a library are global functions; methods belong to requests."""
    alone = [one.name for one in read_entries() if "." not in one.name and ":" not in one.name]
    assert alone == ["print", "require"]
    for name in alone:
        assert world.run(f"return type({name})") == "function"


def test_nothing_of_the_prelude_leaks(world: FakeWorld) -> None:
    """Beside what is documented, the prelude adds no global, and programs do not see sys."""
    assert (
        world.run("""
      local found = {}
      for _, name in ipairs {"sys", "native", "part", "loop", "timers", "Task", "Request"} do
        if rawget(_G, name) ~= nil then found[#found + 1] = name end
      end
      return #found""")
        == 0
    )


@pytest.mark.parametrize("entry", read_entries(), ids=lambda entry: entry.name)
def test_documentation_is_whole(entry: Entry) -> None:
    """Each function says what it does, each argument and value, and whether it waits."""
    assert entry.text
    if "(" not in entry.signature:
        return
    inside, _, returned = entry.signature.partition(" -> ")
    wanted = re.findall(r"\.\.\.|\w+", inside.partition("(")[2].replace("nil", ""))
    assert [name.split(" ")[0] for name, _ in entry.args] == wanted
    assert all(" " in name and meaning for name, meaning in entry.args)
    assert entry.waits
    if returned and returned != "true":
        said = {name for names, _ in entry.returns for name in names.split(", ")}
        assert {one for one in returned.split(", ") if one != "true"} <= said


@pytest.mark.parametrize("entry", read_entries(), ids=lambda entry: entry.name)
def test_documented_codes_exist(entry: Entry) -> None:
    """Every error code that the words name is one of the table."""
    words = " ".join([entry.text, entry.errors, *(meaning for _, meaning in entry.args)])
    for code in _CODE.findall(words):
        assert code in TABLE or code in {"task.request", "call.cancel"}, code

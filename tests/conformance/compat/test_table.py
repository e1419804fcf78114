"""The table of the compatibility runtimes is complete, and true of every single name."""

from __future__ import annotations

import pytest

from tests.conformance.compat import oracle
from tests.conformance.compat.guest import Guests
from tests.conformance.compat.reading import COLUMNS, claims, read_cases, rules

EXISTS = """
local names, found = ..., {}
for name in names:gmatch("[^\\n]+") do
  local library = name:match('^require "(.-)"$')
  local at
  if library then
    at = select(2, pcall(require, library))
    if type(at) == "string" then at = nil end
  elseif name:match("^file:") then
    at = io.stdout[name:sub(6)]
  else
    at = _G
    for part in name:gmatch("[^.]+") do
      if type(at) == "table" then at = at[part] else at = nil end
    end
  end
  io.write(name, "=", tostring(at ~= nil), "\\n")
end
"""
MADE_BY_LUPA = {"python"}


def test_no_name_of_any_lua_is_forgotten() -> None:
    """Whatever Lua 5.1 to 5.5 and LuaJIT have in their libraries is in the table, and no more."""
    everything = set[str]()
    for version in oracle.VERSIONS:
        everything |= oracle.names(version)
    said = {name for name in claims() if not name.startswith("require ")} - rules()
    # jit.util is a field of the global only in LuaJIT 2.0.
    assert said - {"jit.util"} == everything - MADE_BY_LUPA


@pytest.mark.parametrize("column", COLUMNS)
def test_names_are_there_or_absent_as_told(guests: Guests, column: str) -> None:
    """A name that is exact or near is there, and one that is absent is not."""
    names = [name for name in claims() if name not in rules()]
    out, _ = guests.output(column, EXISTS, "\n".join(names))
    found = dict(line.rsplit("=", 1) for line in out.splitlines())
    told = {name: str(claims()[name][column] != "absent").lower() for name in names}
    assert found == told


@pytest.mark.parametrize("column", COLUMNS)
def test_every_claim_has_a_case(column: str) -> None:
    """Whatever is called exact or near under a runtime has a case of that kind that runs there."""
    cased: dict[str, set[str]] = {"exact": set(), "near": set()}
    for case in read_cases():
        if column in case.columns:
            for name in case.names:
                for known in _claimed(name):
                    cased["exact" if case.kind == "exact" else "near"].add(known)
    for kind in ("exact", "near"):
        told = {name for name, said in claims().items() if said[column] == kind}
        missing = {name for name in told if name not in cased[kind]}
        assert missing == set(), kind


def _claimed(name: str) -> list[str]:
    """Returns the names of the table that a case's name speaks of."""
    return [name] if name in claims() else []


def test_every_runtime_has_every_native_name(guests: Guests) -> None:
    """A compatibility runtime adds to the native one and takes nothing of it away."""
    text = """
    local names = {"os.call", "os.request", "os.answer", "os.pull", "os.share", "os.context",
      "os.run", "os.exit", "os.sleep", "os.push", "os.listen", "os.status", "os.get_library",
      "os.kill", "os.info", "os.usage", "task.spawn", "task.join", "task.sleep", "os.serve"}
    for _, name in ipairs(names) do
      local at = _G
      for part in name:gmatch("[^.]+") do at = at and at[part] end
      if at == nil then print(name) end
    end
    print(COMPAT_INTERNAL)
    """
    for column in COLUMNS:
        assert guests.output(column, text) == ("nil\n", "")

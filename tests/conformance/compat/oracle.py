"""The oracle: Lua 5.1 to 5.5 and LuaJIT as the `lupa` wheel brings them, each case in a fresh state.

What a case prints is collected; nothing else of the interpreter is changed.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Final

from tests.conformance.compat.reading import Case

VERSIONS: Final = ("5.1", "5.2", "5.3", "5.4", "5.5", "luajit")
_NEWEST_FIRST: Final = ("5.4", "5.5", "5.3", "5.2", "5.1", "luajit")

_RUNNER: Final = b"""
python = nil
local out = {}
local tostring, select, concat, type, error = tostring, select, table.concat, type, error
local pcall, compile = pcall, loadstring or load
-- print of the interpreter itself, as far as what it writes goes.
local version = tonumber(_VERSION:match("%d.%d"))
print = function(...)
  local parts, ask = {}, version < 5.4 and _G.tostring or tostring
  for i = 1, select("#", ...) do
    parts[i] = ask((select(i, ...)))
    if type(parts[i]) ~= "string" then
      error(version < 5.4 and "'tostring' must return a string to 'print'"
        or "'__tostring' must return a string", 2)
    end
  end
  out[#out + 1] = concat(parts, "\\t") .. "\\n"
end
local write = io.write
io.write = function(...)
  for i = 1, select("#", ...) do
    local kind = type((select(i, ...)))
    if kind ~= "string" and kind ~= "number" then return write(...) end
    out[#out + 1] = tostring((select(i, ...)))
  end
  if version == 5.1 then return true end
  return io.stdout
end
return function(text, ...)
  local chunk, message = compile(text, "=case")
  if not chunk then return "compile: " .. message .. "\\n" end
  local done, problem = pcall(chunk, ...)
  if not done then out[#out + 1] = "error: " .. tostring(problem) .. "\\n" end
  return concat(out)
end
"""
_EXISTS: Final = b"""
local at = _G
for part in (...):gmatch("[^.]+") do
  at = type(at) == "table" and rawget(at, part) or nil
end
return at ~= nil
"""


def _fresh(version: str) -> Any:
    name = {"luajit": "luajit21"}.get(version, "lua" + version.replace(".", ""))
    module = importlib.import_module(f"lupa.{name}")
    return module.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)


def run(version: str, text: str | bytes, *arguments: bytes) -> str:
    """Returns what `text` prints on that version; an error is its last line."""
    source = text.encode() if isinstance(text, str) else text
    said: bytes = _fresh(version).execute(_RUNNER)(source, *arguments)
    return said.decode("latin-1")


@cache
def has(version: str, name: str) -> bool:
    """Returns whether that version has a name such as `string.pack` or `file:read`."""
    if name.startswith("file:"):
        return True
    if name.startswith("require "):
        return version == "luajit"
    lua = _fresh(version)
    found: bool = lua.execute(b"local find = ... ; " + _EXISTS, name.encode())
    return found


def names(version: str) -> set[str]:
    """Returns every name of the standard libraries of that version."""
    lua = _fresh(version)
    said: bytes = lua.execute(
        b"""
        python = nil
        local names = {}
        for name, value in pairs(_G) do
          if type(value) == "table" and value ~= _G then
            for inner in pairs(value) do names[#names + 1] = name .. "." .. tostring(inner) end
          else
            names[#names + 1] = name
          end
        end
        for name in pairs(getmetatable(io.stdout).__index) do
          if not name:match("^__") then names[#names + 1] = "file:" .. name end
        end
        return table.concat(names, " ")"""
    )
    return set(said.decode().split())


def version_for(case: Case, column: str) -> str:
    """Returns the version a case is compared with under the runtime of `column`."""
    own = "5.4" if column == "compat" else column
    for version in (own, *_NEWEST_FIRST):
        if all(has(version, name) for name in case.needs):
            return version
    return own

"""The oracle: Lua 5.1 to 5.5 and LuaJIT of the `lupa` wheel, each case in a fresh state.

Nothing of an interpreter is changed: what it writes is caught below C, at the file descriptors.
"""

from __future__ import annotations

import importlib
import locale
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import IO, Any, Final

from tests.conformance.compat.reading import LOADER, Case

VERSIONS: Final = ("5.1", "5.2", "5.3", "5.4", "5.5", "luajit")
_NEWEST_FIRST: Final = ("5.4", "5.5", "5.3", "5.2", "5.1", "luajit")

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


@contextmanager
def _caught(descriptor: int) -> Iterator[IO[bytes]]:
    """Sends what C writes to a descriptor into the file given."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(descriptor)
        os.dup2(file.fileno(), descriptor)
        try:
            yield file
        finally:
            os.dup2(kept, descriptor)
            os.close(kept)


@contextmanager
def _kept_locale() -> Iterator[None]:
    """Takes back what `os.setlocale` does to the whole process of the tests."""
    kept = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, kept)


def run(version: str, text: str | bytes, *arguments: bytes, stdin: bytes = b"") -> tuple[str, str]:
    """Returns what `text` writes on that version to output and error stream."""
    source = text.encode() if isinstance(text, str) else text
    lua = _fresh(version)
    lua.execute(b"python = nil")
    flush = lua.execute(
        b"local out, err = io.stdout, io.stderr; return function() out:flush() err:flush() end"
    )
    with (
        _kept_locale(),
        tempfile.NamedTemporaryFile() as read,
        _caught(1) as out,
        _caught(2) as err,
    ):
        read.write(stdin)
        read.flush()
        lua.execute(b"io.input((...))", read.name.encode())
        lua.execute(LOADER.encode(), source, *arguments)
        flush()
        out.seek(0)
        err.seek(0)
        return out.read().decode("latin-1"), err.read().decode("latin-1")


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

"""Which runtime does a program get: the guest that runs it, and the chunks that run before it.

A runtime is a name, the engine of a program guest, and chunks. The first chunk is always `native`,
assembled here from lua/native/: the only one that is given the system calls. What follows is built
on what programs can reach, so a runtime adds names and never rights. Names that are built in cannot
be replaced by the runtime store; every other name is looked up there, and its text may say in its
first line what it stands on:

    -- lithox: engine=5.2 base=compat-5.2

`base` is a runtime that is built in (`native` unless told); `engine` a version of Lua, which only a
base that runs on any of them leaves open.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from lithox.errors import TABLE, BadArguments, NotFound
from lithox.modules.code import check_code_name, check_code_text

LUA_VERSIONS: Final = ("5.1", "5.2", "5.3", "5.4", "5.5")
LUA_DEFAULT: Final = "5.4"
ENGINE_PREFIX: Final = "lua-program-"
NATIVE: Final = "native"
COMPAT: Final = "compat"

_HEADER: Final = re.compile(rb"--[ \t]*lithox:([^\r\n]*)")
_SETTINGS: Final = ("engine", "base")
_COMMENT: Final = re.compile(r"^--\[\[(?s:.*?)\]\]\n|^[ ]*--(?!\[).*\n", re.MULTILINE)
"""Whole lines of comment in our own files, where no text in quotes begins a line so."""

_ROOT: Final = Path(__file__).parent / "lua"
PARTS: Final = (
    "core",
    "calls",
    "io",
    "load",
    "run",
    "timers",
    "loop",
    "task",
    "require",
    "serve",
    "start",
)
"""The files of lua/native/, in the order in which they run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSpec:
    """What a program of one runtime needs.

    Attributes:
        name: as asked for.
        engine: name of the program guest, such as `lua-program-5.4`.
        preludes: (chunk name, text), in the order in which they run; the first is `native`.
    """

    name: str
    engine: str
    preludes: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _BuiltIn:
    """One runtime inside the package: its Lua, and its files beside `native`'s."""

    lua: str
    files: tuple[str, ...] = ()
    is_any_lua: bool = False


@cache
def _built_in() -> dict[str, _BuiltIn]:
    """Returns the runtimes inside the package by name; those of compat stand in their own table."""
    table = tomllib.loads((_ROOT / COMPAT / "runtimes.toml").read_text(encoding="utf-8"))
    found = {NATIVE: _BuiltIn(lua=LUA_DEFAULT, is_any_lua=True)}
    for name, row in table.items():
        files = tuple(f"{COMPAT}/{chunk}.lua" for chunk in row["chunks"])
        found[name] = _BuiltIn(lua=row["engine"], files=files)
    return found


def builtin_names() -> tuple[str, ...]:
    """Returns the names of all runtimes inside the package, sorted."""
    return tuple(sorted(_built_in()))


@cache
def find_runtime(name: str) -> RuntimeSpec | None:
    """Returns the built-in runtime of that name, or None: then ask the runtime store.

    Blocks: reads files of the package at first use.
    """
    built_in = _built_in().get(name)
    if built_in is None:
        return None
    return RuntimeSpec(
        name=name,
        engine=ENGINE_PREFIX + built_in.lua,
        preludes=(_native_chunk(), *_chunks(built_in)),
    )


def make_runtime(name: str, text: bytes) -> RuntimeSpec:
    """Returns the runtime that the text of the runtime store under `name` describes.

    Args:
        text: its source; a guest's word. Only its first line is read here.

    Raises:
        BadArguments: the first line asks for an engine or a base that is not there, or for two
            that do not go together.
    """
    settings = _settings(name, text)
    base_name = settings.get("base", NATIVE)
    base = _built_in().get(base_name)
    if base is None:
        raise BadArguments(
            f"runtime {name!r}: base is one of {', '.join(builtin_names())}; found {base_name!r}"
        )
    lua = settings.get("engine", base.lua)
    if lua not in LUA_VERSIONS:
        raise BadArguments(
            f"runtime {name!r}: engine is one of {', '.join(LUA_VERSIONS)}; found {lua!r}"
        )
    if lua != base.lua and not base.is_any_lua:
        raise BadArguments(
            f"runtime {name!r}: base {base_name} runs on Lua {base.lua} only, not on {lua}"
        )
    return RuntimeSpec(
        name=name,
        engine=ENGINE_PREFIX + lua,
        preludes=(_native_chunk(), *_chunks(base), (name, text)),
    )


def runtime_of(said: Any) -> RuntimeSpec:
    """Returns the runtime that somebody who starts a program asks for.

    Args:
        said: None (native), the name of one that is built in, or a list of a name and, of one that
            is not built in, its text; a guest's word.

    Raises:
        NotFound: it is not built in, and no text came with it.
        BadArguments: none of these, or a text whose first line asks for what is not there.

    Blocks: reads files of the package at first use.
    """
    if said is None:
        said = NATIVE
    parts: list[Any] = list(said) if isinstance(said, list | tuple) else [said]  # pyright: ignore[reportUnknownArgumentType]
    if not 1 <= len(parts) <= 2:
        raise BadArguments("a runtime is its name, or a list of its name and its text")
    name = check_code_name(parts[0], "runtime")
    built_in = find_runtime(name)
    if built_in is not None:
        return built_in
    if len(parts) == 1 or parts[1] is None:
        raise NotFound(
            f"there is no runtime {name!r} in the package ({', '.join(builtin_names())}); the text "
            "of one in the runtime store has to come with its name"
        )
    return make_runtime(name, check_code_text(parts[1]))


def native_parts() -> tuple[tuple[str, str], ...]:
    """Returns (file name, text) of the native runtime's files, in their order; for its page."""
    return tuple(
        (f"{part}.lua", (_ROOT / NATIVE / f"{part}.lua").read_text(encoding="utf-8"))
        for part in PARTS
    )


@cache
def _native_chunk() -> tuple[str, bytes]:
    """Returns the native prelude: every part as a function of (sys, native), called in order.

    One chunk, because the guest hands the system calls to the first chunk alone. A part is a
    function so that its locals are its own (a Lua function holds at most 200). Comments are left
    out, their lines stay: what is read while an image is made makes the image larger.
    """
    codes = ", ".join(f'["{code}"] = {row.guest_status}' for code, row in TABLE.items())
    names = ", ".join(f'["{name}"] = true' for name in builtin_names())
    lines = [
        "local sys = ...",
        f"local native = {{ codes = {{ {codes} }}, builtin_runtimes = {{ {names} }} }}",
        "local part",
    ]
    for _, text in native_parts():
        code = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text)
        lines += ["part = function(...)", code.rstrip("\n"), "end", "part(sys, native)"]
    return NATIVE, ("\n".join(lines) + "\n").encode()


def _chunks(built_in: _BuiltIn) -> tuple[tuple[str, bytes], ...]:
    """Returns (chunk name, text) of the files that a runtime adds to `native`."""
    return tuple((file, (_ROOT / file).read_bytes()) for file in built_in.files)


def _settings(name: str, text: bytes) -> dict[str, str]:
    """Returns the settings of a runtime's first line; none when it is another kind of line."""
    found = _HEADER.match(text)
    if found is None:
        return {}
    settings: dict[str, str] = {}
    for word in found[1].decode("utf-8", "replace").split():
        key, mark, value = word.partition("=")
        if not mark or key not in _SETTINGS:
            raise BadArguments(
                f"runtime {name!r}: after '-- lithox:' stand engine=5.4 and base=native or the "
                f"like; found {word[:80]!r}"
            )
        settings[key] = value
    return settings

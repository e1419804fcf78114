"""Which guest and which chunks a program's runtime is."""

from __future__ import annotations

import importlib

import pytest

from lithox.errors import TABLE, BadArguments, NotFound, TooLarge
from lithox.runtimes import registry


def test_native_is_one_chunk_on_lua_5_4() -> None:
    """The native runtime is a single chunk, which alone is given the system calls."""
    spec = registry.find_runtime("native")
    assert spec is not None
    assert spec.engine == "lua-program-5.4"
    assert [name for name, _ in spec.preludes] == ["native"]


@pytest.mark.parametrize("version", registry.LUA_VERSIONS)
def test_native_compiles_on_every_version(version: str) -> None:
    """The assembled prelude is correct source for each Lua."""
    lua = importlib.import_module(f"lupa.lua{version.replace('.', '')}").LuaRuntime()
    spec = registry.find_runtime("native")
    assert spec is not None
    compile_ = lua.eval("function(text) return assert((loadstring or load)(text)) end")
    assert compile_(spec.preludes[0][1]) is not None


@pytest.mark.parametrize("name", registry.builtin_names())
def test_every_built_in_runtime_begins_with_native(name: str) -> None:
    """Whatever the runtime is, the first chunk is ours and the others have text."""
    spec = registry.find_runtime(name)
    assert spec is not None
    assert spec.name == name
    assert spec.preludes[0][0] == "native"
    assert spec.engine.removeprefix("lua-program-") in registry.LUA_VERSIONS
    assert all(text for _, text in spec.preludes)


def test_every_error_code_reaches_the_prelude() -> None:
    """The status numbers are those of the error table."""
    spec = registry.find_runtime("native")
    assert spec is not None
    head = spec.preludes[0][1].split(b"\n")[1].decode()
    for code, row in TABLE.items():
        assert f'["{code}"] = {row.guest_status}' in head


def test_native_is_what_nobody_asked_for() -> None:
    """A program started without a runtime gets the native one."""
    assert registry.runtime_of(None) == registry.find_runtime("native")


@pytest.mark.parametrize("said", ["compat-5.2", ["compat-5.2"], ["compat-5.2", b"ignored"]])
def test_built_in_name_wins_over_any_text(said: object) -> None:
    """Nobody can pass another text for a runtime that is built in."""
    assert registry.runtime_of(said) == registry.find_runtime("compat-5.2")


def test_stored_runtime_stands_on_native_unless_told() -> None:
    """A text without a first line of settings runs after native, on Lua 5.4."""
    spec = registry.runtime_of(["mine", "x = 1"])
    assert spec.engine == "lua-program-5.4"
    assert [name for name, _ in spec.preludes] == ["native", "mine"]
    assert spec.preludes[-1] == ("mine", b"x = 1")


def test_stored_runtime_chooses_engine_and_base() -> None:
    """The first line names the version of Lua and the runtime below."""
    text = b"-- lithox: engine=5.2 base=compat-5.2\nx = 1"
    base = registry.find_runtime("compat-5.2")
    assert base is not None
    spec = registry.make_runtime("cc", text)
    assert spec.engine == "lua-program-5.2"
    assert spec.preludes == (*base.preludes, ("cc", text))


def test_stored_runtime_with_native_runs_on_any_lua() -> None:
    """Native leaves the version open."""
    for version in registry.LUA_VERSIONS:
        spec = registry.make_runtime("mine", f"-- lithox: engine={version}".encode())
        assert spec.engine == f"lua-program-{version}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"-- lithox: engine=6", "engine is one of 5.1, 5.2, 5.3, 5.4, 5.5; found '6'"),
        (b"-- lithox: base=nothing", "found 'nothing'"),
        (
            b"-- lithox: engine=5.4 base=compat-5.1",
            "runtime 'mine': base compat-5.1 runs on Lua 5.1 only, not on 5.4",
        ),
        (b"-- lithox: fast", "found 'fast'"),
        (b"-- lithox: speed=9", "found 'speed=9'"),
    ],
)
def test_wrong_settings_are_refused(text: bytes, message: str) -> None:
    """A first line that asks for what is not there says so."""
    with pytest.raises(BadArguments) as refused:
        registry.make_runtime("mine", text)
    assert refused.value.message.endswith(message)


def test_settings_stand_in_the_first_line_only() -> None:
    """A later line, or other words in the first, are the program's own."""
    assert registry.make_runtime("mine", b"x = 1\n-- lithox: engine=5.1").engine.endswith("5.4")
    assert registry.make_runtime("mine", b"-- a comment").engine.endswith("5.4")


def test_unknown_runtime_without_text_is_not_found() -> None:
    """A name that is not built in needs its text from the store."""
    for said in ("nothing", ["nothing"], ["nothing", None]):
        with pytest.raises(NotFound):
            registry.runtime_of(said)


@pytest.mark.parametrize("said", [[], ["a", "b", "c"], {}, 7, [7], ["mine", 7], "../etc"])
def test_what_is_no_runtime_is_refused(said: object) -> None:
    """Anything but a name, or a name and a text, is refused."""
    with pytest.raises(BadArguments):
        registry.runtime_of(said)


def test_runtime_text_is_bounded() -> None:
    """A text longer than the store takes is refused."""
    with pytest.raises(TooLarge):
        registry.runtime_of(["mine", b"x" * ((1 << 20) + 1)])


@pytest.mark.parametrize(
    "text", ["", "#", "a#", "#a", "a#b#c", ".a", "a/b", "a b", "ä", "a" * 129, "a\n", "cc#.x"]
)
def test_odd_names_are_refused(text: str) -> None:
    """Names are short and plain, so that none is a path or an option."""
    with pytest.raises(BadArguments):
        registry.runtime_of(text)

"""require: where a library comes from, and how it fails."""

from __future__ import annotations

from typing import Any

from tests.unit.runtimes.fake_world import FakeWorld


def libraries(world: FakeWorld, texts: dict[str, str]) -> None:
    """Puts libraries into the store."""

    def get(ctx: int, name: str, timeout: Any, values: list[Any]) -> tuple[Any, ...]:
        assert (ctx, name, timeout) == (0, "library.get", None)
        if values[0] not in texts:
            return (10, "request.not_found", f"there is no library {values[0]!r}")
        return (0, texts[values[0]], {"version": 3})

    world.answers["request"] = get


def caught(world: FakeWorld, code: str) -> str:
    """Returns the error of `code`, which stands in line 2 of main."""
    return world.run(f"local ok, said = pcall(function()\n{code}\nend) return said")


def test_library_of_the_store_runs_once(world: FakeWorld) -> None:
    """The first require gets and runs it, the second gives the same table without asking."""
    libraries(world, {"shapes": "print('run', ...) return {area = 9}"})
    assert world.run("return require('shapes').area, require('shapes') == require 'shapes'") == [
        9, True,
    ]  # fmt: skip
    assert world.printed().startswith("run\tshapes")
    assert len(world.asked("request")) == 1


def test_library_knows_name_and_version(world: FakeWorld) -> None:
    """From Lua 5.2 on, the chunk is given its name and where it is from."""
    libraries(world, {"who": "return table.pack(...)"})
    where = None if world.version == "5.1" else "library:who@3"
    assert world.run("local t = require 'who' return t[1], t[2]") == ["who", where]


def test_library_without_a_value_is_true(world: FakeWorld) -> None:
    """A library that returns nothing counts as loaded."""
    libraries(world, {"quiet": "x = 1"})
    assert world.run("return (require 'quiet'), x, package.loaded.quiet") == [True, 1, True]


def test_preload_comes_before_the_store(world: FakeWorld) -> None:
    """package.preload wins, and the store is not asked."""
    libraries(world, {"a": "return 'store'"})
    assert world.run("package.preload.a = function() return 'mine' end return (require 'a')") == (
        "mine"
    )
    assert world.asked("request") == []


def test_missing_library_says_where_it_was_looked_for(world: FakeWorld) -> None:
    """The error has the program's line, the name, and why the store had nothing."""
    libraries(world, {})
    said = caught(world, "require 'nix'")
    assert said.startswith("main:2: module 'nix' not found:")
    assert "\n\tno field package.preload['nix']" in said
    assert said.endswith("\n\tno library 'nix' in the store (there is no library 'nix')")


def test_library_that_does_not_compile_names_itself_and_the_line(world: FakeWorld) -> None:
    """A syntax error shows the library, its version and the line."""
    libraries(world, {"bad": "local x\nx = = 1"})
    said = caught(world, "require 'bad'")
    assert said.startswith("error loading library 'bad':\n\tlibrary:bad@3:2: ")


def test_library_that_raises_names_itself_and_the_line(world: FakeWorld) -> None:
    """An error of its code shows the library and the line, and it may be required again."""
    libraries(world, {"bad": "\nerror('oh no')"})
    assert caught(world, "require 'bad'") == "library:bad@3:2: oh no"
    assert caught(world, "require 'bad'") == "library:bad@3:2: oh no"


def test_error_value_of_a_library_is_kept(world: FakeWorld) -> None:
    """A table raised by a library arrives as that table."""
    libraries(world, {"bad": "error({code = 'mine'})"})
    assert world.run("return select(2, pcall(require, 'bad')).code") == "mine"


def test_circle_is_shown(world: FakeWorld) -> None:
    """Libraries that require each other are an error that names every one of them."""
    libraries(
        world,
        {"a": "return require 'b'", "b": "return require 'c'", "c": "\nlocal a = require 'a'"},
    )
    said = caught(world, "require 'a'")
    assert said == (
        "library:c@3:2: libraries require each other in a circle: 'a' -> 'b' -> 'c' -> 'a'"
    )


def test_circle_leaves_no_trace(world: FakeWorld) -> None:
    """After a circle was told, other libraries load."""
    libraries(world, {"a": "return require 'a'", "fine": "return 5"})
    caught(world, "require 'a'")
    assert world.run("return (require 'fine')") == 5


def test_circle_through_a_table_given_early_is_none(world: FakeWorld) -> None:
    """A library that has put its table into package.loaded may be required meanwhile."""
    libraries(
        world,
        {
            "a": "local t = {x = 1} package.loaded.a = t t.b = require 'b' return t",
            "b": "return require('a').x",
        },
    )
    assert world.run("return require('a').b") == 1


def test_name_is_text(world: FakeWorld) -> None:
    """Anything else is an error at the program's line."""
    assert caught(world, "require(1)") == (
        "main:2: bad argument #1 to 'require' (string expected, got number)"
    )

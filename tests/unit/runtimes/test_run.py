"""os.run and the stores: what is asked for and what is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.runtimes.fake_world import FakeWorld

PROGRAMS = {"hello": "print 'hello'", "old": "print 'old'"}
RUNTIMES = {"mine": "x = 1"}


def serve_stores(world: FakeWorld) -> None:
    """Answers program.get and runtime.get, and run with pid 12."""

    def get(ctx: int, name: str, timeout: Any, values: list[Any]) -> tuple[Any, ...]:
        assert (ctx, timeout) == (0, None)
        texts = {"program.get": PROGRAMS, "runtime.get": RUNTIMES}[name]
        if values[0] not in texts:
            return (10, "request.not_found", f"nothing called {values[0]}")
        runtime = "compat-5.1" if values[0] == "old" else None
        return (0, texts[values[0]], {"version": 1, "runtime": runtime})

    world.answers["request"] = get
    world.answers["run"] = lambda *_: (0, 12)


def ran(world: FakeWorld) -> tuple[Any, ...]:
    """Returns the arguments of the only `run`."""
    (arguments,) = world.asked("run")
    return arguments


@pytest.mark.parametrize("function", ["os.run", "os.run_program", "os.run_file"])
def test_program_runs_under_its_name(world: FakeWorld, function: str) -> None:
    """A program's text comes from the store; it runs natively when nobody says otherwise."""
    serve_stores(world)
    assert world.run(f"return {function}('hello')") == 12
    assert ran(world) == ("print 'hello'", "hello", {"runtime": ["native"]}, [])


def test_run_file_explains_itself_once(world: FakeWorld) -> None:
    """The old name works and says on the error stream what it does."""
    serve_stores(world)
    world.run("os.run_file('hello') os.run_file('hello')")
    assert world.printed("err") == (
        "os.run_file: programs are kept by name in the program store, not in files; "
        'this runs os.run_program("hello")\n'
    )


@pytest.mark.parametrize(
    ("code", "runtime"),
    [
        ("os.run('compat-5.2#hello')", ["compat-5.2"]),
        ("os.run('hello', {runtime = 'compat'})", ["compat"]),
        ("os.run('native#hello', {runtime = 'compat'})", ["native"]),
        ("os.run('old')", ["compat-5.1"]),
        ("os.run('old', {runtime = 'native'})", ["native"]),
        ("os.run('mine#hello')", ["mine", "x = 1"]),
        ("os.run_code('return 1', {runtime = 'mine'})", ["mine", "x = 1"]),
    ],
)
def test_runtime_is_the_nearest_that_was_said(
    world: FakeWorld, code: str, runtime: list[str]
) -> None:
    """The name's own prefix, then the option, then the program's info; a stored one brings text."""
    serve_stores(world)
    assert world.run(f"return {code}") == 12
    assert ran(world)[2]["runtime"] == runtime


def test_function_made_by_load_runs_elsewhere(world: FakeWorld) -> None:
    """A function that load made is sent as its source, in this process's own runtime."""
    world.info["runtime"] = "compat"
    serve_stores(world)
    load = "loadstring" if world.version == "5.1" else "load"
    assert world.run(f"return os.run({load}('return 1', '=mine'))") == 12
    assert ran(world) == ("return 1", "=mine", {"runtime": ["compat"]}, [])


def test_function_of_a_reader_runs_elsewhere(world: FakeWorld) -> None:
    """The pieces a reader gave to load are kept as well."""
    serve_stores(world)
    world.run("local p = {'return ', '1'} os.run(load(function() return table.remove(p, 1) end))")
    assert ran(world)[:2] == ("return 1", "code")


def test_other_function_does_not_run_elsewhere(world: FakeWorld) -> None:
    """A function written in the program cannot travel, and the error says what can."""
    said = world.run("return select(2, pcall(function() os.run(function() end) end))")
    assert said.endswith("a function can run as a process only when 'load' made it from text")


def test_load_is_still_load(world: FakeWorld) -> None:
    """What load returns and how it fails is as in stock Lua."""
    load = "loadstring" if world.version == "5.1" else "load"
    assert world.run(f"return {load}('return ...')(1, nil, 3)") == [1, None, 3]
    failed = world.run(f"return {load}('x = = 1', '=c')")
    assert failed[0] is None
    assert failed[1].startswith("c:1: unexpected symbol near ")


@pytest.mark.parametrize("version", ["5.2", "5.3", "5.4", "5.5"])
def test_load_takes_mode_and_environment(version: str) -> None:
    """The environment given to load is that of the chunk, and nil is one too."""
    world = FakeWorld(version)
    assert world.run("return load('return x', 'n', 't', {x = 5})()") == 5
    assert world.run("return (pcall(load('return x', 'n', 't', nil)))") is False


def test_options_reach_the_node(world: FakeWorld) -> None:
    """Every option is passed on; arguments keep their nils."""
    serve_stores(world)
    world.run("""os.run('hello', {args = {1, nil, 'x', n = 4}, contexts = {store = 3}, context = 2,
      limits = {fuel = 9}, priority = 2, mode = 'cooperative', output = 5, name = 'again'})""")
    assert ran(world) == (
        "print 'hello'",
        "again",
        {
            "runtime": ["native"], "contexts": {"store": 3}, "context": 2, "limits": {"fuel": 9},
            "priority": 2, "mode": "cooperative", "output": 5,
        },
        [1, "null", "x", "null"],
    )  # fmt: skip


def test_null_is_nothing_said(world: FakeWorld) -> None:
    """Options and infos that came as a map have null for what is not there; it counts as nil."""
    world.answers["run"] = lambda *_: (0, 12)
    world.run("os.run_code('x = 1', {runtime = lithox.null, priority = lithox.null})")
    assert ran(world)[2] == {"runtime": ["native"]}
    world.answers["info"] = lambda *_: (0, {"pid": 7, "parent": world.null})
    assert world.run("return os.info().parent") is None
    world.answers["request"] = lambda *_: (0, "text", {"version": 1, "runtime": world.null})
    assert world.run("return select(2, os.get_program('x')).runtime") is None


def test_missing_program_or_runtime_is_told(world: FakeWorld) -> None:
    """What the store does not have is nil, status, message, and nothing is started."""
    serve_stores(world)
    assert world.run("return os.run('nix')") == [None, 10, "nothing called nix"]
    assert world.run("return os.run('nix#hello')") == [None, 10, "nothing called nix"]
    assert world.asked("run") == []


@pytest.mark.parametrize("kind", ["program", "library", "runtime"])
def test_stores_are_calls_of_context_0(world: FakeWorld, kind: str) -> None:
    """Getting and setting are requests to the context every process has."""
    world.answers["request"] = lambda *_: (0, "text", {"version": 2})
    assert world.run(f"local t, i = os.get_{kind}('a', 2) return t, i.version") == ["text", 2]
    world.answers["request"] = lambda *_: (0, 3)
    assert world.run(f"return os.set_{kind}('a', 'text', 'why')") == 3
    assert world.asked("request") == [
        (0, f"{kind}.get", None, ["a", 2]),
        (0, f"{kind}.set", None, ["a", "text", "why"]),
    ]

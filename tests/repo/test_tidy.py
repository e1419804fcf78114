"""Size and words of the code. Old offenders stand in ratchet.toml: they may shrink, never grow."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo.checkout import ROOT, name_of, tracked

MODULE_LINES_MAX = 600
MODULE_LINES_UNEXPLAINED_MAX = 400
FUNCTION_LINES_MAX = 60
COLUMNS_MAX = 100
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"}
EXPLANATION = re.compile(r"\b(long|length|lines|one table|tables?)\b", re.IGNORECASE)

# Written in two halves, so that this file does not find itself.
FIX_ME = "FIX" + "ME"
TO_DO = re.compile("TO" + r"DO(?!\(#\d+\))")

PYTHON = tracked(".py")
SOURCE = tracked(".py", under="src")
C_AND_LUA = [
    *tracked(".c", ".h", ".lua", under="guests"),
    *tracked(".lua", under="src"),
    *tracked(".lua", under="examples"),
]


def ratchet() -> dict[str, dict[str, int]]:
    """Returns {"modules": {name: lines}, "functions": {"module:function": lines}}."""
    return tomllib.loads((ROOT / "tests" / "repo" / "ratchet.toml").read_text())


def functions_of(path: Path) -> Iterator[tuple[str, int]]:
    """Gives (dotted name, lines from `def` to the end) of every function in `path`."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                if not isinstance(child, ast.ClassDef):
                    assert child.end_lineno is not None
                    yield name, child.end_lineno - child.lineno + 1
                yield from walk(child, f"{name}.")
            else:
                yield from walk(child, prefix)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), "")


def oversize(sizes: dict[str, int], allowed: dict[str, int], bound: int) -> list[str]:
    """Returns a line for each size above its bound, and for each allowance that can shrink."""
    wrong = [
        f"{name} has {size} lines, {allowed.get(name, bound)} are allowed"
        for name, size in sizes.items()
        if size > allowed.get(name, bound)
    ]
    wrong += [
        f"{name} has {sizes.get(name, 0)} lines: lower or remove its entry in ratchet.toml ({old})"
        for name, old in allowed.items()
        if sizes.get(name, 0) < old
    ]
    return wrong


def test_modules_are_at_most_600_lines() -> None:
    """No hand-written module is longer than 600 lines."""
    sizes = {name_of(p): len(p.read_text("utf-8").splitlines()) for p in [*PYTHON, *C_AND_LUA]}
    assert oversize(sizes, ratchet()["modules"], MODULE_LINES_MAX) == []


def test_long_modules_explain_themselves() -> None:
    """A source module above 400 lines says in its header why it is long."""
    silent = [
        name_of(path)
        for path in SOURCE
        if len((text := path.read_text("utf-8")).splitlines()) > MODULE_LINES_UNEXPLAINED_MAX
        and not EXPLANATION.search(ast.get_docstring(ast.parse(text)) or "")
    ]
    assert silent == []


def test_functions_fit_a_screen() -> None:
    """No function is longer than 60 lines."""
    sizes = {
        f"{name_of(path)}:{name}": lines for path in PYTHON for name, lines in functions_of(path)
    }
    assert oversize(sizes, ratchet()["functions"], FUNCTION_LINES_MAX) == []


def test_an_offender_may_shrink_and_never_grow() -> None:
    """The ratchet refuses growth, accepts equality and asks to be lowered after shrinking."""
    assert oversize({"a": 70}, {"a": 70}, 60) == []
    assert oversize({"a": 71}, {"a": 70}, 60) == ["a has 71 lines, 70 are allowed"]
    assert oversize({"a": 50}, {"a": 70}, 60) == [
        "a has 50 lines: lower or remove its entry in ratchet.toml (70)"
    ]


def test_modules_are_named_by_what_they_own() -> None:
    """No module or folder is called utils, helpers, common, misc, base or manager."""
    vague = [
        name_of(path) for path in SOURCE if FORBIDDEN_NAMES & {path.stem, *path.parent.parts[-3:]}
    ]
    assert vague == []


def test_every_source_module_has_a_header() -> None:
    """Each module of the package says in a docstring what its question is."""
    silent = [name_of(p) for p in SOURCE if not ast.get_docstring(ast.parse(p.read_text("utf-8")))]
    assert silent == []


def test_every_test_says_its_claim() -> None:
    """Each test function has a docstring: the sentence it proves."""
    silent = [
        f"{name_of(path)}:{node.name}"
        for path in tracked(".py", under="tests")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_tests_do_not_sleep() -> None:
    """No test waits for time to pass: clocks are arguments, processes say when they are ready."""
    asleep = [
        f"{name_of(path)}:{node.lineno}"
        for path in tracked(".py", under="tests")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sleep"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"time", "asyncio"}
        and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]
    assert asleep == []


@pytest.mark.parametrize("path", [*PYTHON, *C_AND_LUA], ids=name_of)
def test_nothing_is_left_for_later(path: Path) -> None:
    """No fix-me anywhere; a to-do carries the number of its issue; nothing is unimplemented."""
    text = path.read_text("utf-8")
    assert FIX_ME not in text
    for number, line in enumerate(text.splitlines(), 1):
        assert not TO_DO.search(line), f"{name_of(path)}:{number}: {line.strip()}"


@pytest.mark.parametrize("path", SOURCE, ids=name_of)
def test_nothing_shipped_is_a_stub(path: Path) -> None:
    """No shipped module raises or names NotImplementedError."""
    names = {
        token.string
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
        if token.type == tokenize.NAME
    }
    assert "NotImplementedError" not in names


def test_lua_and_c_lines_fit() -> None:
    """Lines of hand-written Lua and C have at most 100 columns, as those of Python."""
    long = [
        f"{name_of(path)}:{number}"
        for path in C_AND_LUA
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if len(line) > COLUMNS_MAX
    ]
    assert long == []

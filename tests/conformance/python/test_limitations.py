"""docs/limitations/python.md says what is so: every line of its tables is run."""

from __future__ import annotations

import pytest

from lithox.errors import CompileFailed
from lithox.sandbox.python.engine import PythonEngine
from tests.conformance.python.running import load, run
from tests.conformance.python.survey import (
    CONSTRUCTS,
    MODULES,
    PAGE,
    ask_which,
    find_builtins,
    read_modules,
    works,
)


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_construct_is_there_or_not_as_the_page_says(engine: PythonEngine, name: str) -> None:
    """`yes` stands where it runs, `no` where it does not."""
    is_there = works(engine, CONSTRUCTS[name].text)
    row = f"| {name} | {'yes' if is_there else '**no**'} | {CONSTRUCTS[name].instead} |\n"
    assert row in PAGE.read_text(encoding="utf-8")


def test_builtin_names_are_those_of_the_page(engine: PythonEngine) -> None:
    """The page names every built-in that is there, and no other."""
    listed = ", ".join(f"`{name}`" for name in find_builtins(engine))
    assert f"\n{listed}.\n" in PAGE.read_text(encoding="utf-8")


def test_modules_are_those_of_the_page(engine: PythonEngine) -> None:
    """The page names every module that is there, and each name it gives can be imported."""
    page = read_modules(PAGE.read_text(encoding="utf-8"))
    assert ask_which(engine, {name: f"import {name}" for name in MODULES}) == list(page)
    names = {
        f"{module}.{name}": f"from {module} import {name}"
        for module, members in page.items()
        for name in members
    }
    assert ask_which(engine, names) == list(names)


MISSING = {
    "def go(self):\n    return 1\n\n\nclass B(dict):\n    pass\n": (5, 1, "class inheritance"),
    "def go(self):\n    yield 1\n": (2, 5, "yield"),
    "def go(self):\n    x = {}\n    del x['a']\n": (3, 5, "have no 'del' statement"),
}


@pytest.mark.parametrize("text", MISSING)
def test_what_is_missing_is_told_with_its_place(engine: PythonEngine, text: str) -> None:
    """File, line, column, what it is and where to read more."""
    line, column, word = MISSING[text]
    with pytest.raises(CompileFailed) as caught:
        load(engine, text, name="shop.py")
    error = caught.value
    assert error.message.startswith(f"shop.py:{line}:{column}: Python handlers have no ")
    assert word in error.message
    assert "docs/limitations/python.md" in error.message
    fields = error.fields
    assert (fields["file"], fields["line"], fields["column"]) == ("shop.py", line, column)
    assert fields["expected"] == "what docs/limitations/python.md lists"


def test_what_the_interpreter_cannot_do_is_not_told_as_its_fault(engine: PythonEngine) -> None:
    """An exception that is raised with a number is told, and where to read of it."""
    with pytest.raises(CompileFailed) as caught:
        load(engine, "raise SystemExit(3)\n", name="shop.py")
    message = caught.value.message
    assert "Internal error" not in message
    assert "zero or one string argument; see docs/limitations/python.md" in message


WRONG = {
    "def go(self):\n    return undefined_name\n": (2, 12, None, "undefined_name"),
    "def go(self):\n    x: int = 'a'\n    return x\n": (2, 14, "int", "not assignable"),
    "import nothing_like_it\n": (
        1,
        8,
        "a module that docs/limitations/python.md lists",
        "component",
    ),
    "def go(self):\n    self.nothing()\n": (
        *(2, 5, "a name that docs/reference/python-handlers.md lists"),
        "`self` has no attribute `nothing`",
    ),
    "async def go(self):\n    self.call('a', 'b')\n": (2, 5, "await", "not awaited"),
    "async def go(self, x: int = ''):\n    pass\n": (1, 20, None, "Default value"),
    "def go():\n    pass\n": (1, 8, "self", "does not take `self`"),
    "x = [1, 2\ny = 3\n": (2, 1, ",", "Expected"),
    "def go(self)\n    return 1\n": (1, 13, ":", "newline"),
    "def go(self):\n    return 1\n\n\nboom = 1 // 0\n": (5, None, None, "division"),
}


@pytest.mark.parametrize("text", WRONG)
def test_mistakes_are_told_at_deploy(engine: PythonEngine, text: str) -> None:
    """Types, names, imports, syntax and what the module's own code raises, each with its place."""
    line, column, expected, word = WRONG[text]
    with pytest.raises(CompileFailed) as caught:
        load(engine, text, name="shop.py")
    fields = caught.value.fields
    assert (fields["file"], fields["line"]) == ("shop.py", line)
    assert word in caught.value.message
    if column is not None:
        assert fields["column"] == column
    assert fields.get("expected") == expected


def test_call_that_nobody_awaited_is_named(engine: PythonEngine) -> None:
    """What the check cannot see is an error of the run, with the method's name."""
    ran = run(load(engine, "def go(self):\n    x = self.send('t/a', 'b')\n"), "go")
    assert ran.outcome[0] == 1
    assert "write `await self.send(...)`" in str(ran.outcome[1])


def test_text_that_is_no_text_is_told(engine: PythonEngine) -> None:
    """Bytes that are not UTF-8 and zero bytes have a line, too."""
    for text, line in (("a = 1\nb = '\0'\n", 2),):
        with pytest.raises(CompileFailed) as caught:
            load(engine, text, name="shop.py")
        assert caught.value.fields["line"] == line
        assert caught.value.fields["expected"] == "text"

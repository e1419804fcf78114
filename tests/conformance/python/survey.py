"""What of Python is there: found out by running it, and written into docs/limitations/python.md.

`python -m tests.conformance.python.survey` writes the tables anew; `test_limitations.py` compares.
"""

from __future__ import annotations

import builtins
import importlib
import re
import sys
import tempfile
import types
from pathlib import Path
from typing import NamedTuple

from lithox.errors import LithoxError
from lithox.sandbox.contract import StepKind
from lithox.sandbox.python.engine import PythonEngine
from tests.conformance.python.running import load, run

PAGE = Path(__file__).parents[3] / "docs" / "limitations" / "python.md"
LIST = Path(__file__).with_name("constructs.txt")
BEGIN = "<!-- found by tests/conformance/python/survey.py -->\n"
END = "<!-- end of what was found -->\n"


class Construct(NamedTuple):
    """One part of the language: module text and what `go()` must return where it is there."""

    text: str
    instead: str = ""
    """What to write where it is not there."""


def read_constructs() -> dict[str, Construct]:
    """Returns what constructs.txt lists: a heading, maybe what to write instead, and the text."""
    found: dict[str, Construct] = {}
    for part in LIST.read_text(encoding="utf-8").split("## ")[1:]:
        name, _, text = part.partition("\n")
        instead = ""
        if text.startswith("instead: "):
            instead, _, text = text.removeprefix("instead: ").partition("\n")
        found[name] = Construct(text, instead)
    return found


MODULES = sorted(
    name
    for name in sys.stdlib_module_names
    if not name.startswith("_") and name not in ("antigravity", "this", "idlelib", "lib2to3")
)
CONSTRUCTS = read_constructs()


def works(engine: PythonEngine, text: str) -> bool:
    """Returns whether the module loads and `go` returns True."""
    try:
        program = load(engine, text)
    except LithoxError:
        return False
    ran = run(program, "go")
    return ran.step.kind is StepKind.FINISHED and ran.outcome[:2] == [0, True]


def ask_which(engine: PythonEngine, statements: dict[str, str]) -> list[str]:
    """Returns the names whose statement raises nothing."""
    text = "def go(self, rows):\n    found = []\n    for name, text in rows:\n        try:\n"
    text += "            exec(text)\n            found.append(name)\n"
    text += "        except Exception:\n            pass\n    return found\n"
    rows = [[name, statement] for name, statement in statements.items()]
    ran = run(load(engine, text), "go", rows)
    assert ran.outcome[0] == 0, ran
    found: list[str] = ran.outcome[1]
    return found


def find_builtins(engine: PythonEngine) -> list[str]:
    """Returns the built-in names that are there."""
    names = [name for name in dir(builtins) if not name.startswith("_")]
    known = [name for name in names if name not in ("copyright", "credits", "exit", "help", "quit")]
    return ask_which(engine, {name: f"x = {name}" for name in known if name != "license"})


def find_modules(engine: PythonEngine) -> dict[str, list[str]]:
    """Returns the modules of the standard library that are there, with their public names."""
    there = ask_which(engine, {name: f"import {name}" for name in MODULES})
    return {name: find_members(engine, name) for name in there}


def find_members(engine: PythonEngine, name: str) -> list[str]:
    """Returns the public names that a module has here and in the Python of the node."""
    module = importlib.import_module(name)
    members = [
        one
        for one in dir(module)
        if not one.startswith("_") and not isinstance(getattr(module, one), types.ModuleType)
    ]
    return ask_which(engine, {one: f"from {name} import {one}" for one in members})


def read_modules(page: str) -> dict[str, list[str]]:
    """Returns the modules and names the page says are there."""
    tables = page.split("### The standard library")[1]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", tables, re.MULTILINE)
    return {name: re.findall(r"`(\w+)`", names) for name, names in rows}


def render(engine: PythonEngine) -> str:
    """Returns the part of the page that is found out."""
    lines = ["", "### The language", "", "| | | write instead |", "|---|---|---|"]
    for name, construct in CONSTRUCTS.items():
        is_there = works(engine, construct.text)
        lines.append(f"| {name} | {'yes' if is_there else '**no**'} | {construct.instead} |")
    names = ", ".join(f"`{name}`" for name in find_builtins(engine))
    lines += ["", "### Built-in names", "", names + ".", "", "### The standard library", ""]
    lines += ["| module | names that are there |", "|---|---|"]
    for name, members in find_modules(engine).items():
        lines.append(f"| `{name}` | {', '.join(f'`{one}`' for one in members)} |")
    return "\n".join([*lines, "", ""])


def main() -> None:
    """Writes the tables into the page."""
    engine = PythonEngine(Path(tempfile.mkdtemp()))
    try:
        page = PAGE.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        after = rest.split(END)[1]
        PAGE.write_text(before + BEGIN + render(engine) + END + after, encoding="utf-8")
    finally:
        engine.close()


if __name__ == "__main__":
    main()

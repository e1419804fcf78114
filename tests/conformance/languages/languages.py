"""The languages of the suite: which module each runs, and what it is expected to do.

Every one of them runs: none is left out for want of an engine or a compiler. What may differ is in
`capabilities.py`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.conformance.languages import capabilities

MODULES = Path(__file__).parent / "modules"
MISTAKE = "MISTAKE HERE"
RAISED = "RAISED HERE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One column of the suite.

    Attributes:
        name: the folder below `modules/`, and the name in test ids.
        language: what `lithox.toml` calls it.
        file_name: the module as the bundle names it.
        is_built: True for wasm: `build.py` makes the module; its folder has no text of it.
        source_name: the text a traceback names, where that is not the module itself.
        timeout_s: seconds its first test may take, the build of its module included.
    """

    name: str
    language: str
    file_name: str
    is_built: bool = False
    source_name: str = ""
    timeout_s: int = 60

    @property
    def folder(self) -> Path:
        """Where its writer keeps the module."""
        return MODULES / self.name

    def read(self) -> bytes:
        """Returns the module that gives the handlers of README.md. Blocks while it is built."""
        return _build(self.name) if self.is_built else (self.folder / self.file_name).read_bytes()

    def read_broken(self) -> bytes:
        """Returns a module that cannot be loaded."""
        if self.is_built:
            return self.read()[:-100]
        return (self.folder / "broken.txt").read_bytes()

    def line_of(self, mark: str, *, broken: bool = False) -> int | None:
        """Returns the number of the line that has `mark` in a comment; None where none has."""
        if self.is_built:
            path = self.folder / self.source_name
            text = b"" if broken or not self.source_name else path.read_bytes()
        else:
            text = self.read_broken() if broken else self.read()
        lines = text.decode().split("\n")
        found = [number for number, line in enumerate(lines, 1) if mark in line]
        assert len(found) <= 1, f"{self.name}: {mark!r} stands on lines {found}"
        return found[0] if found else None

    def expected(self, claim: str) -> Any:
        """Returns what this language does about `claim`: the default, or its own deviation."""
        return capabilities.expected(self.name, claim)


@cache
def _build(name: str) -> bytes:
    built: bytes = importlib.import_module(
        f"tests.conformance.languages.modules.{name}.build"
    ).build()
    return built


LANGUAGES = (
    Language(name="lua", language="lua", file_name="conformance.lua"),
    Language(name="python", language="python", file_name="conformance.py", timeout_s=120),
    Language(name="javascript", language="javascript", file_name="conformance.js", timeout_s=120),
    Language(
        name="c",
        language="wasm",
        file_name="conformance.wasm",
        is_built=True,
        source_name="conformance.c",
        timeout_s=300,
    ),
    Language(
        name="component",
        language="wasm",
        file_name="component.wasm",
        is_built=True,
        source_name="conformance_component.py",
        timeout_s=600,
    ),
)

"""Hostile handlers, language by language: read from `faults/*.md`, a page of cases each.

A case is a heading, a line of codes with which a run may end, and the body of its handler; of core
modules WebAssembly text, made binary here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import wasmtime

from tests.wat_components import MEMORY, NAMES, RUN, make_component

FOLDER = Path(__file__).parent / "faults"
OK = "ok"
"""The handler may also end well: what it tried came to nothing."""
_CASE = re.compile(r"^## ([^\n]+)\n\n([^\n]+)\n\n```\w+\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
_MODULE = """\
(module (import "lithox" "syscall" (func $syscall (param i32 i32 i32 i32) (result i32)))
(memory (export "memory") 1)
(func (export "lx_reserve") (param i32) (result i32) (i32.const 1024))
"""
_HEADS = {
    "lua": ("local m = {}\nfunction m.go(self)\n", "\nend\nreturn m\n"),
    "javascript": ("export async function go(self) {\n", "\n}\n"),
    "python": ("def go(self):\n", "\n"),
    "c": (_MODULE, ")\n"),
    "component": (f"{MEMORY}{NAMES}{RUN}", " (call $null))"),
}
"""What stands before and behind a body."""
_NAMES = b"\x11lithox.handlers.1go\x00"
_SECTION = bytes((0, len(_NAMES))) + _NAMES
"""The custom section that names a core module's handler `go` (docs/abi.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One hostile module.

    Attributes:
        text: the module.
        handler: its one handler: `go`, of components `run`.
        ends: codes with which a call of `go` may end.
        lasts: True when it burns fuel to its limit, so that neighbours must be served meanwhile.
    """

    text: bytes
    handler: str
    ends: tuple[str, ...]
    lasts: bool


def read(language: str) -> dict[str, Fault]:
    """Returns the faults of a language by name; none where it has no page."""
    path = FOLDER / f"{language}.md"
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    found: dict[str, Fault] = {}
    for name, ends, body in _CASE.findall(text):
        codes, _, word = ends.partition("; ")
        found[name] = Fault(
            text=_write(language, body),
            handler="run" if language == "component" else "go",
            ends=tuple(codes.split(", ")),
            lasts=word == "lasts",
        )
    assert len(found) == text.count("\n## "), f"{path} has a case that cannot be read"
    return found


def _write(language: str, body: str) -> bytes:
    """Returns the module whose handler `go` is `body`."""
    before, behind = _HEADS[language]
    if language == "component":
        return make_component(f"{before}{body}{behind}")
    if language == "c":
        whole = body if body.startswith("(module") else f"{before}{body}{behind}"
        return bytes(wasmtime.wat2wasm(whole)) + _SECTION
    indent = "    " if language == "python" else ""
    return (before + "\n".join(f"{indent}{line}" for line in body.split("\n")) + behind).encode()

"""What the native runtime's own comments say of each function, as data for its page.

A public function, library or field of lua/native/ has a comment block above it:

    --- What it does, in sentences.
    -- @function os.call(ctx, name, ...) -> cid
    -- @arg ctx number: what it is; as many lines as there are arguments
    -- @return cid: what it is
    -- @errors codes, and words between them
    -- @waits no, or who waits, and for what

A field has one line `-- @field os.pid number: what it is` for each name. A line that begins with
more than one space goes on with the one before. Blocks without such a line are for us.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from lithox.runtimes.registry import native_parts

_BLOCK: Final = re.compile(r"^[ ]*---(?!-)(.*\n(?:[ ]*--(?!-).*\n)*)", re.MULTILINE)
_LINE: Final = re.compile(r"^[ ]*--(.*)$")
_NAME: Final = re.compile(r"[\w.:]+")


@dataclass(slots=True, kw_only=True)
class Entry:
    """One documented name.

    Attributes:
        part: the file that has it, without `.lua`.
        signature: as it is written in a program, with what it returns after `->`.
        text: what it does.
        args: (name and type, meaning), in order.
        returns: (name, meaning), in order.
        errors: codes with words between, "" for none.
        waits: who waits for what; "" for a field.
    """

    part: str
    signature: str
    text: str
    args: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    returns: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    errors: str = ""
    waits: str = ""

    @property
    def name(self) -> str:
        """The dotted name alone."""
        found = _NAME.match(self.signature)
        assert found is not None, self.signature
        return found[0]


@cache
def read_entries() -> tuple[Entry, ...]:
    """Returns every documented name, in the order of the files. Blocks: reads the package."""
    found: list[Entry] = []
    for file, text in native_parts():
        for block in _BLOCK.finditer(text):
            found.extend(_entries(file.removesuffix(".lua"), _sections(block[1])))
    return tuple(found)


def _sections(block: str) -> list[str]:
    """Returns a block's sections, each joined into one line: the text, then those with `@`."""
    first, *rest = block.rstrip("\n").split("\n")
    sections = [first.strip()]
    for line in rest:
        match = _LINE.match(line)
        assert match is not None, line
        words = match[1].strip()
        if words.startswith("@"):
            sections.append(words)
        else:
            sections[-1] += f" {words}"
    return sections


def _entries(part: str, sections: list[str]) -> list[Entry]:
    """Returns what a block documents: one function, some fields, or nothing."""
    text, *tagged = sections
    entry: Entry | None = None
    fields: list[Entry] = []
    for section in tagged:
        tag, _, rest = section.partition(" ")
        if tag == "@function":
            entry = Entry(part=part, signature=rest, text=text)
        elif tag == "@field":
            signature, _, meaning = rest.partition(": ")
            fields.append(Entry(part=part, signature=signature, text=meaning))
        elif entry is None:
            raise AssertionError(f"{part}.lua: {section!r} stands before @function")
        elif tag in {"@arg", "@return"}:
            name, _, meaning = rest.partition(": ")
            (entry.args if tag == "@arg" else entry.returns).append((name, meaning))
        elif tag == "@errors":
            entry.errors = rest
        elif tag == "@waits":
            entry.waits = rest
        else:
            raise AssertionError(f"{part}.lua: unknown tag {tag!r}")
    return fields if entry is None else [entry]

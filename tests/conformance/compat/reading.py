"""Reads the cases of `cases/*.lua` and the table that they prove.

--# exact NAMES [@ COLUMNS] [~ NAMES]     what follows is Lua; its output must be the oracle's
--# near NAMES [@ COLUMNS]                its output is told by lines `--= `, and not the oracle's
--# here NAMES [@ COLUMNS]                as near, but the oracle's depends on the machine
--# ours NAMES [@ COLUMNS]                as near, and the oracle is not asked: it would end or wait

Lines `--< ` are what the case reads; where there is none, the input is at its end.

COLUMNS are short names of runtimes ("5.1"), or `all`. Without them an exact case holds wherever the
table calls all its names exact. Names after `~` choose the oracle where the case's own are not
names of functions: the runtime's own version if that has them, else the newest that does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.repo import checkout  # noqa: F401 - puts tools/ on the path

import compat_page  # isort: skip

FOLDER: Final = Path(__file__).with_name("cases")
COLUMNS: Final = compat_page.COLUMNS
_HEADING: Final = re.compile(r"--# (exact|near|here|ours) ([^@~]+?)(?: @ ([^~]+?))?(?: ~ (.+))?$")
_PROMISE: Final = "--= "
_INPUT: Final = "--< "

LOADER: Final = """
local text = ...
local io, tostring, pcall = io, tostring, pcall
local chunk, message = (loadstring or load)(text, "=case")
if not chunk then
  io.write("compile: ", message, "\\n")
else
  local done, problem = pcall(chunk, select(2, ...))
  if not done then io.write("error: ", tostring(problem), "\\n") end
end
"""
"""Runs the text in its first argument: the same on the oracle and in the guest."""

_ADDRESS: Final = re.compile(r"0x[0-9a-f]+|builtin#\d+|builtin: [0-9a-f]+")
_FUNCTION: Final = re.compile(r"bad argument #(\S+) to '[^']*'")


def comparable(output: str) -> str:
    """Returns what a case wrote without what no version promises.

    Addresses, and which name a message gives to a function of the library: `find`, `string.find`
    or `?`, by how it was called.
    """
    return _FUNCTION.sub(r"bad argument #\1 to '?'", _ADDRESS.sub("ADDRESS", output))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case.

    Attributes:
        title: file, number and names, unique.
        kind: exact, near, here or ours.
        names: keys of the table, or a topic that is none.
        columns: the runtimes it is about.
        needs: names that the oracle must have.
        text: the Lua.
        promised: output of a case that is not exact.
        stdin: what it reads.
    """

    title: str
    kind: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    needs: tuple[str, ...]
    text: str
    promised: str
    stdin: bytes


@cache
def claims() -> dict[str, dict[str, str]]:
    """Returns name -> column -> exact, near or absent."""
    return {
        name: {column: claim.kind for claim in found for column in claim.columns}
        for names in compat_page.read_table().values()
        for name, found in names.items()
    }


def rules() -> set[str]:
    """Returns the names of the table that are rules of the language."""
    return set(compat_page.read_table()[compat_page.LANGUAGE])


def _block(lines: list[str], mark: str) -> str:
    """Returns the lines with that mark; a backslash and a zero in them is a zero byte."""
    text = "".join(f"{line[4:]}\n" for line in lines if line.startswith(mark))
    return text.replace("\\0", "\0")


def _case(title: str, heading: str, lines: list[str]) -> Case:
    found = _HEADING.match(heading)
    assert found is not None, heading
    kind, names = found[1], tuple(name.strip() for name in found[2].split(", "))
    known = claims()
    if found[3] is None:
        columns = tuple(
            column
            for column in COLUMNS
            if all(known[name][column] == kind for name in names if name in known)
        )
    else:
        said = found[3].split()
        columns = COLUMNS if said == ["all"] else tuple(c for c in COLUMNS if c in said)
    needs = tuple(name.strip() for name in (found[4] or "").split(", ") if name.strip())
    return Case(
        title=title,
        kind=kind,
        names=names,
        columns=columns,
        needs=needs or tuple(n for n in names if n in known and n not in rules()),
        text="\n".join(line for line in lines if line[:4] not in (_PROMISE, _INPUT)),
        promised=_block(lines, _PROMISE),
        stdin=_block(lines, _INPUT).encode(),
    )


@cache
def read_cases() -> tuple[Case, ...]:
    """Returns the cases of all files."""
    found: list[Case] = []
    for path in sorted(FOLDER.glob("*.lua")):
        heading, lines, number = "", list[str](), 0
        for line in [*path.read_text(encoding="utf-8").split("\n"), "--# "]:
            if not line.startswith("--# "):
                lines.append(line)
                continue
            if heading:
                number += 1
                title = f"{path.stem} {number}: {heading[4:]}"
                found.append(_case(title, heading, lines))
            heading, lines = line, []
    return tuple(found)

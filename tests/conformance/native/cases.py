"""Reads the Markdown cases of `cases/`: programs, and what must come of them.

## name of the case            with (preemptive) at its end: not for cooperative mode
```lua            the program that is run, as `main`
```lua NAME       another one, in the program store meanwhile
```input          what it reads
```output         what it prints, whoever of its children prints it; (any order): lines sorted
```errors         what goes to the error stream; a last line `...` stands for any rest
```exit           status and code of its end, when that is not 0
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("cases")
_BLOCK: Final = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(slots=True, kw_only=True)
class Case:
    """One case; `exit` is (status, code)."""

    name: str
    main: str = ""
    programs: dict[str, str] = field(default_factory=dict[str, str])
    input: str = ""
    output: str = ""
    is_sorted: bool = False
    errors: str = ""
    exit: tuple[int, str] = (0, "")

    def is_for(self, mode: str) -> bool:
        """Returns whether the case is run in `mode`."""
        return mode == "preemptive" or not self.name.endswith("(preemptive)")

    def add(self, word: str, rest: str, text: str) -> None:
        """Takes one block in."""
        if word == "lua" and rest:
            self.programs[rest] = text
        elif word == "lua":
            self.main = text
        elif word == "exit":
            status, _, code = text.strip().partition(" ")
            self.exit = (int(status), code)
        elif word == "output":
            self.is_sorted = rest == "(any order)"
            self.output = "".join(sorted(text.splitlines(keepends=True))) if rest else text
        else:
            assert word in {"input", "errors"}, word
            setattr(self, word, text)


def read_cases() -> list[Case]:
    """Returns all cases of all files, named "file: heading"."""
    found: list[Case] = []
    for path in sorted(FOLDER.glob("*.md")):
        for part in path.read_text(encoding="utf-8").split("\n## ")[1:]:
            heading, _, rest = part.partition("\n")
            case = Case(name=f"{path.stem}: {heading}")
            for block in _BLOCK.finditer(rest):
                case.add(block[1], block[2].strip(), block[3])
            assert case.main, case.name
            found.append(case)
    return found

"""Reads the Markdown cases of `cases/`: programs, and what must come of them.

## name of the case      (preemptive) at its end: not for cooperative mode;
                         (any order): the output's lines are compared sorted
```lua                   the program that is run, as `main`; or, below a line with `NAME`:,
                         another one, in the program store meanwhile
```input                 what it reads
```output                what it prints, whoever of its children prints it
```errors                what goes to the error stream; a last line `...` stands for any rest
```exit                  status and code of its end, when that is not 0
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("cases")
_BLOCK: Final = re.compile(r"(?:^`(\S+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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

    def add(self, program: str | None, word: str, text: str) -> None:
        """Takes one block in."""
        if program is not None:
            self.programs[program] = text
        elif word == "lua":
            self.main = text
        elif word == "exit":
            status, _, code = text.strip().partition(" ")
            self.exit = (int(status), code)
        elif word == "output":
            self.output = "".join(sorted(text.splitlines(keepends=True)))
            self.output = self.output if self.is_sorted else text
        else:
            assert word in {"input", "errors"}, word
            setattr(self, word, text)


def read_cases() -> list[Case]:
    """Returns all cases of all files, named "file: heading"."""
    found: list[Case] = []
    for path in sorted(FOLDER.glob("*.md")):
        for part in path.read_text(encoding="utf-8").split("\n## ")[1:]:
            heading, _, rest = part.partition("\n")
            case = Case(name=f"{path.stem}: {heading}", is_sorted=heading.endswith("(any order)"))
            for block in _BLOCK.finditer(rest):
                case.add(block[1], block[2], block[3])
            assert case.main, case.name
            found.append(case)
    return found

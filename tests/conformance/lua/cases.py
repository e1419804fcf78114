"""Reads the Markdown cases of `cases/`: a heading, the code, and what must come of it.

## name of the case
```lua            (a heading that ends with "(shared)": also on stock Lua 5.4)
body of the handler; `self` and `...` are its arguments
```
```answer         JSON of the returned value, or
```error          a part of the message; then perhaps ```code and ```data
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("cases")
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case; `blocks` has the text of each fenced block by its word."""

    name: str
    is_shared: bool
    blocks: dict[str, str]

    def find(self, block: str) -> str | None:
        """Returns the block's text without its last newline, or None."""
        text = self.blocks.get(block)
        return None if text is None else text.removesuffix("\n")


def read_cases() -> list[Case]:
    """Returns all cases of all files, named "file: heading"."""
    found: list[Case] = []
    for path in sorted(FOLDER.glob("*.md")):
        for part in path.read_text().split("\n## ")[1:]:
            heading, _, rest = part.partition("\n")
            blocks = {match[1]: match[2] for match in _BLOCK.finditer(rest)}
            is_shared = heading.endswith("(shared)")
            name = f"{path.stem}: {heading}"
            found.append(Case(name=name, is_shared=is_shared, blocks=blocks))
    return found

"""Where in a TOML text a key stands: the parser tells that of its own errors only.

This reads the text by lines and knows no TOML beyond headers and `key =`. It is for messages: a
key that cannot be found gives the line of its table, or None, never a wrong error.
"""

from __future__ import annotations

import re
from typing import Final

_HEADER: Final = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]")


def find_line(text: str, section: str | None, number: int, key: str | None) -> int | None:
    """Returns the line (from 1) of `key` in the `number`-th `[[section]]`, or of its header.

    Args:
        section: name of an array of tables; None: the top of the file, where `key` may also be
            the name of a table.
        number: from 1.
        key: what to look for; None: the header.
    """
    wanted = (
        None if key is None else re.compile(rf"(?:^|[{{,.\[\s])[\"']?{re.escape(key)}[\"']?\s*=")
    )
    header_line = None
    seen = 0
    is_inside = section is None
    for line_number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header is not None:
            names = [part.strip().strip("\"'") for part in header[1].split(".")]
            if section is None:
                if names[0] == key:
                    return line_number
                is_inside = False
            elif names == [section]:
                seen += 1
                is_inside = seen == number
                if is_inside:
                    header_line = line_number
            elif names[0] != section:
                is_inside = False
            if is_inside and key in names[1:]:
                return line_number
        elif is_inside and wanted is not None and wanted.search(_without_comment(line)):
            return line_number
    return header_line


def _without_comment(line: str) -> str:
    """Returns `line` up to a `#`; one inside a text cuts too much, which loses a line at worst."""
    return line.partition("#")[0]

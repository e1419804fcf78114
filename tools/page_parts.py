"""What the generated pages of docs/ share: links to headings, and cells of tables."""

from __future__ import annotations

import re


def anchor(heading: str) -> str:
    """Returns the anchor of a heading."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def cell(text: str) -> str:
    """Returns `text` as it may stand in a table."""
    return text.replace("|", "\\|")

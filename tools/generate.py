"""Writes every generated page of docs/ again; `--check` only says which ones are stale."""

from __future__ import annotations

import sys
from pathlib import Path

import compat_page
import errors_page
import examples_page
import languages_page
import limits_page
import manager_page
import native_page
from places import ROOT


def pages() -> dict[Path, str]:
    """Returns what each generated file should hold."""
    makers = (
        compat_page,
        errors_page,
        examples_page,
        languages_page,
        limits_page,
        manager_page,
        native_page,
    )
    return {made.PAGE: made.page() for made in makers}


def stale() -> list[Path]:
    """Returns the generated files that do not hold what they should."""
    return [
        path
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Writes stale pages, or with --check names them; returns the exit status."""
    found = stale()
    for path in found:
        print(f"  {path.relative_to(ROOT)}")
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages()[path], encoding="utf-8")
    return 1 if found and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

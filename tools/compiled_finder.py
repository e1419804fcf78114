"""Lets this environment's Python find the compiled modules of a checkout, while they are fresh.

tools/compiled.py copies this file into the environment as `_lithox_compiled.py`, with a `.pth` line
that imports it at every start. When any source is another than was compiled, or LITHOX_PURE is
set, it does nothing: the sources run as they are. So nobody ever runs code that is not what he
reads, and nobody must compile after an edit. Installed packages need none of this: their extension
modules lie beside the sources.
"""

from __future__ import annotations

import os
import sys
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

MANIFEST = "@MANIFEST@"
SOURCES = "@SOURCES@"


def state_of(folder: str) -> str:
    """Returns a digest of the sources below `folder`: of their names, sizes and times of change."""
    seen = []
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    found = entry.stat()
                    seen.append(f"{entry.path} {found.st_size} {found.st_mtime_ns}")
                elif entry.name != "__pycache__" and entry.is_dir():
                    folders.append(entry.path)
    return f"{zlib.crc32(chr(10).join(sorted(seen)).encode()):08x} {len(seen)}"


class Finder:
    """Knows where the extension modules lie."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        """Returns how to load a compiled module; None: it is none."""
        file = self.files.get(name)
        if file is None or not os.path.exists(file):  # noqa: PTH110 - see `install`
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(name, file)


def install() -> None:
    """Puts the finder before all others if there is something fresh to find."""
    if os.environ.get("LITHOX_PURE"):
        return
    try:
        with open(MANIFEST) as file:  # noqa: PTH123 - at every start: pathlib takes milliseconds
            state, *lines = file.read().splitlines()
        if state == state_of(SOURCES):
            sys.meta_path.insert(0, Finder(dict(line.split(" ", 1) for line in lines)))
    except OSError:
        return


if not MANIFEST.startswith("@"):
    install()

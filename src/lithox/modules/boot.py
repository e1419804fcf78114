"""The boot copy: programs, libraries and runtimes that come with the package.

A node with an empty store must start something that can fill it. What lies in `boot/` beside this
file is found when the store has nothing of that name, and never wins over what it has. These files
are ours and read-only; names are checked before they come near a path.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Final

from lithox.errors import BadArguments
from lithox.modules.code import LIBRARY, PROGRAM, RUNTIME, check_code_name

SUFFIX: Final = ".lua"
_FOLDERS: Final = {PROGRAM: "programs", LIBRARY: "libraries", RUNTIME: "runtimes"}


def find_boot(kind: str, name: str) -> bytes | None:
    """Returns the text the package has for `name`, or None. Blocks for one small file, once."""
    return _read_all(kind).get(check_code_name(name))


def list_boot(kind: str) -> list[str]:
    """Returns the names the package has of `kind`, in order."""
    return sorted(_read_all(kind))


@functools.cache  # One entry a kind.
def _read_all(kind: str) -> dict[str, bytes]:
    if kind not in _FOLDERS:
        raise BadArguments(f"a store is one of {', '.join(_FOLDERS)}; found {kind!r:.80}")
    folder = resources.files("lithox.modules") / "boot" / _FOLDERS[kind]
    if not folder.is_dir():
        return {}
    return {
        file.name.removesuffix(SUFFIX): file.read_bytes()
        for file in folder.iterdir()
        if file.name.endswith(SUFFIX)
    }

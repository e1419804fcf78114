"""A node with one planted fault: `broken_node.py FAULT serve ...`; the rest is the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from lithox.cli.main import main
from lithox.store.recent import RecentChanges

_is_current = RecentChanges.is_current


def forget_reads(self: Any, version: int, reads: Any, ranges: Any) -> bool:
    """Commits whatever has become of the single keys that were read."""
    return _is_current(self, version, (), ranges)


def forget_ranges(self: Any, version: int, reads: Any, ranges: Any) -> bool:
    """Commits whatever has become of the ranges that were walked through."""
    return _is_current(self, version, reads, ())


FAULTS: dict[str, Callable[..., bool]] = {"reads": forget_reads, "ranges": forget_ranges}

if __name__ == "__main__":
    RecentChanges.is_current = FAULTS[sys.argv.pop(1)]
    main()

"""What all workloads of whole-node simulations draw alike, and what their handlers agree on."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from lithox.testing.script import ScriptError

Call = tuple[str, str, list[Any]]
"""(entity, handler, args)."""
MEANT: Final = frozenset({"app.closed", "app.wanted", "guest.trapped"})
"""Failures of callees that a caller goes on after; others depend on bounds, and are raised on."""


def raise_unless_meant(error: ScriptError) -> None:
    """Raises a callee's error on unless its workload planned for it."""
    if error.code not in MEANT:
        raise error


def pick(random: Random, count: int, spread: int) -> int:
    """Returns an index below `count` and below `spread`, which is 1 or more."""
    return random.randrange(min(count, spread))


def draw_fuel(random: Random) -> int:
    """Returns nothing for some runs, a little for others, more than a quantum for the rest."""
    return random.choice((0, 0, 500, 3_000, 12_000, 40_000))

"""What a run that met a conflict does next: again, wait its turn, or give up. Pure.

Invariants: the number of runs of one request is bounded by `runs_max`; whoever holds its turn on
all entities it touches cannot be made to wait again; a run that has made a request of its own
(which is committed and cannot be taken back) re-runs only while it holds its turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from lithox.errors import ConfigError
from lithox.model.ids import EntityPath


class Retry(Enum):
    """What to do after a conflict."""

    AGAIN = "again"
    """Run again at once, on the newest visible version."""
    AFTER_TURN = "after turn"
    """Take the turn on every entity of `turn_order`, then run again and keep it to the end."""
    GIVE_UP = "give up"
    """Answer `transaction.conflict`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to try.

    Attributes:
        free_conflicts: conflicts after which a run stops trying its luck and waits its turn.
        runs_max: runs of one request in all; the conflict of the last one is the answer.
    """

    free_conflicts: int = 2
    runs_max: int = 16

    def __post_init__(self) -> None:
        """Checks the record; raises ConfigError that names the field."""
        if self.free_conflicts < 1 or self.runs_max < 1:
            raise ConfigError(
                "free_conflicts and runs_max are at least 1; "
                f"found {self.free_conflicts} and {self.runs_max}"
            )


DEFAULT_RETRY: Final = RetryPolicy()


def decide_retry(
    *,
    conflicts: int,
    holds_turn: bool,
    has_requested: bool = False,
    policy: RetryPolicy = DEFAULT_RETRY,
) -> Retry:
    """Says what a run does after its `conflicts`-th conflict.

    Args:
        conflicts: how many runs of this request have met a conflict, this one included: 1 or more.
        holds_turn: whether it holds the turn on every entity this run touched.
        has_requested: whether one of its runs has made a request of its own.
    """
    if conflicts >= policy.runs_max:
        return Retry.GIVE_UP
    if holds_turn:
        return Retry.AGAIN
    if has_requested or conflicts >= policy.free_conflicts:
        return Retry.AFTER_TURN
    return Retry.AGAIN


def turn_order(entities: Iterable[EntityPath]) -> tuple[EntityPath, ...]:
    """Returns each entity once, in the order in which turns are taken; one order, no deadlock."""
    return tuple(sorted(set(entities)))

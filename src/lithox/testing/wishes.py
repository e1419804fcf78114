"""What callers of a simulated node want, each time they ask, and what came of it: plain records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lithox.store.contract import Cell
from lithox.testing.serial import Outcome

UNKNOWN_CODES: Final = frozenset({"store.unavailable"})
"""Errors after which the request may have happened all the same."""
ENDED_CODES: Final = frozenset(
    {
        "request.cancelled",
        "request.deadline_passed",
        "request.overloaded",
        "store.results_full",
        "transaction.conflict",
        "transaction.diverged",
        "message.queue_full",
        "guest.too_many_timers",
        "guest.too_many_hops",
        "guest.out_of_fuel",
        "guest.out_of_wall",
        "guest.out_of_calls",
        "guest.out_of_output",
        "guest.out_of_state",
    }
)
"""Errors that say how a run was ended; what it would have said depends on more than state."""


@dataclass(slots=True, kw_only=True)
class Wish:
    """What a caller wants done, however often it asks for it.

    Attributes:
        number: of all wishes of the simulation.
        calls: (entity, handler, args) of what is to be done, one unless they commit together.
        request_id: the id it is asked under, or None.
        version: the commit on the disk that did it, 0 as long as there is none.
    """

    number: int
    identity: str
    calls: list[tuple[str, str, list[Any]]]
    is_list: bool = False
    request_id: str | None = None
    version: int = 0
    outcome: Outcome | None = None

    def __str__(self) -> str:
        name = "" if self.request_id is None else f" under id {self.request_id}"
        return f"wish {self.number} ({self.calls[0][0]}:{self.calls[0][1]}{name})"


@dataclass(slots=True, kw_only=True)
class Asked:
    """One time a wish was asked for.

    Attributes:
        known_version: the newest version anybody had been told of by then.
        error: the code of its error once that has left, "" before and after a success.
        is_over: its answer has left, or nobody is there to give one any more.
    """

    wish: Wish
    known_version: int
    is_over: bool = False
    error: str = ""


@dataclass(slots=True, kw_only=True)
class Committed:
    """A commit as it became visible: `asked` for, or a message's effect, or a run's own request.

    Attributes:
        calls: what its run was to do.
        run_id: what the ids of its own requests are derived from.
        request_id: the message's id, or that of the run's own request; else None.
        timer: where the timer was whose call it is, else None.
        is_message: it is the effect of a message.
    """

    asked: Asked | None
    what: str
    calls: list[tuple[str, str, list[Any]]]
    is_list: bool
    run_id: str
    request_id: str | None
    timer: Cell | None
    is_message: bool

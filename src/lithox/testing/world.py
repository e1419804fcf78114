"""One thread, one seed, one order of events: what every simulation stands on.

A `World` holds the clock (which is the event queue), the only source of chance, the checkers and
the trace. Actors (a simulated node, clients, a fault maker; later stores and networks) plan
functions on the clock and note what they do; they share nothing else. After every event each
checker looks at the whole.

Invariants: a run is a function of its seed and code: no hash order, wall clock, thread or object
address may reach the trace (a test runs one seed under two hash seeds and compares digests).
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from random import Random
from typing import Any, Final, Protocol

from lithox.testing.clock import FakeClock

TRACE_TAIL_LINES: Final = 30
"""Lines of the trace kept for the message of a failure."""


class InvariantBroken(Exception):
    """A checker found what must never be."""


class Checker(Protocol):
    """Looks at the world after every event."""

    def check(self) -> None:
        """Raises InvariantBroken, with a sentence that says what was found."""
        ...


class World:
    """The stage of one simulation.

    Args:
        seed: decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.clock = FakeClock()
        self.random = Random(seed)  # noqa: S311 - reproducible on purpose
        self.checkers: list[Checker] = []
        self.counts: Counter[str] = Counter()
        """What happened how often, by the name given to `note`."""
        self.events = 0
        self._digest = hashlib.sha256()
        self._tail: deque[str] = deque(maxlen=TRACE_TAIL_LINES)

    def note(self, what: str, *facts: Any) -> None:
        """Adds a line to the trace; `facts` are plain values."""
        line = f"{self.clock.monotonic_ns()} {what} {facts!r}"
        self.counts[what] += 1
        self._tail.append(line)
        self._digest.update(line.encode() + b"\n")

    def run(self, events_max: int) -> None:
        """Fires events until none is left; raises InvariantBroken when `events_max` are not enough.

        Blocks: as long as the simulation takes.
        """
        while self.clock.run_next():
            self.events += 1
            for checker in self.checkers:
                checker.check()
            if self.events >= events_max:
                raise InvariantBroken(f"the simulation did not come to rest in {events_max} events")

    def trace_digest(self) -> str:
        """Returns the digest of all lines so far; equal runs have equal ones."""
        return self._digest.hexdigest()

    def trace_tail(self) -> list[str]:
        """Returns the last lines of the trace."""
        return list(self._tail)

    def has_luck(self, one_in: int) -> bool:
        """Returns True once in `one_in` times, never when it is 0."""
        return one_in > 0 and self.random.randrange(one_in) == 0

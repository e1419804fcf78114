"""Turn-taking: who may run on a contended entity without losing again.

Theory of operation. Most runs never come here. A run that lost twice asks for the turns of all
entities it touched, in sorted order, and starts again once it holds them all. While an entity's
turn is held, a new request to it waits in the same queue (nobody knows before whether it will
write); a run under way may go on reading, but not commit writes to it: it asks for the turn itself
and runs again. So a holder does not lose against other runs on what it holds (administrative acts
do not ask), and contention degrades to serial execution instead of a storm of retries. No deadlock:
turns are asked for in one fixed order and a holder that needs more gives all back first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

WAITERS_MAX: Final = 100_000
"""Runs that may wait for one entity; beyond it the request is refused as a conflict."""


class Turn:
    """One run's claim on a set of entities."""

    __slots__ = ("entities", "held", "on_granted")

    def __init__(self, entities: Iterable[str], on_granted: Callable[[], None]) -> None:
        self.entities = sorted(set(entities))
        self.held = 0
        self.on_granted = on_granted

    @property
    def is_granted(self) -> bool:
        return self.held == len(self.entities)


class Turns:
    """All claims of a node."""

    def __init__(self) -> None:
        self._queues: dict[str, OrderedDict[Turn, None]] = {}

    def __bool__(self) -> bool:
        """True while any turn is held or waited for."""
        return bool(self._queues)

    def is_taken_by_other(self, entity: str, turn: Turn | None) -> bool:
        """Returns whether somebody else holds the turn of `entity`."""
        queue = self._queues.get(entity)
        return queue is not None and next(iter(queue)) is not turn

    def is_free_for(self, entities: Iterable[str], turn: Turn | None) -> bool:
        """Returns whether no other run holds the turn of any of `entities`."""
        return not any(self.is_taken_by_other(entity, turn) for entity in entities)

    def ask(self, turn: Turn) -> bool:
        """Queues `turn`; returns False when a queue is full. `on_granted` may be called at once."""
        if any(len(self._queues.get(name, ())) >= WAITERS_MAX for name in turn.entities):
            return False
        self._advance(turn)
        return True

    def _advance(self, turn: Turn) -> None:
        """Takes turns in order until one is held by somebody else; that one will call again."""
        while turn.held < len(turn.entities):
            name = turn.entities[turn.held]
            queue = self._queues.setdefault(name, OrderedDict())
            queue.setdefault(turn)
            if next(iter(queue)) is not turn:
                return
            turn.held += 1
        turn.on_granted()

    def give_back(self, turn: Turn) -> None:
        """Withdraws `turn` wherever it stands, and lets the next ones go on. Idempotent."""
        for name in turn.entities[: turn.held + 1]:
            queue = self._queues.get(name)
            if queue is None or turn not in queue:
                continue
            was_first = next(iter(queue)) is turn
            del queue[turn]
            if not queue:
                del self._queues[name]
            elif was_first:
                self._advance(next(iter(queue)))
        turn.entities = []
        turn.held = 0

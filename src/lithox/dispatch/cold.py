"""Waiting for what is not at hand: data on another machine are fetched while others run.

A run that reads what is not cached would make the whole node wait for the database's server. So
before a guest starts its frame waits here, as a process that waits, until its entity is cached.
Invariants: a frame waits for one entity at a time and is woken once; then it goes on whatever the
fetch came to, since reading says what is wrong. Stores of one node never make anybody wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lithox.dispatch.job import Clock, Frame
from lithox.kernel.kernel import Kernel
from lithox.store.contract import Store


@dataclass(slots=True, kw_only=True)
class ColdEntities:
    """Has entities fetched for frames. Every method is called on the node's thread.

    Attributes:
        wake: asks for a turn of the pump.
    """

    store: Store
    kernel: Kernel
    clock: Clock
    wake: Callable[[], None]

    def is_at_hand(self, frame: Frame, entity: str) -> bool:
        """Returns whether `frame` may go on; if not it must wait, and `begin` is asked again."""
        if self.store.prefetch(entity, partial(self._go_on, frame)):
            return True
        frame.is_waiting = True
        return False

    def _go_on(self, frame: Frame) -> None:
        if self.kernel.notify_woken(frame.pid, self.clock.monotonic_ns()):
            self.wake()

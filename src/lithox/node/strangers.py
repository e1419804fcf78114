"""Audit records of callers nobody knows: bounded, so that a stranger cannot flood the records."""

from __future__ import annotations

from typing import Final

from lithox.dispatch.dispatcher import Dispatcher
from lithox.errors import Unauthenticated

INTERVAL_NS: Final = 1_000_000_000
"""At most one record in this time; the ring of records would last three hours of attack."""


class Strangers:
    """Counts refused tokens and records the first of each interval, with how many came before."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._next_ns = 0
        self._unrecorded = 0

    def note(self, now_ns: int, error: Unauthenticated) -> None:
        """Takes note of one refusal at `now_ns` of the wall clock. Never blocks."""
        if self._next_ns - INTERVAL_NS <= now_ns < self._next_ns:
            self._unrecorded += 1
            return
        others = f" ({self._unrecorded} more since the last record)" if self._unrecorded else ""
        self._next_ns, self._unrecorded = now_ns + INTERVAL_NS, 0
        self._dispatcher.record_act(
            identity="",
            act="identify",
            entity="",
            outcome=error.code,
            detail=error.message + others,
        )

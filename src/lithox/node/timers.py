"""Waking up: the node's one deadline timer, and periodic duties."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from lithox.dispatch.job import Clock

_log: Final = logging.getLogger("lithox.node")


class DeadlineTimer:
    """Calls `on_due` when the earliest deadline has come.

    A deadline that moves later costs nothing: the timer fires once too often and is armed anew.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, on_due: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._on_due = on_due
        self._handle: asyncio.TimerHandle | None = None
        self._due_ns = 0

    def arm(self, due_ns: int) -> None:
        """Makes sure `on_due` is called at `due_ns` or earlier. Cheap when it is armed already."""
        if self._handle is not None:
            if self._due_ns <= due_ns:
                return
            self._handle.cancel()
        self._due_ns = due_ns
        delay_s = max(0.0, (due_ns - self._clock.monotonic_ns()) / 1e9)
        self._handle = self._loop.call_later(delay_s, self._fire)

    def _fire(self) -> None:
        self._handle = None
        self._on_due()

    def cancel(self) -> None:
        """Forgets the armed time. Idempotent."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def run_guarded(*duties: Callable[[], object]) -> None:
    """Calls each of `duties`; one that fails is logged and keeps none of the others."""
    for duty in duties:
        try:
            duty()
        except Exception:  # noqa: BLE001 - whatever it is, the next one is called
            _log.exception("a periodic duty failed; it is tried again next time")


async def every(interval_s: float, duty: Callable[[], None]) -> None:
    """Calls `duty` each `interval_s` seconds until cancelled, whether it fails or not."""
    while True:
        await asyncio.sleep(interval_s)
        run_guarded(duty)

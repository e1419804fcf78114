"""The node's side of messages and timers: wakes them, starts and stops them with the node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.job import Clock
from lithox.node.timers import DeadlineTimer, run_guarded


@dataclass(slots=True, kw_only=True)
class MessagesSide:
    """Messages and timers of one node.

    Attributes:
        is_shared: other nodes use the same store, so what one leaves another must take over.
    """

    loop: asyncio.AbstractEventLoop
    clock: Clock
    dispatcher: Dispatcher
    is_shared: bool = False
    _wakers: list[DeadlineTimer] = field(default_factory=list[DeadlineTimer])

    def start(self) -> None:
        """Begins to deliver; to be called once the store is open and templates are known."""
        delivery, timers = self.dispatcher.mail.delivery, self.dispatcher.timers
        delivery.on_deadline = self._waker(delivery.notify_time)
        timers.on_deadline = self._waker(timers.notify_time)
        # Timers go by how many messages wait, so those are read first.
        delivery.on_started = timers.start
        delivery.start()

    def _waker(self, on_due: Callable[[], None]) -> Callable[[int], None]:
        timer = DeadlineTimer(self.loop, self.clock, on_due)
        self._wakers.append(timer)
        return timer.arm

    def sweep(self) -> None:
        """Takes over what other nodes have left for a minute; to be called now and then."""
        if self.is_shared:
            run_guarded(self.dispatcher.mail.delivery.adopt_old, self.dispatcher.timers.adopt_old)

    def stop(self) -> None:
        """Begins nothing more; what is under way ends by itself. Idempotent."""
        self.dispatcher.timers.stop()
        self.dispatcher.mail.delivery.stop()
        for waker in self._wakers:
            waker.cancel()

"""The node's side of messages and timers: wakes them, starts and stops them with the node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.job import Clock
from lithox.node.timers import DeadlineTimer


@dataclass(slots=True, kw_only=True)
class MessagesSide:
    """Messages and timers of one node."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    dispatcher: Dispatcher
    _wakers: list[DeadlineTimer] = field(default_factory=list[DeadlineTimer])

    def start(self) -> None:
        """Begins to deliver; to be called once the store is open and templates are known."""
        delivery = self.dispatcher.mail.delivery
        waker = DeadlineTimer(self.loop, self.clock, delivery.notify_time)
        self._wakers.append(waker)
        delivery.on_deadline = waker.arm
        delivery.start()

    def stop(self) -> None:
        """Begins nothing more; what is under way ends by itself. Idempotent."""
        self.dispatcher.mail.delivery.stop()
        for waker in self._wakers:
            waker.cancel()

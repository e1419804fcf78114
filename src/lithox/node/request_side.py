"""The node's side of accepted requests and call-backs: wakes them, starts and stops them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.job import Clock
from lithox.node.callback_sender import CallbackSender
from lithox.node.callback_settings import CallbackSettings
from lithox.node.callbacks import Callbacks
from lithox.node.timers import DeadlineTimer, run_guarded
from lithox.store.contract import Store


@dataclass(slots=True, kw_only=True)
class RequestSide:
    """Accepted requests and call-backs of one node.

    Attributes:
        is_shared: other nodes use the same store, so what one leaves another must take over.
    """

    loop: asyncio.AbstractEventLoop
    clock: Clock
    store: Store
    dispatcher: Dispatcher
    settings: CallbackSettings
    is_shared: bool = False
    callbacks: Callbacks = field(init=False)
    _sender: CallbackSender = field(init=False)
    _wakers: list[DeadlineTimer] = field(default_factory=list[DeadlineTimer])

    def __post_init__(self) -> None:
        self._sender = CallbackSender(answer_s_max=self.settings.answer_ms_max / 1000)
        accepted = self.dispatcher.accepted
        self.callbacks = Callbacks(
            store=self.store,
            clock=self.clock,
            settings=self.settings,
            find=self.dispatcher.results.find_accepted,
            send=self._sender.send,
            schedule=self.loop.call_soon,
            is_shared=self.is_shared,
        )
        accepted.is_shared = self.is_shared
        accepted.on_outcome = self.callbacks.writes_of
        accepted.on_finished = self.callbacks.notify_finished

    def start(self) -> None:
        """Begins; to be called once the store is open and templates are known."""
        for feature in (self.dispatcher.accepted, self.callbacks):
            waker = DeadlineTimer(self.loop, self.clock, feature.notify_time)
            self._wakers.append(waker)
            feature.on_deadline = waker.arm
            feature.start()

    def sweep(self) -> None:
        """Takes over what another node left; to be called about once a minute."""
        run_guarded(self.dispatcher.accepted.sweep, self.callbacks.sweep)

    def stop(self) -> None:
        """Begins nothing more; what runs may end. Idempotent."""
        self.dispatcher.accepted.stop()
        for waker in self._wakers:
            waker.cancel()
        self._wakers.clear()

    async def close(self) -> None:
        """Breaks off what is being sent: it is sent again after the next start."""
        await self.callbacks.stop()
        await self._sender.close()

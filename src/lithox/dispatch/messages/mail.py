"""Everything about messages of one node, put together: what dispatcher and node speak to."""

from __future__ import annotations

from collections.abc import Callable

from lithox.dispatch.endpoints import Endpoint
from lithox.dispatch.job import Clock, OnAnswer
from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.delivery import Delivery
from lithox.dispatch.messages.forwarding import Away, Forwarding
from lithox.dispatch.messages.outbox import Outbox
from lithox.dispatch.messages.waiting import Waiting
from lithox.model.request import Request
from lithox.sandbox import messages
from lithox.store.contract import Store


class Mail:
    """The messages of one node.

    Attributes:
        endpoints: the system calls it answers, by name.
        delivery: start and stop it with the node.
    """

    def __init__(  # noqa: PLR0913 - where its parts come together; all by keyword
        self,
        *,
        store: Store,
        clock: Clock,
        submit: Callable[[Request, OnAnswer], None],
        schedule: Callable[[Callable[[], None]], object],
        bounds: MessageBounds,
        away: Away | None = None,
    ) -> None:
        self.bounds = bounds
        self.waiting = Waiting(bounds)
        self.outbox = Outbox(
            bounds=bounds,
            waiting=self.waiting,
            wall_ms=lambda: clock.wall_ns() // 1_000_000,
        )
        self._forwarding: Forwarding | None = None
        if away is not None:
            self._forwarding = Forwarding(
                store=store, clock=clock, schedule=schedule, away=away, bounds=bounds
            )
        self.delivery = Delivery(
            store=store,
            clock=clock,
            submit=submit,
            schedule=schedule,
            waiting=self.waiting,
            bounds=bounds,
            forwarding=self._forwarding,
        )
        self.endpoints: dict[str, Endpoint] = {messages.CALL_SEND: self.outbox.send}

    def statistics(self) -> dict[str, int]:
        """Returns counters and gauges for metrics."""
        counters, forwarding = self.delivery.counters, self._forwarding
        return {
            "waiting": self.waiting.count,
            "waiting_bytes": self.waiting.bytes_waiting,
            "delivering": self.waiting.delivering
            + (0 if forwarding is None else forwarding.under_way),
            "dead": self.delivery.dead_count,
            "delivered_total": counters.delivered,
            "failed_total": counters.failed,
            "died_total": counters.died,
        }

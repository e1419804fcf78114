"""Ending a node: what runs gets its time, then every resource is released, whatever fails.

Invariants: after `release` no guest is open and nobody waits for an answer; the lock of the data
directory goes last, so whoever opens it next finds a store at rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import ExitStack

from lithox.dispatch.dispatcher import Dispatcher
from lithox.errors import StoreUnavailable
from lithox.model.request import Answer

_log = logging.getLogger("lithox.node")


async def drain(dispatcher: Dispatcher, grace_s: float) -> None:
    """Waits until every request is answered; ends them after `grace_s`, gives up after twice."""
    if not dispatcher.open_count:
        return
    idle = asyncio.Event()
    dispatcher.on_idle = idle.set
    try:
        await asyncio.wait_for(idle.wait(), grace_s)
    except TimeoutError:
        dispatcher.end_all()
        try:
            await asyncio.wait_for(idle.wait(), grace_s)
        except TimeoutError:
            _log.warning("closing with %d requests unanswered", dispatcher.open_count)


def free_guests(dispatcher: Dispatcher) -> None:
    """Frees the guest of every frame; to be called once nothing is stepped any more.

    A guest may still be there though its request is answered: its slice was out when the
    dispatcher stopped, so nobody was left to take it back. The frames stay in the table, since
    word of such a slice may still arrive.
    """
    with ExitStack() as each:  # One that cannot be freed must not keep the others.
        for frame in dispatcher.runs.table.by_pid.values():
            each.callback(frame.driver.close_guest, frame)


def answer_rest(waiting: Iterable[asyncio.Future[Answer]]) -> None:
    """Tells everybody who still waits that the node has closed."""
    for future in list(waiting):
        if not future.done():
            error = StoreUnavailable("the node closed before the request ended")
            future.set_result(Answer(error=error))

"""Handing an administrative commit to the store, so that what follows from it is never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lithox.store.contract import Commit, Store

FollowUp = Callable[[Exception | None], None]
"""Told None once the commit is durable, else why it was withdrawn."""


def submit_durably(
    store: Store, commit: Commit, follow_up: FollowUp
) -> asyncio.Future[None] | None:
    """Submits `commit`; the future ends when it is durable, or raises why it was withdrawn.

    Args:
        follow_up: called exactly once, in commit order and before the future ends, even when
            nobody waits for that any more.

    Returns:
        None when the commit lost against another: nothing has happened.

    Raises:
        StoreUnavailable: writes are stopped.
    """
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_done(error: Exception | None) -> None:
        follow_up(error)
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    return None if store.submit(commit, on_done) is None else done

"""Which threads make code ready? A few of the node's own, made as they are needed.

They run what is slow and thread-safe (`Engine.prepare`, digests, files) and post what came of it to
the node's loop. They are daemons: a node that closes while a module compiles does not wait for it,
and a compiler's child process ends with the node (`sandbox/core/compile_child.py`).

Invariants: at most `THREADS_MAX` threads; each order is answered once, on the loop, unless the loop
has ended. Who gives orders bounds how many: `dispatch.cold_code` and one deploy at a time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Final, TypeVar

from lithox.dispatch.cold_code import BEGUN_MAX, OnWorked, Schedule

THREADS_MAX: Final = BEGUN_MAX + 1
"""All that runs may wait for at once, and a deploy."""
Result = TypeVar("Result")


class CodeWorkers:
    """Threads of one node: see `dispatch.cold_code.Workers`. Called on the node's thread."""

    def __init__(self, post: Schedule) -> None:
        """Makes no thread yet.

        Args:
            post: runs a function on the node's thread soon; safe from any thread.
        """
        self._post = post
        self._orders: SimpleQueue[tuple[Callable[[], None], OnWorked] | None] = SimpleQueue()
        self._threads = 0
        self._busy = 0
        """Orders that are not answered yet."""

    def submit(self, work: Callable[[], None], on_done: OnWorked) -> None:
        """Has `work` done in another thread; `on_done` is called once, on the node's thread."""
        self._busy += 1
        if self._busy > self._threads and self._threads < THREADS_MAX:
            self._threads += 1
            threading.Thread(target=self._work, name="lithox-code", daemon=True).start()
        self._orders.put((work, on_done))

    async def run(self, work: Callable[[], Result]) -> Result:
        """Returns what `work` returns, done in another thread; raises what it raises."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        results: list[Result] = []

        def on_done(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self.submit(lambda: results.append(work()), on_done)
        await done
        return results[0]

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            work, on_done = order
            error: Exception | None = None
            try:
                work()
            except Exception as failure:  # noqa: BLE001 - it is told to whoever gave the order
                error = failure
            self._deliver(on_done, error)
            # What was worked on may be large, and the next order may be hours away.
            del order, work, on_done, error

    def _deliver(self, on_done: OnWorked, error: Exception | None) -> None:
        def arrive() -> None:
            self._busy -= 1
            on_done(error)

        with suppress(RuntimeError):  # The node's loop has closed: nobody waits any more.
            self._post(arrive)

    def stop(self) -> None:
        """Lets every thread end after what it does now. Does not wait for them."""
        for _ in range(self._threads):
            self._orders.put(None)

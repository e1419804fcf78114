"""Long reading beside a serving node: a thread of low priority whose items arrive on the loop.

The thread makes items ahead to a bound, so memory stays the same whatever there is to read, and
rests after each as long as it worked (`SHARE`), so that it takes neither the processor nor
Python's lock from the runs for long. Who stops taking items stops the thread.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, Generic, Self, TypeVar, cast

from lithox.dispatch.job import Clock
from lithox.dispatch.lanes import LONG_NICENESS

Item = TypeVar("Item")

AHEAD_MAX: Final = 4
"""Items that may wait for the loop."""
SHARE: Final = 0.5
"""Of a processor. Measured: a dump of 200,000 cells (64 MB, 1.1 s of processor time) beside 16
callers of a durable counter took 5 to 13 s and left them 0.98 of their rate (median of 9 pairs,
0.80 to 1.5: the machine had other work)."""
_REST_FACTOR: Final = (1 - SHARE) / SHARE
JOIN_S_MAX: Final = 10.0
"""How long `stop` waits for the item that is being made."""


class BackgroundItems(Generic[Item]):
    """The items of an iterator that is made and driven in a thread of its own.

    Use it as an asynchronous iterator; `aclose` when leaving before its end. An error of the
    iterator is raised where its item was awaited.
    """

    def __init__(
        self,
        produce: Callable[[], Iterator[Item]],
        *,
        clock: Clock,
        ahead_max: int = AHEAD_MAX,
    ) -> None:
        """Prepares the thread on the running loop; it starts with the first item asked for.

        Args:
            produce: called in the thread; what it returns is closed there.
            clock: measures the thread's work.
            ahead_max: items made before they are asked for.
        """
        self._produce = produce
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[tuple[Item | None, BaseException | None]] = asyncio.Queue()
        self._room = threading.Semaphore(ahead_max)
        self._is_stopped = threading.Event()
        self._is_ended = False
        self._broken_off: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        if self._is_ended:
            raise self._broken_off or StopAsyncIteration
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, name="lithox-background", daemon=True
            )
            self._thread.start()
        item, error = await self._arrived.get()
        if isinstance(error, StopIteration):
            self._is_ended = True
            raise StopAsyncIteration
        if error is not None:
            self._is_ended = True
            raise error
        self._room.release()
        return cast("Item", item)

    async def aclose(self) -> None:
        """Ends the thread; returns when it has closed what it read. Idempotent."""
        self._end()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def break_off(self, error: BaseException) -> None:
        """Ends the thread soon, without waiting; who asks for another item gets `error`."""
        if not self._is_ended:
            self._broken_off = error
            self._is_stopped.set()
            self._room.release()
            self._is_ended = True
            self._arrived.put_nowait((None, error))

    def stop(self) -> None:
        """Ends the thread and waits for it. Blocks, for one item at most. Idempotent."""
        self._end()
        if self._thread is not None:
            self._thread.join(JOIN_S_MAX)

    def _end(self) -> None:
        self._is_stopped.set()
        self._room.release()
        if not self._is_ended:
            self._is_ended = True
            # Whoever waits for an item now is not left waiting.
            self._arrived.put_nowait((None, StopIteration()))

    # In the thread.

    def _work(self) -> None:
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LONG_NICENESS)
        try:
            items = self._produce()
            try:
                self._drive(items)
            finally:
                cast("Any", items).close()
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            self._deliver(None, error)
        else:
            self._deliver(None, StopIteration())

    def _drive(self, items: Iterator[Item]) -> None:
        begun_ns = self._clock.thread_cpu_ns()
        for item in items:
            self._room.acquire()
            if self._is_stopped.is_set():
                return
            self._deliver(item, None)
            worked_ns = self._clock.thread_cpu_ns() - begun_ns
            if self._is_stopped.wait(worked_ns * _REST_FACTOR / 1e9):
                return
            begun_ns = self._clock.thread_cpu_ns()

    def _deliver(self, item: Item | None, error: BaseException | None) -> None:
        # The loop may have gone with the node.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, (item, error))

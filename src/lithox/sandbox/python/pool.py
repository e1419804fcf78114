"""Where do workers come from, and how many may there be?

Starting a process takes 20 ms, so it is never done on the event loop: a thread of the pool makes
workers ahead and buries those that are dropped. A short run takes an idle worker and gives it back;
one that outlives its first slice keeps its worker, and another takes that one's place here.

An idle worker already holds the image it served last, loaded again while nobody waited.

Who may hold how many: an account takes a further worker only while fewer of it are at work than
are free, which halves what is left for each next account and soon leaves none. So one more thing
holds: whoever has none gets one, in `FIRST_MAX` places nobody else can take. Guests for which
others wait are refused instead of waiting, from a share of their own.

Invariants: guests hold at most `workers_max`, a quarter of that for nested ones, and `first_max`
workers; nothing is started before the first `take` or `warm`; the thread lives as long as its
workers, because they die with it.

Source of the bound by what is free: Choudhury and Hahne, "Dynamic queue length thresholds for
shared-memory packet switches", 1998.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

from lithox.errors import Overloaded
from lithox.sandbox.python.wire import RESET, encode_load
from lithox.sandbox.python.worker import Worker

WORKERS_MAX: Final = 256
"""Workers that guests hold at once; each takes about 2 MiB of its own besides what the run uses."""
IDLE_MAX: Final = 8
READY_MAX: Final = (os.cpu_count() or 1) + 2
"""Workers that are started beside those whose runs last: more could not run at once."""
RUNS_MAX: Final = 2000
"""Sessions after which a worker is replaced, so that what it may have lost is bounded."""
IDLE_BYTES_MAX: Final = 32 << 20
"""A worker that has grown beyond that is not kept."""
NESTED_SHARE: Final = 4
"""Of the workers one part in so many comes on top for nested guests; and an account's nested guests
leave one part in so many of what the other accounts do not hold."""
FIRST_MAX: Final = 64
"""Workers beyond those: accounts that hold none and get one although all others are held."""
RETRY_AFTER_MS: Final = 200


class Image(NamedTuple):
    """A session that has loaded a module, as a worker has dumped it."""

    digest: str
    memory_bytes_max: int
    state: bytes


class Held:
    """A worker in the pool's care, and what it holds.

    Attributes:
        worker: the process.
        image: what its session was loaded from; None: it has no session.
        owed: answers to requests that were sent ahead and that nobody has read.
        is_long: its run has outlived a slice or waits for another: it will not come back soon.
    """

    __slots__ = ("image", "is_long", "owed", "worker")

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.image: Image | None = None
        self.owed = 0
        self.is_long = False

    def load(self, image: Image | None) -> None:
        """Sends ahead what makes it hold `image`; None: no session at all."""
        if self.image is not None:
            self.worker.send(RESET)
            self.owed += 1
        self.image = image
        if image is not None:
            self.worker.send(encode_load(image.state))
            self.owed += 1


class WorkerPool:
    """The workers of one engine. `take`, `give`, `drop` are for any thread.

    Attributes:
        made: workers started.
        lost: workers that were dropped.
    """

    def __init__(
        self,
        make: Callable[[], Worker],
        *,
        workers_max: int = WORKERS_MAX,
        first_max: int = FIRST_MAX,
        idle_max: int = IDLE_MAX,
    ) -> None:
        """Starts nothing yet.

        Args:
            make: starts a worker; raises OSError.
            workers_max: workers guests hold at once.
            first_max: workers beyond, for accounts that hold none.
            idle_max: workers kept for reuse.
        """
        self._make = make
        self._workers_max = workers_max
        self._nested_max = workers_max + workers_max // NESTED_SHARE
        self._first_max = self._nested_max + first_max
        self._idle_max = idle_max
        self._idle: list[Held] = []
        self._starting = 0
        self._live = 0
        self._long = 0
        self._held: Counter[str] = Counter()
        self._in_use = 0
        self._changed = threading.Condition()
        self._orders: SimpleQueue[Worker | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._has_ended = False
        """Its thread is no more: whoever drops a worker now waits for its end himself."""
        self.problem = ""
        self.made = 0
        self.lost = 0

    def reserve(self, account: str) -> bool:
        """Counts one more guest of `account`, after which `release` must follow.

        Returns:
            False when it must wait: the account holds as many as are free, or it holds none and so
            many accounts have got their first one beyond the maximum that this is full, too.
        """
        with self._changed:
            held = self._held.get(account, 0)
            is_first = held == 0 and self._in_use < self._first_max
            if not is_first and held >= self._workers_max - self._in_use:
                return False
            self._count(account)
            return True

    def _count(self, account: str) -> None:
        self._in_use += 1
        self._held[account] += 1

    def reserve_nested(self, account: str) -> None:
        """Counts one more guest for which another one waits that holds a worker.

        It is never made to wait, for those that hold workers could all wait for each other. Its
        account may hold all but a quarter of what the others leave of the workers and a quarter
        more; who holds one only gets the second where accounts get their first.

        Raises:
            Overloaded: that is used up.
        """
        with self._changed:
            held = self._held.get(account, 0)
            left_by_others = self._nested_max - (self._in_use - held)
            has_room = self._in_use < self._nested_max and (
                held < left_by_others - left_by_others // NESTED_SHARE
            )
            if not has_room and (held > 1 or self._in_use >= self._first_max):
                raise Overloaded(
                    f"{self._in_use} Python workers are at work, {held} of them for this account; "
                    "try again",
                    retry_after_ms=RETRY_AFTER_MS,
                )
            self._count(account)

    def release(self, account: str) -> None:
        """Counts one guest less."""
        with self._changed:
            self._in_use -= 1
            self._held[account] -= 1
            if not self._held[account]:
                del self._held[account]
            self._changed.notify()

    def take(self, image: Image | None) -> Held | None:
        """Returns an idle worker that holds `image`; None when one must be waited for."""
        with self._changed:
            while self._idle:
                number = next((n for n, one in enumerate(self._idle) if one.image is image), 0)
                held = self._idle.pop(number)
                if not held.worker.is_alive():
                    self._bury(held)
                    continue
                if held.image is not image:
                    held.load(image)
                return held
            self._order()
            return None

    def wait_for_share(self, timeout_s: float) -> None:
        """Returns when a share may have become free, or when the time is over. Blocks."""
        with self._changed:
            self._changed.wait(timeout_s)

    def wait(self, timeout_s: float) -> None:
        """Returns when a worker may have come, or when the time is over. Blocks."""
        with self._changed:
            if not self._idle:
                self._order()
                self._changed.wait(timeout_s)

    def warm(self) -> None:
        """Has workers started where there are few, without waiting for them."""
        with self._changed:
            self._order()

    def note_long(self, held: Held, *, is_long: bool) -> None:
        """A run will not give its worker back soon: a fresh one takes its place; or it will."""
        with self._changed:
            self._mark(held, is_long=is_long)
            self._order()

    def _mark(self, held: Held, *, is_long: bool) -> None:
        if held.is_long is not is_long:
            held.is_long = is_long
            self._long += 1 if is_long else -1

    def _order(self) -> None:
        """Orders workers until there are `READY_MAX` beside those that do not come back soon.

        Not one for each run that waits: a burst of short runs is served by a few, one after
        another, while starting a worker takes as long as ten runs.
        """
        while self._live + self._starting - self._long < READY_MAX and not self._is_closed:
            if not self._has_thread():
                return
            self._starting += 1
            self._orders.put(None)

    def _has_thread(self) -> bool:
        """Returns whether the pool's thread runs; tries to start it and tells why it cannot."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="lithox-python-workers", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                self.problem = str(error)
                return False
            self._thread = thread
        return True

    def give(self, held: Held) -> None:
        """Takes back a worker whose run has ended well; it holds its image again."""
        worker = held.worker
        worker.runs += 1
        with self._changed:
            self._mark(held, is_long=False)
        if worker.runs < RUNS_MAX and worker.memory_bytes() <= IDLE_BYTES_MAX:
            held.load(held.image)
            with self._changed:
                if len(self._idle) < self._idle_max and not self._is_closed:
                    self._idle.append(held)
                    self._changed.notify()
                    return
        self.drop(held)

    def drop(self, held: Held) -> None:
        """Ends a worker, whatever it does. Never blocks while the pool is open."""
        with self._changed:
            self._bury(held)

    def _bury(self, held: Held) -> None:
        self._mark(held, is_long=False)
        self._live -= 1
        self.lost += 1
        held.worker.kill()
        if self._has_ended:
            held.worker.reap()
        else:
            self._orders.put(held.worker)

    def _work(self) -> None:
        """The pool's thread: makes a worker per order, buries those that come along."""
        while True:
            worker = self._orders.get()
            if worker is not None:
                worker.reap()
            elif not self._is_closed:
                self._start_one()
            with self._changed:
                # What `close` orders, it orders under the lock; a worker that was being started
                # then is ordered to be buried behind that.
                if self._is_closed and self._orders.empty():
                    self._has_ended = True
                    return

    def _start_one(self) -> None:
        worker: Worker | None = None
        try:
            worker = self._make()
            self.problem = ""
        except OSError as error:
            self.problem = str(error)
        with self._changed:
            self._starting -= 1
            if worker is not None:
                self.made += 1
                self._live += 1
                held = Held(worker)
                if self._is_closed:
                    self._bury(held)
                else:
                    self._idle.append(held)
            self._changed.notify_all()

    def statistics(self) -> dict[str, Any]:
        """Returns workers at work, idle, made and lost, and bytes of the idle ones."""
        with self._changed:
            return {
                "live_guests": self._in_use,
                "idle_guests": len(self._idle),
                "idle_bytes": sum(one.worker.memory_bytes() for one in self._idle),
                "made_guests": self.made,
                "lost_guests": self.lost,
            }

    def close(self) -> None:
        """Ends all idle workers; others end as they are dropped. Blocks: until they are gone."""
        with self._changed:
            self._is_closed = True
            idle, self._idle = self._idle, []
            for held in idle:
                held.worker.kill()
                self._orders.put(held.worker)
            self._orders.put(None)
            if self._thread is None:
                self._has_ended = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None

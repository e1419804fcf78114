"""The demo's load: records fed through many connections, and tenants who only get in the way.

A record is *acknowledged* when its answer has come. When the node is killed, the records in
flight are *unsure*: they may or may not be there. They are sent again with the same request id.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from demo_http import Connection, Door, GoneError, Reply
from demo_records import Record

RETRIES_MAX: Final = 50
PASSING: Final = frozenset({"transaction.conflict", "request.overloaded", "guest.out_of_wall"})
"""Ends of a run that others have caused: it left nothing, and the same id may run again."""
RETRY_AFTER_S: Final = 0.02
"""What `transaction.conflict` and `request.overloaded` suggest, when they suggest nothing."""


class RefusedError(Exception):
    """The node answered a record with an error that a retry does not mend."""


@dataclass(slots=True)
class Segment:
    """What was measured while one condition held."""

    name: str
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list[float])
    retries: int = 0

    @property
    def count(self) -> int:
        return len(self.latencies_ms)

    @property
    def per_second(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Returns the latency in ms that `share` of the answers did not exceed."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Feeder:
    """Feeds records to a node and remembers which were acknowledged."""

    def __init__(self, *, connections: int, on_progress: Callable[[int], None]) -> None:
        self._connections = connections
        self._on_progress = on_progress
        self.acknowledged: list[Record] = []
        self.unsure: list[Record] = []
        self.unsure_sent = 0
        """So many of `unsure`, from its front, had been sent; the others wait for their turn."""

    async def feed(
        self,
        door: Door,
        records: Iterable[Record],
        name: str,
        *,
        on_count: tuple[int, Callable[[], None]] | None = None,
    ) -> Segment:
        """Sends `records`, each until it is acknowledged; returns what was measured.

        Args:
            on_count: (n, action): calls `action` once n of these records are acknowledged. The
                action may kill the node; then the records not sent yet are put into `unsure` too.

        Raises:
            RefusedError: a record was refused for good.
        """
        waiting = deque(records)
        segment = Segment(name)
        began = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._connections):
                    group.create_task(self._work(door, waiting, segment, on_count))
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        segment.seconds = time.perf_counter() - began
        self.unsure_sent = len(self.unsure)
        self.unsure.extend(waiting)
        return segment

    async def _work(
        self,
        door: Door,
        waiting: deque[Record],
        segment: Segment,
        on_count: tuple[int, Callable[[], None]] | None,
    ) -> None:
        record: Record | None = None
        with contextlib.suppress(GoneError):
            connection = await Connection.open(door)
            while waiting:
                record = waiting.popleft()
                began = time.perf_counter()
                await self._send(connection, record, segment)
                segment.latencies_ms.append((time.perf_counter() - began) * 1e3)
                self.acknowledged.append(record)
                record = None
                self._on_progress(1)
                if on_count is not None and segment.count == on_count[0]:
                    on_count[1]()
            connection.close()
        if record is not None:
            self.unsure.append(record)

    async def _send(self, connection: Connection, record: Record, segment: Segment) -> Reply:
        """Asks until the answer is a value; what passes is tried again."""
        target = f"dist/{record.dist}:record"
        args = [record.path, record.content, record.size]
        for _ in range(RETRIES_MAX):
            reply = await connection.ask(target, args, record.request_id)
            if reply.http_status == 200:
                return reply
            answer = reply.decode()
            if answer["status"] not in PASSING:
                raise RefusedError(f"{record.dist}/{record.path}: {answer}")
            segment.retries += 1
            pause_ms = answer["error"].get("retry_after_ms")
            await asyncio.sleep(RETRY_AFTER_S if pause_ms is None else pause_ms / 1e3)
        raise RefusedError(f"{record.dist}/{record.path}: no value after {RETRIES_MAX} tries")


class Nuisance:
    """Callers of a handler that never ends well; counts what they get, by error code."""

    def __init__(self, target: str, *, callers: int) -> None:
        self._target = target
        self._callers = callers
        self._tasks: list[asyncio.Task[None]] = []
        self.codes: Counter[str] = Counter()

    def start(self, door: Door) -> None:
        """Begins to call, again and again, on connections of its own."""
        self._tasks = [asyncio.create_task(self._call(door)) for _ in range(self._callers)]

    async def stop(self) -> None:
        """Stops calling. The runs that were asked for end by their own limits. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _call(self, door: Door) -> None:
        connection: Connection | None = None
        try:
            connection = await Connection.open(door)
            while True:
                reply = await connection.ask(self._target, [])
                self.codes[reply.decode()["status"]] += 1
        except GoneError:
            return
        finally:
            if connection is not None:
                connection.close()

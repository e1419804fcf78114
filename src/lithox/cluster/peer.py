"""The end that asks: requests for what another process owns, and answers for who waits for them.

    DOWN   nothing is connected: requests are answered StoreUnavailable at once; tried again soon
    UP     requests leave; each gets one answer
    LEFT   closed by us: as DOWN, for good

Invariants: every request gets exactly one answer. When the link is lost all that is under way is
answered StoreUnavailable, since nobody here knows whether it was done: the same request id tells.
At most `IN_FLIGHT_MAX` requests and `IN_FLIGHT_BYTES_MAX` bytes, of questions too, are under way;
the next is Overloaded. Questions that wait for something to happen have a bound of their own, so
that they never take the place of those that are answered at once. A process that takes nothing and
says nothing for `SILENT_S_MAX` is given up. What somebody who is told raises is logged, and neither
ends the link nor keeps the others from being told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lithox.cluster.connection import Connection
from lithox.cluster.wire import (
    ANSWER,
    TOLD,
    decode_answer,
    encode_ask,
    encode_request,
    unpack_error,
)
from lithox.dispatch.job import OnAnswer
from lithox.errors import LithoxError, Overloaded, PeerProtocolError, StoreUnavailable
from lithox.model.request import Answer, Request

IN_FLIGHT_MAX: Final = 16_384
IN_FLIGHT_BYTES_MAX: Final = 64 << 20
ASKED_MAX: Final = 4_096
"""Questions under way, those that wait among them; as many as the other side answers at once."""
WAITS_MAX: Final = 3_072
"""Questions that wait for something to happen; the rest of `ASKED_MAX` is left to the others."""
PING: Final = "ping"
PING_S: Final = 3.0
SILENT_S_MAX: Final = 15.0
"""Above what a node's loop may be away for (a long checkpoint, a swapped machine)."""
RETRY_S: Final = 0.05
REFUSED_S_MAX: Final = 5.0
"""Between two tries where links end before anything was heard; doubles from `RETRY_S` to this."""
RETRY_AFTER_MS: Final = 500
"""Told to callers; a process is there again within one to two seconds."""
_log: Final = logging.getLogger("lithox.cluster")


class Peer:
    """The link to one other process. Every method is called on the loop's thread; none blocks."""

    def __init__(
        self,
        volume: int,
        path: Path,
        *,
        monotonic_ns: Callable[[], int],
        on_up: Callable[[int], None] | None = None,
        silent_s_max: float = SILENT_S_MAX,
    ) -> None:
        """Connects nothing yet.

        Args:
            volume: the volume the other process owns.
            path: its socket.
            monotonic_ns: the node's clock, by which deadlines are told.
            on_up: told the volume when it has been connected to.
            silent_s_max: how long it may say nothing before it is given up.
        """
        self.volume: Final = volume
        self._path = path
        self._monotonic_ns = monotonic_ns
        self._on_up = on_up
        self._silent_s_max = silent_s_max
        self._connection: Connection | None = None
        self._number = 0
        self._waiting: dict[int, tuple[OnAnswer, int]] = {}
        self._waiting_bytes = 0
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._keeping: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._waits = 0
        self._heard_s = 0.0
        self._has_heard = False
        self._up = asyncio.Event()
        self._losses: set[Callable[[], None]] = set()

    @property
    def is_up(self) -> bool:
        """Whether requests leave."""
        return self._connection is not None

    @property
    def under_way(self) -> int:
        """Requests that have no answer yet."""
        return len(self._waiting)

    def start(self) -> None:
        """Connects, and connects again whenever it is lost. Idempotent."""
        if self._keeping is None:
            self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def wait_up(self) -> None:
        """Returns when requests leave."""
        await self._up.wait()

    def watch_loss(self, on_loss: Callable[[], None]) -> Callable[[], None]:
        """Has `on_loss` called whenever the link is lost or given up; returns what ends that."""
        self._losses.add(on_loss)
        return lambda: self._losses.discard(on_loss)

    async def stop(self) -> None:
        """Leaves for good; what is under way is answered StoreUnavailable."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        self._drop()

    def send(self, request: Request, on_answer: OnAnswer) -> None:
        """Hands a request over; `on_answer` is called exactly once, perhaps before this returns."""
        connection = self._connection
        if connection is None:
            on_answer(Answer(request_id=request.request_id, error=self._unavailable()))
            return
        if len(self._waiting) >= IN_FLIGHT_MAX or self._waiting_bytes >= IN_FLIGHT_BYTES_MAX:
            on_answer(Answer(request_id=request.request_id, error=self._overloaded()))
            return
        self._number += 1
        try:
            item = encode_request(self._number, request, self._monotonic_ns())
        except Exception as error:  # noqa: BLE001 - every request gets its answer
            on_answer(Answer(request_id=request.request_id, error=error))
            return
        self._waiting[self._number] = (on_answer, len(item))
        self._waiting_bytes += len(item)
        connection.put(item)

    async def ask(self, name: str, payload: Any = None, *, is_wait: bool = False) -> Any:
        """Returns the other process's answer to a question (`cluster/hearing.py`).

        Args:
            name: of the question.
            payload: plain data.
            is_wait: the answer waits for something to happen; bounded by `WAITS_MAX`.

        Raises:
            StoreUnavailable: it cannot be reached, or was lost before it answered.
            Overloaded: as many questions wait as may.
            LithoxError: what the other process raised.
        """
        connection = self._connection
        if connection is None:
            raise self._unavailable()
        if len(self._asked) >= ASKED_MAX or self._waiting_bytes >= IN_FLIGHT_BYTES_MAX:
            raise self._overloaded()
        if is_wait and self._waits >= WAITS_MAX:
            raise Overloaded(
                f"{WAITS_MAX} wait for outcomes at the process that owns volume {self.volume}; "
                "try again, or ask without waiting",
                retry_after_ms=RETRY_AFTER_MS,
            )
        self._number += 1
        number = self._number
        item = encode_ask(number, name, payload)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._waits += is_wait
        self._waiting_bytes += len(item)
        connection.put(item)
        try:
            return await future
        finally:
            self._asked.pop(number, None)
            self._waits -= is_wait
            self._waiting_bytes -= len(item)

    # The life of the link.

    async def _keep(self) -> None:
        pause_s = RETRY_S
        while True:
            try:
                is_met = await self._keep_once()
            except Exception:  # noqa: BLE001 - this loop may not end
                # A link that is not tried again would be lost until the process ends.
                _log.exception("the link to process %d failed by a fault of our own", self.volume)
                is_met = True
            pause_s = min(2 * pause_s, REFUSED_S_MAX) if is_met else RETRY_S
            await asyncio.sleep(pause_s)

    async def _keep_once(self) -> bool:
        """Connects once and stays until the link is lost.

        Returns:
            Whether somebody was there and nothing was heard of him: he refuses us, or we him.
        """
        loop = asyncio.get_running_loop()
        self._lost.clear()
        self._has_heard = False
        try:
            await loop.create_unix_connection(self._make, str(self._path))
        except OSError:
            return False
        try:
            await self._watch(loop)
        finally:
            self._drop()
        return not self._has_heard

    def _make(self) -> Connection:
        return Connection(
            on_items=self._take, on_open=self._begin, on_lost=lambda _: self._lost.set()
        )

    def _begin(self, connection: Connection) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        self._connection = connection
        self._up.set()
        if self._on_up is not None:
            self._call(self._on_up, self.volume)

    async def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Returns when the link is lost, or the other side has been silent for too long."""
        if self._connection is None:
            return
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(PING_S):
                    await self._lost.wait()
            except TimeoutError:
                if loop.time() - self._heard_s > self._silent_s_max:
                    _log.error(
                        "process %d of this server says nothing; its link is given up", self.volume
                    )
                    return
                if self._connection is not None:
                    self._connection.put(encode_ask(0, PING, None))

    def _take(self, _connection: Connection, items: list[list[Any]]) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        self._has_heard = True
        for item in items:
            if len(item) < 2 or type(item[1]) is not int:
                raise PeerProtocolError("an item without a number")
            if item[0] == ANSWER:
                self._take_answer(item)
            elif item[0] == TOLD:
                self._take_told(item)
            else:
                raise PeerProtocolError(f"an item of kind {item[0]!r:.40} where answers are")

    def _take_answer(self, item: list[Any]) -> None:
        answer = decode_answer(item)
        found = self._waiting.pop(item[1], None)
        if found is None:
            raise PeerProtocolError(f"an answer nobody waits for: {item[1]!r:.40}")
        on_answer, size = found
        self._waiting_bytes -= size
        self._call(on_answer, answer)

    def _take_told(self, item: list[Any]) -> None:
        try:
            _, number, error, payload = item
            failure = None if error is None else unpack_error(error)
        except (ValueError, TypeError):
            raise PeerProtocolError("the answer to a question cannot be read") from None
        future = self._asked.pop(number, None)
        if future is None or future.done():
            return
        if failure is None:
            future.set_result(payload)
        else:
            future.set_exception(failure)

    def _drop(self) -> None:
        """Answers all that is under way: the link is gone."""
        connection, self._connection = self._connection, None
        self._up.clear()
        if connection is not None:
            connection.close()
        waiting, self._waiting = self._waiting, {}
        for on_answer, size in waiting.values():
            self._waiting_bytes -= size
            self._call(on_answer, Answer(error=self._lost_error()))
        asked, self._asked = self._asked, {}
        for future in asked.values():
            if not future.done():
                future.set_exception(self._lost_error())
        for on_loss in list(self._losses):
            self._call(on_loss)

    def _call(self, told: Callable[..., None], *what: Any) -> None:
        """Tells somebody; what he raises is his own fault, and no other's loss."""
        try:
            told(*what)
        except Exception:  # noqa: BLE001 - whatever it is
            _log.exception("what process %d said could not be told", self.volume)

    def _unavailable(self) -> LithoxError:
        return StoreUnavailable(
            f"the process that owns volume {self.volume} is not there; it is started again: try "
            "again",
            retry_after_ms=RETRY_AFTER_MS,
        )

    def _lost_error(self) -> LithoxError:
        return StoreUnavailable(
            f"the process that owns volume {self.volume} ended before it answered; whether the run "
            "committed is not known here: ask again with the same request id",
            retry_after_ms=RETRY_AFTER_MS,
        )

    def _overloaded(self) -> LithoxError:
        return Overloaded(
            f"{IN_FLIGHT_MAX} requests or {IN_FLIGHT_BYTES_MAX >> 20} MiB are under way to the "
            f"process that owns volume {self.volume}; try again",
            retry_after_ms=RETRY_AFTER_MS,
        )

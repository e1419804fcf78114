"""Several transactions on their way at once over one connection; their results in order.

libpq's pipeline mode, used directly: psycopg's own waits for everything that was sent before it
gives anything back, so the server would be idle while this node makes its next batch ready. It also
costs a tenth of the processor time. While nothing is on its way the connection can be used as usual
after `leave`.

A segment is what lies between two syncs. After an error the server skips the rest of its segment; a
transaction begun in it stays failed, so a segment behind it that begins another fails as well.
"""

from __future__ import annotations

import re
import select
import time
from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import Final

import psycopg
from psycopg import pq

from lithox.store.postgres.arrays import Packed
from lithox.store.postgres.connections import Connection

_PLACE: Final = re.compile(r"%b")
_LOOK_S: Final = 0.5
"""How often a wait looks whether it has become pointless."""


class Pipeline:
    """Segments over one connection. Used by one thread."""

    def __init__(self, connection: Connection, *, wake: int) -> None:
        """Begins outside pipeline mode.

        Args:
            connection: autocommit; nobody else uses it while segments are on their way.
            wake: file descriptor; when something can be read from it, `receive` returns early.
        """
        self._pgconn = connection.pgconn
        self._wake = wake
        self._names: dict[str, bytes] = {}
        self._fresh: list[str] = []
        self._numbers = count()
        self._error: psycopg.Error | None = None
        self._is_entered = False
        self._heeded: deque[bool] = deque()
        """For each segment on its way whether anybody hears of its end."""
        self._prepared: deque[list[str]] = deque()
        """For each of them the statements it is the first to use."""

    def send(self, text: str, values: Sequence[Packed] = ()) -> None:
        """Adds a statement to the segment; `%b` stands for each of `values`.

        Raises:
            psycopg.OperationalError: the connection is lost.
        """
        pgconn = self._pgconn
        if not self._is_entered:
            pgconn.nonblocking = 1
            pgconn.enter_pipeline_mode()
            self._is_entered = True
        name = self._names.get(text)
        if name is None:
            # A name is used once: whether a failed segment has prepared it is not known.
            name = b"lithox_%d" % next(self._numbers)
            places = count(1)
            command = _PLACE.sub(lambda _: f"${next(places)}", text).encode()
            pgconn.send_prepare(name, command, [value.oid for value in values])
            self._names[text] = name
            self._fresh.append(text)
        pgconn.send_query_prepared(
            name,
            [value.data for value in values],
            [pq.Format.BINARY] * len(values),
            pq.Format.BINARY,
        )

    def sync(self, *, is_heeded: bool = True) -> None:
        """Ends the segment and sends all of it. Blocks while the network takes no more.

        Args:
            is_heeded: whether `receive` returns or raises what it came to; else nobody hears of it.
        """
        self._pgconn.pipeline_sync()
        self._heeded.append(is_heeded)
        self._prepared.append(self._fresh)
        self._fresh = []
        while self._pgconn.flush():
            readable, _, _ = select.select(
                [self._pgconn.socket], [self._pgconn.socket], [], _LOOK_S
            )
            if readable:
                self._pgconn.consume_input()

    def receive(self, give_up_at: float | None) -> bool:
        """Waits for the oldest heeded segment; False if it was woken before that is done.

        Args:
            give_up_at: monotonic seconds after which a silent server counts as lost; or None.

        Raises:
            psycopg.Error: what the server refused the segment with, or that it is lost.
        """
        pgconn = self._pgconn
        while True:
            while pgconn.is_busy():
                if pgconn.status == pq.ConnStatus.BAD:
                    raise psycopg.OperationalError("the connection is lost")
                if give_up_at is not None and time.monotonic() > give_up_at:
                    raise psycopg.OperationalError("the server does not answer")
                readable, _, _ = select.select([pgconn.socket, self._wake], [], [], _LOOK_S)
                if pgconn.socket in readable:
                    pgconn.consume_input()
                elif readable:
                    return False
            result = pgconn.get_result()
            if result is None:
                if pgconn.status == pq.ConnStatus.BAD:
                    raise psycopg.OperationalError("the connection is lost")
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                if self._end_segment():
                    return True
                continue
            if result.status == pq.ExecStatus.FATAL_ERROR and self._error is None:
                self._error = psycopg.errors.error_from_result(result)

    def leave(self) -> None:
        """Waits for whatever is on its way, then lets the connection be used as usual.

        Raises:
            psycopg.OperationalError: the connection is lost.
        """
        while self._heeded:
            self._heeded[-1] = True  # The last one ends the wait.
            try:
                self.receive(None)
            except psycopg.Error:
                if self._pgconn.status == pq.ConnStatus.BAD:
                    raise
        if self._is_entered:
            self._pgconn.exit_pipeline_mode()
            self._pgconn.nonblocking = 0
            self._is_entered = False

    def _end_segment(self) -> bool:
        """Ends the oldest segment; returns whether it is heeded, raises its error if so."""
        is_heeded = self._heeded.popleft()
        error, self._error = self._error, None
        prepared = self._prepared.popleft()
        if error is not None:
            # Only what this one prepared: the end of another says nothing of it.
            for text in prepared:
                self._names.pop(text, None)
        if error is not None and is_heeded:
            raise error
        return is_heeded

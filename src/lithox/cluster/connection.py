"""One Unix-socket connection between two processes of a server: items in, items out.

Both ends use it: the one that asks (`peer.py`) and the one that answers (`hearing.py`). What is put
in during one turn of the loop is written once, at its end. Invariants: only a process of our own
user speaks here; what waits to be written is bounded by whoever puts it in, by `waiting_bytes`;
after `close` or a loss nothing is delivered any more and `on_lost` has been called once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, cast

from lithox.cluster.frames import FrameReader, make_frames
from lithox.errors import PeerProtocolError

WRITE_BYTES_HIGH: Final = 1 << 20
"""Bytes the transport may hold; beyond it items wait here."""
_CREDENTIALS: Final = struct.Struct("3i")
"""`struct ucred` of Linux: pid, uid, gid."""
_log: Final = logging.getLogger("lithox.cluster")


class Connection(asyncio.Protocol):
    """One end of a connection. Blocks: no; used on the loop's thread."""

    def __init__(
        self,
        *,
        on_items: Callable[[Connection, list[list[Any]]], None],
        on_open: Callable[[Connection], None] | None = None,
        on_lost: Callable[[Connection], None] | None = None,
    ) -> None:
        """Waits for its transport.

        Args:
            on_items: told the items of whole frames, in order; what it raises as
                PeerProtocolError ends the connection.
            on_open: told once the other side is known to be of our own user.
            on_lost: told once, when nothing comes any more; only after `on_open`.
        """
        self._on_items = on_items
        self._on_open = on_open
        self._on_lost = on_lost
        self._reader = FrameReader()
        self._items: list[bytes] = []
        self._items_bytes = 0
        self._is_paused = self._is_flushing = self._is_open = False
        self._is_stopped = False
        self._go_on_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were put in and that the other side has not taken from us."""
        transport = self._transport
        held = 0 if transport is None else transport.get_write_buffer_size()
        return self._items_bytes + held

    def put(self, item: bytes) -> None:
        """Sends an encoded item at the end of this turn of the loop; drops it after a loss."""
        if not self._is_open:
            return
        self._items.append(item)
        self._items_bytes += len(item)
        if not self._is_flushing and not self._is_paused:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def pause_until(self, waiting_bytes: int) -> None:
        """Takes nothing from the other side until no more than `waiting_bytes` wait for it."""
        if self._is_open and self._transport is not None and not self._is_stopped:
            self._is_stopped = True
            self._go_on_bytes = waiting_bytes
            self._transport.pause_reading()

    def close(self) -> None:
        """Ends the connection at once; what was not written is lost."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no instances of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        if not is_own_user(self._transport):
            _log.error("a process of another user spoke on this node's own socket; refused")
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=WRITE_BYTES_HIGH)
        self._is_open = True
        if self._on_open is not None:
            self._on_open(self)

    def data_received(self, data: bytes) -> None:
        if not self._is_open:
            return
        try:
            items = self._reader.feed(data)
            if items:
                self._on_items(self, items)
        except PeerProtocolError as error:
            _log.error("the link to another process of this server is broken off: %s", error)
            self.close()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._items:
            self._flush()
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._end()

    def _flush(self) -> None:
        self._is_flushing = False
        if self._is_paused or not self._items or self._transport is None or not self._is_open:
            return
        items, self._items, self._items_bytes = self._items, [], 0
        self._transport.write(b"".join(make_frames(items)))
        self._go_on()

    def _go_on(self) -> None:
        """Reads again what was left because too much waited to be written."""
        if self._is_stopped and self.waiting_bytes <= self._go_on_bytes and self._transport:
            self._is_stopped = False
            self._transport.resume_reading()

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._items, self._items_bytes = [], 0
            if self._on_lost is not None:
                self._on_lost(self)


def is_own_user(transport: asyncio.BaseTransport) -> bool:
    """Returns whether the other end of a Unix socket is a process of our own user."""
    found = transport.get_extra_info("socket")
    option = getattr(socket, "SO_PEERCRED", None)
    if found is None or option is None:
        return False
    raw: bytes = found.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return uid == os.geteuid()

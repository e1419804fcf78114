"""One connection to a node that carries the calls of thousands: RESP, each call with a tag.

Theory of operation. What callers ask in one turn of the event loop leaves in one write. Every
command begins with `TAG number`, so its answer comes as a push with that number as soon as it is
there: a slow run holds up nobody else's, and a caller who has gone leaves no gap. The connection is
made when it is first asked for and, when it broke, when it is asked for again; nothing is sent
twice.

Invariants: every waiter is answered, or told why not: when its time is over, when the connection
ends, when the link is closed. Waiters are at most `WAITING_MAX`; unsent bytes are bounded by the
transport's high-water mark and one turn's commands, since callers wait while it is above.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis
import msgspec

from lithox.errors import (
    BadArguments,
    LithoxError,
    Overloaded,
    PeerProtocolError,
    PeerUnreachable,
    TooLarge,
    rebuild,
)

WAITING_MAX: Final = 65_536
ANSWER_BYTES_MAX: Final = 64 << 20
"""Of bytes that are no whole answer: more than any run may say."""
CONNECT_SECONDS_MAX: Final = 10.0
SWEEP_SECONDS: Final = 1.0
WRITE_BUFFER_BYTES: Final = 1 << 20
_RETRY_AFTER_MS: Final = 1_000
_Reader: Final = cast("Any", hiredis).Reader
_pack: Final = cast("Callable[[tuple[Any, ...]], bytes]", cast("Any", hiredis).pack_command)
"""hiredis has no types of its own."""


class Told(msgspec.Struct):
    """An answer as the node packs it."""

    status: str
    request: str | None = None
    value: Any = None
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None


def _refuse_extension(code: int, _data: memoryview) -> Any:
    raise ValueError(f"extension type {code} is not a plain value")


_decode: Final = msgspec.msgpack.Decoder(Told, ext_hook=_refuse_extension).decode
Waiter = tuple["asyncio.Future[Told]", float]
"""Who waits, and until when by the loop's clock."""


class Link:
    """The connection of one client, opened when needed. Blocks: no.

    Args:
        host, port: where the node listens.
        token: who speaks, or None.
        answer_seconds_max: how long an answer may take.
    """

    def __init__(
        self, host: str, port: int, *, token: str | None, answer_seconds_max: float
    ) -> None:
        self.url = f"lithox://{f'[{host}]' if ':' in host else host}:{port}"
        self._place = (host, port)
        self._token = token
        self._answer_seconds_max = answer_seconds_max
        self._wires: _Connection | None = None
        self._opening = asyncio.Lock()
        self._is_open = False

    def open(self) -> None:
        """Allows to connect."""
        self._is_open = True

    async def close(self) -> None:
        """Ends the connection; who waits is told so. Idempotent."""
        self._is_open = False
        connection, self._wires = self._wires, None
        if connection is not None:
            connection.end("the client was closed")

    async def ask(self, words: Sequence[str | bytes | int]) -> Told:
        """Does one command and returns its answer.

        Args:
            words: a command that may stand behind TAG.

        Raises:
            Overloaded: `WAITING_MAX` callers wait; nothing was sent.
            TooLarge: longer than the node takes; nothing was sent.
            PeerUnreachable: no connection, or no answer in time: whether it ran is not known.
            PeerProtocolError: what answers is no node.
            Unauthenticated: the node does not know the token; nothing was sent.
        """
        connection = self._wires
        if connection is None or connection.is_ended:
            connection = await self._connect()
        elif connection.is_stuffed:
            await connection.writable.wait()
        return await connection.ask(words)

    async def _connect(self) -> _Connection:
        async with self._opening:
            if not self._is_open:
                raise BadArguments("the client is not open: use it with 'async with'")
            found = self._wires
            if found is not None and not found.is_ended:
                return found
            connection = _Connection(self.url, self._answer_seconds_max)
            loop = asyncio.get_running_loop()
            host, port = self._place
            try:
                async with asyncio.timeout(CONNECT_SECONDS_MAX):
                    await loop.create_connection(lambda: connection, host, port)
                    await connection.greet(self._token)
            except TimeoutError:
                connection.end("it did not answer in time")
                raise _unreachable(self.url, "it did not answer in time") from None
            except OSError as error:
                raise _unreachable(self.url, error.strerror or str(error)) from None
            except BaseException:
                connection.end("the greeting failed")
                raise
            if not self._is_open:
                connection.end("the client was closed")
                raise _unreachable(self.url, "the client was closed")
            self._wires = connection
            return connection


class _Connection(asyncio.Protocol):
    """One connection, from its first byte to its last."""

    def __init__(self, url: str, answer_seconds_max: float) -> None:
        self.is_ended = self.is_stuffed = False
        self.writable = asyncio.Event()
        self.writable.set()
        self._url = url
        self._answer_seconds_max = answer_seconds_max
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = _Reader()
        self._partial_bytes = 0
        self._waiting: dict[int, Waiter] = {}
        """By tag, in the order of their times."""
        self._last_tag = 0
        self._command_bytes_max = 0
        self._outgoing: list[bytes] = []
        self._greeting: asyncio.Future[None] = self._loop.create_future()
        self._sweeper: asyncio.TimerHandle | None = None

    # -- for the link -------------------------------------------------------------------------

    async def greet(self, token: str | None) -> None:
        """Chooses the version of the protocol and says who speaks."""
        words = ("HELLO", 3) if token is None else ("HELLO", 3, "AUTH", "default", token)
        assert self._transport is not None
        self._transport.write(_pack(words))
        await self._greeting

    async def ask(self, words: Sequence[str | bytes | int]) -> Told:
        """Sends one command and waits for its answer; what is sent is not undone by cancelling."""
        if self.is_ended or self._transport is None:
            raise _unreachable(self._url, "the connection was lost")
        if len(self._waiting) >= WAITING_MAX:
            raise Overloaded(
                f"{WAITING_MAX} calls of this client wait for answers",
                retry_after_ms=_RETRY_AFTER_MS,
            )
        self._last_tag = tag = self._last_tag + 1
        data = _pack(("TAG", tag, *words))
        if len(data) > self._command_bytes_max:
            # The node would end the connection, and with it the calls of others.
            allowed = self._command_bytes_max
            raise TooLarge(f"a command has at most {allowed} bytes", allowed=allowed)
        waiter: asyncio.Future[Told] = self._loop.create_future()
        self._waiting[tag] = (waiter, self._loop.time() + self._answer_seconds_max)
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(data)
        if self._sweeper is None:
            self._arm()
        try:
            return await waiter
        finally:
            self._waiting.pop(tag, None)

    def end(self, reason: str) -> None:
        """Ends the connection; who waits is told why. Idempotent."""
        if self._transport is not None:
            self._transport.abort()
        self._release(_unreachable(self._url, reason))

    # -- what the transport says --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        self._partial_bytes += len(data)
        try:
            self._reader.feed(data)
            while (found := self._reader.gets()) is not False:
                self._partial_bytes = 0
                self._take(found)
        except (cast("Any", hiredis).HiredisError, msgspec.MsgspecError, ValueError) as error:
            self._fail(f"what answers is no lithox node: {error}")
        except RecursionError:
            self._fail("what answers is no lithox node: it nests too deep")
        if self._partial_bytes > ANSWER_BYTES_MAX:
            self._fail(f"an answer has at most {ANSWER_BYTES_MAX} bytes")

    def pause_writing(self) -> None:
        self.is_stuffed = True
        self.writable.clear()

    def resume_writing(self) -> None:
        self.is_stuffed = False
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        reason = "the connection was closed" if exc is None else str(exc)
        self._release(_unreachable(self._url, reason))

    # -- inside -------------------------------------------------------------------------------

    def _flush(self) -> None:
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        if self._transport is not None and not self.is_ended:
            self._transport.write(data)

    def _take(self, found: Any) -> None:
        """Takes one thing the node said."""
        if not self._greeting.done():
            if isinstance(found, Exception):
                self._greeting.set_exception(_error_of(self._url, found))
            else:
                self._read_greeting(found)
                self._greeting.set_result(None)
            return
        if isinstance(found, Exception):
            # The node's last word before it closes. What it says of one command says nothing of
            # the others: whether they ran is not known.
            self._release(_unreachable(self._url, str(found)[:200]))
            return
        parts = cast("list[Any]", found) if isinstance(found, list) else []
        if len(parts) != 3 or parts[0] != b"answer" or type(parts[1]) is not int:
            raise ValueError(f"no answer with a tag but {found!r:.80}")
        waiting = self._waiting.get(parts[1])
        if waiting is None or waiting[0].done():
            return
        if type(parts[2]) is bytes:
            waiting[0].set_result(_decode(parts[2]))
        else:
            raise ValueError(f"no packed answer but {parts[2]!r:.80}")

    def _read_greeting(self, found: Any) -> None:
        said = cast("dict[bytes, Any]", found) if isinstance(found, dict) else {}
        bytes_max = said.get(b"command_bytes_max")
        if said.get(b"server") != b"lithox" or type(bytes_max) is not int:
            raise ValueError("another server answers")
        self._command_bytes_max = bytes_max

    def _fail(self, message: str) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._release(PeerProtocolError(f"{self._url}: {message}"))

    def _release(self, error: LithoxError) -> None:
        """Lets everybody go; the first reason is the one that is told."""
        if self.is_ended:
            return
        self.is_ended = True
        self.writable.set()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if not self._greeting.done():
            self._greeting.set_exception(error)
            # Nobody may be waiting for it any more.
            self._greeting.exception()
        for waiter, _ in self._waiting.values():
            if not waiter.done():
                # Each its own: an exception that is raised twice collects two tracebacks.
                waiter.set_exception(rebuild(error.code, error.to_fields()))
        self._waiting.clear()

    def _sweep(self) -> None:
        """Tells those whose time is over; one timer for all, once a second while any wait."""
        self._sweeper = None
        now = self._loop.time()
        for waiter, end in self._waiting.values():
            if end > now:
                break
            if not waiter.done():
                waiter.set_exception(_unreachable(self._url, "it did not answer in time"))
        if self._waiting:
            self._arm()

    def _arm(self) -> None:
        after_s = min(SWEEP_SECONDS, self._answer_seconds_max)
        self._sweeper = self._loop.call_later(after_s, self._sweep)


def _unreachable(url: str, reason: str) -> PeerUnreachable:
    return PeerUnreachable(
        f"no answer from the node at {url}: {reason}", retry_after_ms=_RETRY_AFTER_MS
    )


def _error_of(url: str, found: Exception) -> Exception:
    """Returns the error that a RESP error line stands for: its first word is the code."""
    code, _, message = str(found).partition(" ")
    if "." not in code:
        return PeerProtocolError(f"{url} says {str(found)[:200]!r}, which no lithox node does")
    return rebuild(code, {"message": message})

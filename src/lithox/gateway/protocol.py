"""What one connection may cost: bounds that uvicorn's httptools protocol leaves to others.

uvicorn parses (llhttp) and speaks ASGI; this subclass adds, at the points it offers, bounds on the
size and number of headers, on the time until a request is whole, on a peer that does not read its
answer, and on the number of connections. Its refusals have the shape of every other error.

Invariants, for a connection that is not closing:
- between the first byte of a request and its last, `_timer` is armed unless both came in one read;
  a streamed body that comes on gets it armed anew;
- with nothing being received and nothing being answered, uvicorn's keep-alive timer or `_timer` is
  armed. So no silence is for ever.
On the hot path (a request whole in one read) no timer is made here.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lithox.errors import BadArguments, LithoxError, Overloaded, TooLarge
from lithox.gateway.answers import reply_error
from lithox.gateway.resp.connection import RespConnection
from lithox.gateway.resp.shared import RespService
from lithox.gateway.settings import GatewaySettings
from lithox.model.quantities import format_duration

_RETRY_AFTER_MS: Final = 1000
_RESP_BEGINS: Final = b"*"
"""The first byte of a RESP command; llhttp knows no method that begins so."""
STREAMED: Final = frozenset({b"application/jsonl", b"application/octet-stream"})
"""Media types of bodies that are read as they come and may take longer than any other."""
STREAM_STEP_BYTES: Final = 64 << 10
"""Such a body has to bring so many bytes in each time that others have in all: 2 KiB/s."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `bounded_protocol` makes the subclass that knows the settings."""

    settings: ClassVar[GatewaySettings] = GatewaySettings()
    resp: ClassVar[RespService | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._is_receiving = False
        self._is_in_headers = False
        self._read_bytes = 0
        self._header_bytes = 0
        """Bytes read since the read in which the request began."""
        self._is_streaming = False
        self._stream_bytes = 0
        self._refusal: LithoxError | None = None
        self._is_new = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.settings.connections_max:
            self._refuse(
                Overloaded(
                    f"this node holds at most {self.settings.connections_max} connections",
                    retry_after_ms=_RETRY_AFTER_MS,
                )
            )
            return
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._disarm_write()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_new:
            self._is_new = False
            if data.startswith(_RESP_BEGINS) and self.resp is not None:
                self._hand_over(self.resp, data)
                return
        self._read_bytes = len(data)
        if self._is_in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._is_receiving:
            if self._is_in_headers and self._header_bytes > self.settings.header_bytes_max:
                self._refuse(self._headers_too_large())
            elif self._timer is None:
                self._arm()
            elif self._is_streaming:
                self._note_progress(len(data))
        elif self.cycle is None or self.cycle.response_complete:
            # Bytes that begin no request (empty lines) must not keep a connection for ever.
            if self._timer is None:
                self._arm()
        elif self._timer is not None:
            self._disarm()

    def on_message_begin(self) -> None:
        self._is_receiving = self._is_in_headers = True
        self._header_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_headers = self._is_streaming = False
        settings = self.settings
        may_be_long = self._header_bytes or self._read_bytes > settings.header_bytes_max
        if len(self.headers) > settings.header_count_max or (
            may_be_long and self._size_of_headers() > settings.header_bytes_max
        ):
            self._refusal = self._headers_too_large()
            raise self._refusal
        super().on_headers_complete()
        self._stream_bytes = 0
        self._is_streaming = any(
            name == b"content-type" and value.partition(b";")[0] in STREAMED
            for name, value in self.headers
        )

    def on_message_complete(self) -> None:
        self._is_receiving = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(
                self.settings.receive_ns / 1e9, self.transport.abort
            )

    def resume_writing(self) -> None:
        self._disarm_write()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """Answers what could not be parsed; uvicorn calls this with its own words."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            # Rubbish behind a whole request: let its answer leave, then close.
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        error = self._refusal or BadArguments(
            "the request is not well-formed HTTP/1.1; see RFC 9112 for its form"
        )
        self._refuse(error)

    def _hand_over(self, resp: RespService, data: bytes) -> None:
        """Leaves a connection to the other protocol that is spoken on this port."""
        self._disarm()
        self._disarm_write()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        if not self.transport.is_closing():
            RespConnection(resp, self.server_state).take_over(self.transport, data)

    def _size_of_headers(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _headers_too_large(self) -> TooLarge:
        settings = self.settings
        return TooLarge(
            f"request line and headers have at most {settings.header_bytes_max} bytes and "
            f"{settings.header_count_max} headers",
            allowed=settings.header_bytes_max,
        )

    def _arm(self) -> None:
        self._timer = self.loop.call_later(self.settings.receive_ns / 1e9, self._on_silence)

    def _note_progress(self, size: int) -> None:
        """Gives a long body that comes on, and is still wanted, new time."""
        self._stream_bytes += size
        is_wanted = self.cycle is not None and not self.cycle.response_complete
        if self._stream_bytes >= STREAM_STEP_BYTES and is_wanted:
            self._stream_bytes = 0
            self._disarm()
            self._arm()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _disarm_write(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _on_silence(self) -> None:
        """The peer took too long to send a whole request."""
        self._timer = None
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if self._is_in_headers:
            # The cycle is that of the request before.
            may_answer = cycle is None or cycle.response_complete
        else:
            may_answer = cycle is not None and not cycle.response_started
        if self._is_receiving and may_answer:
            allowed = format_duration(self.settings.receive_ns)
            self._refuse(BadArguments(f"the request was not whole after {allowed}"))
        else:
            self.transport.close()

    def _refuse(self, error: LithoxError) -> None:
        """Writes an error answer and closes."""
        if self.transport.is_closing():
            return
        status, body, headers = reply_error(error)
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()]
        lines += [name + b": " + value + b"\r\n" for name, value in headers]
        lines += [b"connection: close\r\n\r\n", body]
        self.transport.write(b"".join(lines))
        self.transport.close()


def bounded_protocol(
    settings: GatewaySettings, resp: RespService | None = None
) -> type[BoundedProtocol]:
    """Returns the protocol class for one gateway's settings.

    Args:
        resp: what connections are left to that begin like a RESP command; None: to nobody.
    """

    class Bound(BoundedProtocol):
        pass

    Bound.settings = settings
    Bound.resp = resp
    return Bound

"""Serves one node over HTTP until told to stop.

The socket is opened here, so that a taken port is an operator's clear error and port 0 gives the
real one. Stopping: no new connection is taken, idle ones are closed, requests being answered get
`stop_grace_ns`, then their waiting ends; the runs themselves are the node's to finish or abort.
Signals are the command line's business, not the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import uvicorn

from lithox.errors import ConfigError
from lithox.gateway.app import Gateway
from lithox.gateway.ports import GatewayNode
from lithox.gateway.protocol import bounded_protocol
from lithox.gateway.resp.service import open_resp
from lithox.gateway.settings import SECOND_NS, GatewaySettings
from lithox.gateway.streams import Receive, Send

BACKLOG: Final = 2048
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
"""An ASGI application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a gateway really listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as clients write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, telling when it accepts."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


def open_socket(settings: GatewaySettings) -> socket.socket:
    """Returns a bound socket. Blocks for name look-up.

    Raises:
        ConfigError: the address is unknown, taken or not allowed.
    """
    where = f"{settings.host}:{settings.port}"
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {where}: {error.strerror}", key="listen") from None
    family, kind, protocol, _, address = found[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise ConfigError(f"cannot listen on {where}: {error.strerror}", key="listen") from None
    return opened


async def serve(  # noqa: PLR0913 - one way in, described whole; all but two by keyword
    node: GatewayNode,
    settings: GatewaySettings,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[Address], None] | None = None,
    place: socket.socket | Path | None = None,
    app: App | None = None,
) -> None:
    """Serves `node` until `stop` is set, then stops gracefully.

    Args:
        place: listen here instead of at the settings' address: a bound socket, or the path of a
            Unix socket, to which whoever may reach its folder may connect.
        app: what answers instead of a gateway of the node's own.
        stop: set it, on this loop, to stop.
        on_ready: told the real address once connections are accepted.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    path = place if isinstance(place, Path) else None
    opened = place if isinstance(place, socket.socket) else None
    if place is None:
        opened = open_socket(settings)
    address = Address(host=settings.host, port=0 if opened is None else opened.getsockname()[1])
    # What uvicorn would say of bad requests is answered and counted by us.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        cast("Any", app or Gateway(node, settings)),
        uds=None if path is None else str(path),
        http=bounded_protocol(settings, open_resp(node, settings)),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.idle_ns // SECOND_NS,
        timeout_graceful_shutdown=settings.stop_grace_ns // SECOND_NS,
    )
    server = _Server(config, lambda: on_ready(address) if on_ready is not None else None)

    async def watch() -> None:
        await stop.wait()
        # Who only waits for news gets an answer now, and not when the grace is over.
        node.release_waiting()
        server.should_exit = True

    watcher = asyncio.create_task(watch(), name="gateway stop")
    try:
        await server.serve(sockets=None if opened is None else [opened])
    finally:
        watcher.cancel()
        if opened is not None:
            opened.close()

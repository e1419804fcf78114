"""How the HTTP gateway listens and what it bounds. Frozen; read once at start.

Every amount that a stranger could grow has a maximum here, so that input is bounded before it is
parsed (the node's trust rules). The defaults follow what nginx and Node.js ship.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from lithox.errors import BadArguments

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 7070
PORT_MAX: Final = 65_535
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
SECOND_NS: Final = 1_000_000_000
STREAM_BYTES_MAX: Final = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Where the gateway listens and its bounds.

    Attributes:
        host: address or name to listen on; no brackets around IPv6.
        port: 0 takes a free port.
        hosts: further names the Host header may carry, lower case, without port; web pages of
            these hosts may call, too.
        body_bytes_max: largest request body; more is 413 before it is read.
        deploy_bytes_max: the same for a deploy, which carries whole files in base64.
        stream_bytes_max: the same for bodies that are read as they come.
        header_bytes_max: request line and all headers together.
        header_count_max: number of headers.
        receive_ns: from the first byte of a request to its last; slower clients are cut off.
        idle_ns: how long a kept connection may say nothing.
        connections_max: open connections; more are answered 429 and closed.
        stop_grace_ns: how long a stop waits for requests that are being answered.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    hosts: frozenset[str] = field(default_factory=frozenset[str])
    body_bytes_max: int = 1 << 20
    deploy_bytes_max: int = 24 << 20
    stream_bytes_max: int = STREAM_BYTES_MAX
    header_bytes_max: int = 16 << 10
    header_count_max: int = 64
    receive_ns: int = 30 * SECOND_NS
    idle_ns: int = 75 * SECOND_NS
    connections_max: int = 4096
    stop_grace_ns: int = 10 * SECOND_NS

    @property
    def is_loopback(self) -> bool:
        """True when nobody outside this machine can connect."""
        return is_loopback_host(self.host)


def is_loopback_host(host: str) -> bool:
    """Returns True for `localhost` and every loopback address."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_listen(text: str) -> tuple[str, int]:
    """Returns (host, port) of `HOST:PORT`, `[IPV6]:PORT` or `:PORT` (loopback).

    Raises:
        BadArguments: it is none of these, or the port is above 65535.
    """
    host, colon, port_text = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    is_port = port_text.isascii() and port_text.isdigit() and int(port_text) <= PORT_MAX
    if not colon or not is_port:
        raise BadArguments(
            f"an address to listen on is HOST:PORT, such as 127.0.0.1:7070; found {text[:80]!r}"
        )
    return host or DEFAULT_HOST, int(port_text)


def settings_from(
    *, allowed_hosts: Iterable[str], body_bytes_max: int, listen: str | None = None
) -> GatewaySettings:
    """Returns the settings for what a node's configuration and `--listen` say.

    Args:
        allowed_hosts: Host headers accepted besides loopback names, without port.
        listen: `HOST:PORT`, or None for the default.

    Raises:
        BadArguments: `listen` is not an address.
    """
    host, port = (DEFAULT_HOST, DEFAULT_PORT) if listen is None else parse_listen(listen)
    return GatewaySettings(
        host=host,
        port=port,
        hosts=frozenset(name.lower() for name in allowed_hosts),
        body_bytes_max=body_bytes_max,
    )

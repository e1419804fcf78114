"""Is there a node at this address yet? A command right behind `lithox serve ... &` comes too early.

Only what a starting node on this machine looks like is waited for: a refused connection to a
loopback address, for a bounded number of attempts. Nothing has been sent by then, so nothing is
done twice.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from lithox.cli.failures import show_notice

PAUSE_SECONDS: Final = 0.1
ATTEMPTS_MAX: Final = 30
"""Three seconds in all; a node says that it is ready after one."""
_CONNECT_SECONDS_MAX: Final = 1.0
_PORTS: Final = {"http": 80, "https": 443, "lithox": None}
"""Schemes of a node's address, and the port of those that have one of their own."""
Connect = Callable[[tuple[str, int]], None]


async def wait_until_listening(
    url: str,
    *,
    connect: Connect | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Returns once something listens at `url`, or it is not worth waiting; says so on stderr.

    What is wrong with the address or the node is not told here: whoever speaks to it next does.

    Args:
        url: of a node.
        connect: opens a connection to (host, port) and closes it.
        sleep: waits so many seconds.

    Blocks: while a connection to this machine is made.
    """
    address = _loopback_address(url)
    if address is None:
        return
    connect = connect or _connect
    for attempt in range(ATTEMPTS_MAX):
        try:
            connect(address)
        except ConnectionRefusedError:
            if attempt == 0:
                total = PAUSE_SECONDS * ATTEMPTS_MAX
                show_notice(f"no node at {url[:200]} yet; waiting for it, at most {total:.0f}s")
            await sleep(PAUSE_SECONDS)
        except (OSError, ValueError):
            return
        else:
            return


def _connect(address: tuple[str, int]) -> None:
    socket.create_connection(address, _CONNECT_SECONDS_MAX).close()


def _loopback_address(url: str) -> tuple[str, int] | None:
    """Returns (host, port) of a URL on this machine's loopback; None for any other."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
        if host is None or port is None or parts.scheme not in _PORTS:
            return None
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return None
    return (host, port) if is_loopback else None

"""`lithox serve --processes N`, N above 1: what the parent settles before its processes start."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lithox.cluster.parent import Parent, Start
from lithox.cluster.placement import Placement
from lithox.cluster.sharing import RUN_FOLDER
from lithox.cluster.sockets import SharedAddress
from lithox.cluster.volumes_file import read_volumes, settle_volumes
from lithox.errors import ConfigError, StoreInUse
from lithox.gateway.serve import Address
from lithox.gateway.settings import PORT_MAX, GatewaySettings
from lithox.node.config import NodeConfig
from lithox.node.lock import LOCK_NAME, DirectoryLock
from lithox.node.opening import STORE_NAME, open_store
from lithox.store.crash_points import reach_nothing

PROCESS_MODULE: Final = "lithox.cli.serving_process"
SOCKET_PATH_BYTES_MAX: Final = 100
"""A Unix socket's path has at most 108 bytes on Linux (unix(7)), its end included."""
LOCK_WAIT_S_MAX: Final = 5.0
LOCK_PAUSE_S: Final = 0.05
LIST_MAX: Final = 1_000
_log: Final = logging.getLogger("lithox.cli.serving_parent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line and the configuration say, for all processes.

    Attributes:
        config_text: of the configuration file, so that a process started later has the same.
    """

    data: Path
    config: NodeConfig
    config_path: Path | None
    config_text: str | None
    settings: GatewaySettings
    processes: int
    spread: tuple[str, ...]
    is_direct: bool
    is_cooperative: bool
    log_level: str
    is_human: bool


def default_processes(data: Path, config: NodeConfig) -> int:
    """Returns how many processes serve when nobody says: one for each core there is for us.

    As many as there are volumes where entities are spread already; one for a database on a server,
    which any number of nodes may share without volumes.

    Raises:
        ConfigError: what the directory says of its volumes is damaged.
    """
    if config.store is not None or not hasattr(os, "sched_getaffinity"):
        return 1
    known = read_volumes(data)
    if known is not None and known.spread:
        return known.volumes
    return len(os.sched_getaffinity(0))


def check_processes(processes: int, config: NodeConfig) -> None:
    """Raises ConfigError for a number of processes that cannot serve such a store."""
    if processes > 1 and config.store is not None:
        raise ConfigError(
            "several processes share one address only with stores in the data directory; on a "
            "database server start several nodes, each with --processes 1",
            key="processes",
        )


def warn_of_spread(processes: int, spread: tuple[str, ...]) -> None:
    """Says so in the log when one process serves and entities were to be spread: they are not.

    Raises:
        ConfigError: a pattern is none.
    """
    if processes == 1 and Placement(1, spread).spread:
        _log.warning(
            "one process serves, so nothing is spread over processes, %s neither: what is made now "
            "lives in one volume, and is spread later only by an export and an import; say "
            "--processes 2 or more to spread it from the start",
            ", ".join(spread),
        )


async def serve_processes(
    order: Order, *, stop: asyncio.Event, on_ready: Callable[[Address], None]
) -> None:
    """Serves with several processes until `stop` is set. Blocks the loop while it settles them.

    Raises:
        LithoxError: why they cannot be started.
    """
    lock = take_lock(order.data)
    try:
        _make_run_folder(order.data)
        placement = settle_volumes(
            order.data,
            order.processes,
            order.spread,
            lambda pattern: _has_entities(order.data, order.config, pattern),
        )
        shared = SharedAddress(order.settings.host, order.settings.port)
        address = Address(host=order.settings.host, port=shared.port)
        try:
            parent = Parent(
                count=placement.volumes,
                module=PROCESS_MODULE,
                prepare=lambda number: _prepare(order, placement, shared, number),
                lock_fd=lock.descriptor,
                on_ready=lambda: on_ready(address),
            )
            await parent.run(stop)
        finally:
            shared.close()
    finally:
        lock.close()


def take_lock(data: Path) -> DirectoryLock:
    """Takes a data directory; waits a moment for the processes of a parent that has just died.

    Raises:
        StoreInUse: a living parent or node holds it.
    """
    end_s = time.monotonic() + LOCK_WAIT_S_MAX
    while True:
        try:
            return DirectoryLock.open(data)
        except StoreInUse:
            if _is_alive(data) or time.monotonic() >= end_s:
                raise
        time.sleep(LOCK_PAUSE_S)


def _is_alive(data: Path) -> bool:
    """Returns whether who has taken the lock is there; False when its children keep it only."""
    try:
        os.kill(int((data / LOCK_NAME).read_text()), 0)
    except (OSError, ValueError) as error:
        return getattr(error, "errno", None) == errno.EPERM
    return True


def _has_entities(data: Path, config: NodeConfig, pattern: str) -> bool:
    """Returns whether volume 0 has an entity that a pattern names, or one below it."""
    if not (data / STORE_NAME).exists():
        return False
    store = open_store(data, config, post=lambda act: act(), reach=reach_nothing)
    try:
        wanted = Placement(2, (pattern,))
        first = pattern.partition("/*")[0]
        after = ""
        while True:
            names = store.list_entities(first, after, LIST_MAX)
            if any(wanted.prefix_of(name) is not None for name in names):
                return True
            if len(names) < LIST_MAX:
                return False
            after = names[-1]
    finally:
        store.close()


def _make_run_folder(data: Path) -> None:
    """Makes the folder of the sockets, which nobody else may enter."""
    run = data / RUN_FOLDER
    if len(os.fsencode(run.absolute())) > SOCKET_PATH_BYTES_MAX - len("/255.sock"):
        raise ConfigError(
            f"{data}: its path is too long for the sockets of several processes: use a shorter "
            "one, or --processes 1",
            key="data",
        )
    try:
        run.mkdir(mode=0o700, exist_ok=True)
        run.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"{data}: {error.strerror}", key="data") from None


def _prepare(order: Order, placement: Placement, shared: SharedAddress, number: int) -> Start:
    """Returns what a start of process `number` needs."""
    sockets = {"listen": shared.open_socket()}
    direct = _direct_addresses(order, placement, shared.port)
    if direct:
        own = SharedAddress(order.settings.host, shared.port + 1 + number)
        sockets["direct"] = own.open_socket()
        own.close()
    begin: dict[str, Any] = {
        "data": str(order.data.absolute()),
        "volume": number,
        "volumes": placement.volumes,
        "spread": list(placement.spread),
        "listen": f"{_bracketed(order.settings.host)}:{shared.port}",
        "direct": direct,
        "config_path": None if order.config_path is None else str(order.config_path),
        "config_text": order.config_text,
        "is_cooperative": order.is_cooperative,
        "log_level": order.log_level,
        "is_human": order.is_human,
    }
    return Start(begin=begin, sockets=sockets)


def _direct_addresses(order: Order, placement: Placement, port: int) -> list[str]:
    """Returns HOST:PORT of each process, in order; none unless each has one of its own."""
    if not order.is_direct:
        return []
    if port + placement.volumes > PORT_MAX:
        raise ConfigError(
            f"--direct needs the {placement.volumes} ports behind {port}, up to {PORT_MAX}",
            key="listen",
        )
    host = _bracketed(order.settings.host)
    return [f"{host}:{port + 1 + number}" for number in range(placement.volumes)]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

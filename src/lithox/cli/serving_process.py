"""One process of `lithox serve --processes N`: a node on its volume, and its ways in.

Started by the parent (`cluster/parent.py`) as `python -m lithox.cli.serving_process FD`; nobody
else runs it. Order: it hears the parent's first line, opens its store, takes over the lead's code,
and only then runs anything; takes what siblings hand over; listens; and says that it is ready once
it has reached them. Told to stop it answers what it has, says so, and ends when all have; told
before it serves it ends at once, whomever it waits for.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

from lithox.cli.garbage import spare_collector
from lithox.cli.logs import configure_logs
from lithox.cluster.control import Control
from lithox.cluster.hearing import Hearing
from lithox.cluster.placement import Placement
from lithox.cluster.sharing import LEAD, Sharing, http_path, link_path
from lithox.cluster.volumes_file import folder_of
from lithox.errors import InternalError, LithoxError
from lithox.gateway.app import Gateway
from lithox.gateway.forwarding import Forwarder
from lithox.gateway.serve import serve
from lithox.gateway.settings import settings_from
from lithox.gateway.shared import SharedGateway
from lithox.node.clock import RealClock
from lithox.node.config import NodeConfig, parse_config
from lithox.node.front import FrontNode
from lithox.node.lock import DirectoryLock
from lithox.node.member import Member
from lithox.node.node import Node

EXIT_ORPHANED: Final = 4
PEERS_WAIT_S_MAX: Final = 20.0
"""How long a process waits for its siblings before it says that it is ready all the same."""
_PR_SET_PDEATHSIG: Final = 1
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_log: Final = logging.getLogger("lithox.cli.serving_process")


def main() -> None:
    """Serves until the parent says stop, or is gone."""
    import uvloop

    end = socket.socket(fileno=int(sys.argv[1]))
    end.setblocking(False)
    uvloop.run(_run(end))


async def _run(end: socket.socket) -> None:
    control = await Control.open(end)
    said = await control.hear()
    if said is None:
        os._exit(EXIT_ORPHANED)
    _die_with(said["parent"])
    with configure_logs(level=said["log_level"], is_human=said["is_human"]):
        try:
            await _Process(said, control).serve()
        except LithoxError as error:
            control.fail(error)
        except Exception as error:  # noqa: BLE001 - the parent is told, whatever it is
            _log.exception("process %d ends by a fault of its own", said["volume"])
            control.fail(_as_failure(error))
        await control.flush()
    control.close()


def _as_failure(error: Exception) -> LithoxError:
    return LithoxError(f"lithox failed by a fault of its own: {error}", code=InternalError.code)


def _die_with(parent: int) -> None:
    """Has the machine's kernel end this process when its parent dies; ends if that has happened."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(EXIT_ORPHANED)


class _StoppedError(Exception):
    """The stop came before this process served."""


class _Process:
    """What one process is made of, from its first line to its end."""

    def __init__(self, said: dict[str, Any], control: Control) -> None:
        self._said = said
        self._control = control
        self._data = Path(said["data"])
        self._volume: int = said["volume"]
        self._stop = asyncio.Event()
        self._close = asyncio.Event()
        self._config = _config_of(said)
        self._settings = settings_from(
            allowed_hosts=self._config.allowed_hosts,
            body_bytes_max=self._config.body_bytes_max,
            listen=said["listen"],
        )
        self._sharing = Sharing(
            self._data,
            self._volume,
            Placement(said["volumes"], said["spread"]),
            node_entity=self._config.node_entity,
            monotonic_ns=RealClock.monotonic_ns,
            on_up=self._note_up,
        )
        self._front: FrontNode | None = None

    async def serve(self) -> None:
        """Serves until told to stop."""
        self._take_signals()
        following = asyncio.create_task(self._follow_parent())
        try:
            await self._serve()
        except _StoppedError:
            _log.info("told to stop before it served")
        finally:
            following.cancel()
        _log.info("stopped")

    async def _serve(self) -> None:
        folder = folder_of(self._data, self._volume)
        sharing = self._sharing
        lock = DirectoryLock(self._said["fds"]["lock"]) if self._volume == LEAD else None
        node = Node(
            folder,
            config=self._config,
            keeps_services=sharing.is_lead,
            member=Member(sharing=sharing, lock=lock, before_start=self._take_code),
        )
        async with AsyncExitStack() as opened:
            opened.push_async_callback(sharing.stop)
            await self._wait_lead()
            await opened.enter_async_context(node)
            spare_collector()
            front = self._front = FrontNode(node, sharing)
            front.set_direct(self._said["direct"])
            hearing = Hearing(
                link_path(self._data, self._volume),
                arrive=node.dispatcher.arrive,
                questions=front.questions(),
                monotonic_ns=RealClock.monotonic_ns,
            )
            await hearing.start()
            opened.callback(hearing.stop)
            sharing.start()
            await self._serve_http(front)
            self._control.say("drained")
            await self._close.wait()

    async def _wait_lead(self) -> None:
        """Waits for the lead, which fills the cache of compiled code that all use."""
        if not self._sharing.is_lead:
            lead = self._sharing.peers[LEAD]
            lead.start()
            await self._unless_stopped(lead.wait_up())

    async def _take_code(self, node: Node) -> None:
        """Takes over the code of the lead."""
        if not self._sharing.is_lead:
            await self._wait_lead()
            await self._unless_stopped(node.code_sync.pull(self._sharing.peers[LEAD].ask))

    async def _unless_stopped(self, work: Awaitable[object]) -> None:
        """Waits for `work`; raises _StoppedError, and breaks it off, when the stop comes first."""
        working = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise _StoppedError
            working.result()
        finally:
            stopped.cancel()
            working.cancel()
            await asyncio.wait({working, stopped})

    async def _serve_http(self, front: FrontNode) -> None:
        """Answers over HTTP, and siblings over their way in, until told to stop."""
        node: Any = front
        gateway = Gateway(node, self._settings)
        forwarder = Forwarder(
            lambda volume: http_path(self._data, volume), self._sharing.watch_loss
        )
        outside = SharedGateway(
            gateway,
            self._sharing,
            forwarder,
            stream_bytes_max=self._settings.stream_bytes_max,
        )
        # Siblings are answered until nobody outside waits any more.
        inner_stop = asyncio.Event()
        inner = asyncio.create_task(
            serve(
                node,
                self._settings,
                stop=inner_stop,
                place=http_path(self._data, self._volume),
                app=gateway,
            )
        )
        ready = asyncio.create_task(self._say_ready())
        try:
            sockets = [self._said["fds"]["listen"]]
            if "direct" in self._said["fds"]:
                sockets.append(self._said["fds"]["direct"])
            await asyncio.gather(
                *(
                    serve(
                        node,
                        self._settings,
                        stop=self._stop,
                        place=socket.socket(fileno=fd),
                        app=outside,
                    )
                    for fd in sockets
                )
            )
        finally:
            ready.cancel()
            inner_stop.set()
            await inner
            await forwarder.close()

    async def _say_ready(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PEERS_WAIT_S_MAX):
                for peer in self._sharing.peers.values():
                    await peer.wait_up()
        self._control.say("ready")

    def _note_up(self, volume: int) -> None:
        if self._front is not None:
            self._front.tell_code(volume)

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop.set)

    async def _follow_parent(self) -> None:
        """Does what the parent says; ends at once when it is gone."""
        while True:
            said = await self._control.hear()
            if said is None:
                # Nothing acknowledged is lost, and whoever starts next finds the directory free.
                os._exit(EXIT_ORPHANED)
            if said.get("say") == "close":
                self._close.set()


def _config_of(said: dict[str, Any]) -> NodeConfig:
    from dataclasses import replace

    text = said["config_text"]
    config = NodeConfig() if text is None else parse_config(text, Path(said["config_path"]))
    return replace(config, is_cooperative=True) if said["is_cooperative"] else config


if __name__ == "__main__":
    main()

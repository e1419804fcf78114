"""How a server's process knows and reaches its siblings: the implementation of `Elsewhere`.

One of these stands in every process of a server of several. Volume n is owned by process n; process
0 is the lead, which keeps what a server has once: programs, services, the stores of code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lithox.cluster.peer import Peer
from lithox.cluster.placement import KEPT_MAX, Placement
from lithox.dispatch.job import OnAnswer
from lithox.errors import InternalError
from lithox.model.ids import SYSTEM_ENTITY_PREFIX
from lithox.model.request import Request

RUN_FOLDER: Final = "run"
LEAD: Final = 0


def link_path(data: Path, volume: int) -> Path:
    """Returns the socket on which a process takes what its siblings hand over."""
    return data / RUN_FOLDER / f"{volume}.sock"


def http_path(data: Path, volume: int) -> Path:
    """Returns the socket on which a process answers its siblings over HTTP."""
    return data / RUN_FOLDER / f"{volume}.http"


class Sharing:
    """What is elsewhere, and the links that reach it. Used on the loop's thread; never blocks.

    Attributes:
        volume: the one this process owns.
        placement: where entities live.
        peers: the links to the other processes, by volume.
    """

    def __init__(  # noqa: PLR0913 - one wiring; all but three by keyword
        self,
        data: Path,
        volume: int,
        placement: Placement,
        *,
        node_entity: str,
        monotonic_ns: Callable[[], int],
        on_up: Callable[[int], None] | None = None,
    ) -> None:
        """Connects nothing yet.

        Args:
            data: the server's data directory.
            node_entity: the entity as which each node answers for itself; it is nowhere else.
            monotonic_ns: the node's clock.
            on_up: told the volume of a process that has been connected to.
        """
        self.data: Final = data
        self.volume: Final = volume
        self.placement: Final = placement
        self.peers: Final = {
            other: Peer(other, link_path(data, other), monotonic_ns=monotonic_ns, on_up=on_up)
            for other in range(placement.volumes)
            if other != volume
        }
        self._node_entity = node_entity
        self._is_elsewhere = functools.lru_cache(maxsize=KEPT_MAX)(self._find_elsewhere)

    @property
    def volumes(self) -> int:
        """How many volumes, and processes, there are."""
        return self.placement.volumes

    @property
    def is_spread(self) -> bool:
        """Whether entities may live outside volume 0."""
        return bool(self.placement.spread)

    @property
    def is_lead(self) -> bool:
        """Whether this process keeps what a server has once."""
        return self.volume == LEAD

    def volume_of(self, entity: str) -> int:
        """Returns the number of the volume an entity lives in."""
        own = self._node_entity
        if entity == own or entity.startswith((f"{own}/", SYSTEM_ENTITY_PREFIX)):
            return self.volume
        return self.placement.volume_of(entity)

    def is_elsewhere(self, entity: str) -> bool:
        """Returns whether another process owns `entity`; remembered, as it is asked so often."""
        return self._is_elsewhere(entity)

    def _find_elsewhere(self, entity: str) -> bool:
        return self.volume_of(entity) != self.volume

    def send(self, request: Request, on_answer: OnAnswer) -> None:
        """See `dispatch.elsewhere.Elsewhere.send`."""
        place = request.calls[0].entity if request.calls else request.entity
        peer = self.peers.get(self.volume_of(place))
        if peer is None:
            raise InternalError(f"{place!r} was handed over and lives here")
        peer.send(request, on_answer)

    def owner_of_pid(self, pid: int) -> int:
        """Returns the volume of the process that gave out a PID."""
        return (pid - 1) % self.placement.volumes

    def watch_loss(self, volume: int, on_loss: Callable[[], None]) -> Callable[[], None]:
        """Has `on_loss` called whenever the link to a volume's process is lost or given up.

        Returns:
            What ends that. Nothing is told of this process's own volume.
        """
        peer = self.peers.get(volume)
        return (lambda: None) if peer is None else peer.watch_loss(on_loss)

    def start(self) -> None:
        """Connects to every sibling, now and whenever one is lost."""
        for peer in self.peers.values():
            peer.start()

    async def stop(self) -> None:
        """Leaves all of them; what is under way is answered StoreUnavailable."""
        for peer in self.peers.values():
            await peer.stop()

"""What every peer is to the rest: a name, what it cannot do, and how it is started, asked, killed.

A peer is one server (with what it needs) on a data folder of its own. It has one or more roads: a
road is a wire with a shape of client (one connection that carries all callers, or one each).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.peers.packages import Packages
from bench.peers.processes import Child, kill_all, tree
from bench.peers.wires import Wire

ONE: Final = "one connection"
EACH: Final = "a connection a caller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """How callers reach a peer.

    Attributes:
        label: peer and road in a table.
        shape: ONE (pipelined) or EACH.
        is_main: whether all workloads go this way, or the counter alone, at 16 and 64 callers.
    """

    label: str
    wire: Wire
    shape: str
    is_main: bool = True


class Peer(ABC):
    """One server under test. `start` may be called again after `kill`, on the same data."""

    name: str
    durability: str
    """What makes an answer durable, in words; the run counts whether it is so."""
    round_times: float = 1.0
    """How many times longer its rounds are: where a call takes long, what is under way at a
    round's end, and not counted, would be a large part of a short one. 64 callers of some 80
    calls/s (DBOS) are half of what 2 s count, of 500 (Restate) a fifteenth, of 2,000 (workerd) a
    sixtieth; the page says how large that part was."""

    def __init__(self, packages: Packages, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # A database that does not run as root has its folder in ours.
        folder.chmod(0o755)
        self.packages = packages
        self.folder = folder
        self.children: list[Child] = []
        self.cannot: dict[str, str] = {}
        self.settings: list[str] = []
        self.version = ""

    @abstractmethod
    def start(self) -> None:
        """Starts it and blocks until it answers. Raises MissingError with the reason."""

    @abstractmethod
    def roads(self) -> list[Road]:
        """Returns the ways to it; asked after `start`."""

    def pids(self) -> list[int]:
        """Returns its processes, its servers' included."""
        return tree([child.pid for child in self.children])

    def stop(self) -> None:
        """Ends it in good order. Blocks."""
        for child in reversed(self.children):
            child.end()
        self.children.clear()

    def kill(self) -> None:
        """Ends all its processes with SIGKILL at once, as a power cut would. Blocks."""
        kill_all(self.pids())
        for child in self.children:
            child.kill()
        self.children.clear()

    def launch(
        self, command: list[str], *, log: str, environment: Mapping[str, str] | None = None
    ) -> Child:
        """Starts a process of this peer in its folder."""
        child = Child(command, folder=self.folder, log=log, environment=environment)
        self.children.append(child)
        return child

"""A node that is one of several processes of a server: what it is given, and what differs.

It owns one volume, hands over what lives in others, gives out PIDs no sibling gives out, and takes
over the code of its siblings before it serves. A node without this owns everything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lithox.cluster.sharing import Sharing
from lithox.node.lock import DirectoryLock

if TYPE_CHECKING:
    from lithox.node.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One node's part of a server.

    Attributes:
        sharing: who owns what, and how others are reached.
        lock: the lock of its folder, held by the parent and inherited; None: to be taken.
        before_start: awaited when the store is open and nothing runs yet.
    """

    sharing: Sharing
    lock: DirectoryLock | None
    before_start: Callable[[Node], Awaitable[None]]

    @property
    def pids(self) -> tuple[int, int]:
        """(the first PID, the step to the next)."""
        return self.sharing.volume + 1, self.sharing.placement.volumes

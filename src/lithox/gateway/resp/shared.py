"""What the RESP connections of one gateway share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lithox.gateway.ports import GatewayNode
from lithox.gateway.resp.bounds import RespBounds
from lithox.gateway.resp.parsing import Command
from lithox.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from lithox.gateway.resp.connection import RespConnection

Perform = Callable[["RespConnection", Command], bytes | None]
"""Does one command: returns its answer, or None after it has taken a slot."""


@dataclass(slots=True, kw_only=True)
class RespService:
    """What all RESP connections of one gateway share.

    Attributes:
        perform: does one command.
        held_bytes: answers held by all connections.
        last_id: of a connection.
    """

    node: GatewayNode
    settings: GatewaySettings
    perform: Perform
    bounds: RespBounds = field(default_factory=RespBounds)
    held_bytes: int = 0
    last_id: int = 0


class Peers(Protocol):
    """What uvicorn knows: connections, HTTP's among them, whose number is bounded together, and
    tasks, which a stop waits for and, when its grace is over, cancels.
    """

    connections: set[Any]
    tasks: set[asyncio.Task[None]]

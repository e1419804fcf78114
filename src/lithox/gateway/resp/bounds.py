"""What one connection that speaks RESP may cost. Frozen; tests shrink it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SECOND_NS: Final = 1_000_000_000
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RespBounds:
    """Bounds beyond those of `GatewaySettings`, which hold here, too.

    Attributes:
        in_flight_max: commands of one connection that are not answered; further ones are not
            read until some are.
        turn_commands_max: commands begun in one turn of the event loop: 256 take about 3 ms.
        held_bytes_max: answers of one connection that are not in its socket; above half of it
            nothing more is begun, above it the connection is closed.
        held_bytes_all_max: the same over all connections: the one that goes above it is closed.
        write_buffer_bytes: what the transport keeps before it says that the peer reads too slowly.
        stranger_bytes_max: length of a command of a caller who has not said who he is.
        pushes_max: results one connection may wait for to be pushed.
        idle_ns: how long a connection with nothing in flight may say nothing. Longer than for
            HTTP: clients keep a pool and find out late that it is gone.
    """

    in_flight_max: int = 1024
    turn_commands_max: int = 256
    held_bytes_max: int = 32 * MIB
    held_bytes_all_max: int = 256 * MIB
    write_buffer_bytes: int = 256 << 10
    stranger_bytes_max: int = 16 << 10
    pushes_max: int = 1024
    idle_ns: int = 600 * SECOND_NS

"""What a simulated node hears next: a drawn order of everything that is posted to its thread.

A real node's thread takes what threads and sockets hand it in an order nobody promises, but what
one of them hands over keeps its order. Here each of them is a channel: what comes through one
keeps its order, what comes through two meets in any order the seed draws.

Invariants: nothing is heard after `close`; equal seeds give equal orders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lithox.testing.clock import Timer
from lithox.testing.world import World

STALL_ONE_IN: Final = 50
STALL_FACTOR: Final = 50
"""One in `STALL_ONE_IN` messages is held up, and with it all behind it in its channel."""


class Channels:
    """The way of everything to one life of a node.

    Args:
        world: draws the delays and keeps the order.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._last_ns: dict[str, int] = {}
        self._is_open = True

    def post(self, channel: str, action: Callable[[], None], delay_ns: int) -> Timer:
        """Runs `action` after about `delay_ns`, not before what was posted to `channel` earlier."""
        world = self._world
        if world.has_luck(STALL_ONE_IN):
            delay_ns *= STALL_FACTOR
        at_ns = world.clock.monotonic_ns() + world.random.randrange(1, 2 * delay_ns)
        at_ns = max(at_ns, self._last_ns.get(channel, 0))
        self._last_ns[channel] = at_ns
        return self.call_at(at_ns, action)

    def call_at(self, at_ns: int, action: Callable[[], None]) -> Timer:
        """Runs `action` at world time `at_ns`; for timers, which wait for nobody."""
        return self._world.clock.call_at(at_ns, lambda: action() if self._is_open else None)

    def close(self) -> None:
        """Lets nothing through any more: the node it led to is gone."""
        self._is_open = False

"""What a simulated node is given to do: scripted handlers, clients that ask, faults that strike.

Invariants: everything is drawn from the world's own chance, in the order of events. Handlers all
end by themselves or by their fuel limit, so a simulation comes to rest once the clients stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lithox.model.ids import AccountName
from lithox.model.limits import Limits
from lithox.testing.script import Module, Script, ScriptedSelf, ScriptError
from lithox.testing.simulated_node import Order, SimulatedNode
from lithox.testing.world import World


def _short(self: ScriptedSelf, fuel: int) -> Script:
    del self
    yield ("burn", fuel)


def _asking(self: ScriptedSelf, calls: int, fuel: int) -> Script:
    for _ in range(calls):
        yield ("burn", self.random.randrange(1, fuel))
        yield ("usage",)


def _looping(self: ScriptedSelf) -> Script:
    del self
    yield ("spin",)


def _swallowing(self: ScriptedSelf) -> Script:
    """Catches every refusal and goes on for ever; only its fuel or a kill ends it."""
    del self
    while True:
        try:
            yield ("call", "simulated", "raising")
        except ScriptError:
            yield ("burn", 500)


def _calling(self: ScriptedSelf, depth: int) -> Script:
    yield ("burn", self.random.randrange(1, 1_000))
    if depth > 0:
        yield ("call", "simulated", "calling", depth - 1)
    yield ("burn", self.random.randrange(1, 1_000))


def _raising(self: ScriptedSelf) -> Script:
    yield ("burn", self.random.randrange(1, 500))
    raise ScriptError("as the simulation wanted", code="wanted")


MODULE: Module = {
    "short": _short,
    "asking": _asking,
    "looping": _looping,
    "swallowing": _swallowing,
    "calling": _calling,
    "raising": _raising,
}
"""The handlers of every simulation."""


@dataclass(slots=True, kw_only=True)
class ClientHabits:
    """How one account behaves.

    Attributes:
        pause_ns: mean time between its requests.
        handlers: what it calls, drawn evenly.
        priorities: drawn evenly.
        deadline_ns_max: its requests get a deadline of up to this from their start; 0 for none.
    """

    account: AccountName
    pause_ns: int
    handlers: tuple[str, ...]
    priorities: tuple[int, ...]
    deadline_ns_max: int = 0


class Client:
    """Makes requests of one account until `stop_ns`."""

    def __init__(
        self, world: World, node: SimulatedNode, habits: ClientHabits, stop_ns: int
    ) -> None:
        self._world = world
        self._node = node
        self._habits = habits
        self._stop_ns = stop_ns
        self._plan()

    def _plan(self) -> None:
        pause_ns = self._world.random.randrange(1, 2 * self._habits.pause_ns)
        self._world.clock.call_after(pause_ns, self._ask)

    def _ask(self) -> None:
        world, habits = self._world, self._habits
        now_ns = world.clock.monotonic_ns()
        if now_ns >= self._stop_ns:
            return
        handler = world.random.choice(habits.handlers)
        deadline_ns = None
        if habits.deadline_ns_max and world.has_luck(2):
            deadline_ns = now_ns + world.random.randrange(habits.deadline_ns_max)
        wall_end_ns = now_ns + world.random.randrange(1, 4) * 1_000_000
        order = Order(
            account=habits.account,
            handler=handler,
            args=self._draw_args(handler),
            priority=world.random.choice(habits.priorities),
            limits=(
                Limits(fuel=200_000, calls=100),
                Limits(fuel=world.random.randrange(1_000, 300_000)),
                Limits(fuel=None, memory_bytes=1 << 20),
            ),
            deadline_ns=deadline_ns,
            wall_end_ns=wall_end_ns if world.has_luck(3) else None,
        )
        self._node.spawn(order)
        self._plan()

    def _draw_args(self, handler: str) -> list[Any]:
        draw = self._world.random.randrange
        match handler:
            case "short":
                return [draw(1, 2_500)]
            case "asking":
                return [draw(1, 6), draw(2, 3_000)]
            case "calling":
                return [draw(0, 8)]
            case _:
                return []


class Killer:
    """Kills a live process now and then, until `stop_ns`."""

    def __init__(self, world: World, node: SimulatedNode, pause_ns: int, stop_ns: int) -> None:
        self._world = world
        self._node = node
        self._pause_ns = pause_ns
        self._stop_ns = stop_ns
        self._plan()

    def _plan(self) -> None:
        pause_ns = self._world.random.randrange(1, 2 * self._pause_ns)
        self._world.clock.call_after(pause_ns, self._strike)

    def _strike(self) -> None:
        if self._world.clock.monotonic_ns() >= self._stop_ns:
            return
        if self._node.runs:
            self._node.kill(self._world.random.choice(list(self._node.runs)), "request.cancelled")
        self._plan()

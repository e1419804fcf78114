"""What is asked: each workload's actions, callers, and what must be there before.

All workloads ask entities by chance out of ENTITIES, with the same seed for every peer. `touch` and
`idle` ask ever new ones. A peer that cannot do a workload says why (`Peer.cannot`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from bench.peers.limits import IN_FLIGHT
from bench.peers.wires import Action

ENTITIES: Final = 256
CALLERS: Final = 64
COUNTER_CALLERS: Final = (1, 16, 64, 256)
SIDE_CALLERS: Final = (16, 64)
"""Numbers of callers that goals speak of; roads that are not main have these alone."""
TOUCHED: Final = 10_000
IDLE: Final = 100_000
_SEED: Final = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of work that is loaded for a time, in rounds.

    Attributes:
        title: in words, for the table.
        callers: each number of callers that is measured.
        is_for_all_roads: the counter goes every road; the rest only a peer's main ones.
        is_ours_alone: it is compared with the raw log and not with peers.
    """

    name: str
    title: str
    actions: tuple[Action, ...]
    first: tuple[Action, ...] = ()
    callers: tuple[int, ...] = (CALLERS,)
    is_for_all_roads: bool = False
    is_ours_alone: bool = False


def _entities(letter: str = "e", count: int = ENTITIES) -> list[str]:
    return [f"{letter}{index}" for index in range(count)]


def _pairs() -> tuple[Action, ...]:
    draw = random.Random(_SEED)
    pairs = (draw.sample(_entities(), 2) for _ in range(ENTITIES))
    return tuple(Action("give", one, (other,)) for one, other in pairs)


INCREMENTS: Final = tuple(Action("increment", one) for one in _entities())

WORKLOADS: Final = (
    Workload(
        name="counter",
        title="durable counter, 256 entities",
        actions=INCREMENTS,
        first=INCREMENTS,
        callers=COUNTER_CALLERS,
        is_for_all_roads=True,
    ),
    Workload(
        name="flight",
        title="durable counter, 128 in flight",
        actions=INCREMENTS,
        first=INCREMENTS,
        callers=(IN_FLIGHT,),
        is_ours_alone=True,
    ),
    Workload(
        name="read",
        title="read-only handler, 256 entities",
        actions=tuple(Action("look", one) for one in _entities()),
        first=INCREMENTS,
    ),
    Workload(name="hot", title="durable counter, one entity", actions=(Action("increment", "e0"),)),
    Workload(
        name="transfer", title="transfer between two entities", actions=_pairs(), first=INCREMENTS
    ),
    Workload(
        name="big",
        title="10 kB of state, one field changes",
        actions=tuple(Action("increment", one) for one in _entities("b")),
        first=tuple(Action("fill", one) for one in _entities("b")),
    ),
)


def touches() -> list[Action]:
    """Returns one call of each of TOUCHED entities that nobody asked before."""
    return [Action("increment", one) for one in _entities("t", TOUCHED)]


def idlers(count: int = IDLE) -> list[Action]:
    """Returns one call of each of `count` entities that then stay idle."""
    return [Action("increment", one) for one in _entities("i", count)]


def mixed() -> list[Action]:
    """Returns the mixture of the long load: writes, reads, a hot entity, big states."""
    draw = random.Random(_SEED)
    kinds = [("increment", "e"), ("look", "e"), ("hot", "e"), ("increment", "b")]
    found: list[Action] = []
    for handler, letter in draw.choices(kinds, weights=[60, 25, 5, 10], k=2048):
        if handler == "hot":
            found.append(Action("increment", "e0"))
        else:
            found.append(Action(handler, f"{letter}{draw.randrange(ENTITIES)}"))
    return found

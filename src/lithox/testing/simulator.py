"""A whole run of the kernel from one number.

`Simulator(seed).run()` draws a node (policy, processors), its clients and which faults may strike
(each seed turns on some kinds only, so that rare combinations do happen), lets time pass until
everything has come to rest, and checks every law after every event.

Invariants: equal seeds give equal trace digests on every machine and under every hash seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from lithox.kernel import Lane, Policy
from lithox.model.ids import AccountName
from lithox.model.limits import Limits
from lithox.testing.checkers import (
    ConservationChecker,
    FairShareChecker,
    StarvationChecker,
)
from lithox.testing.scripted import ScriptedEngine
from lithox.testing.simulated_node import Chances, SimulatedNode
from lithox.testing.workload import MODULE, Client, ClientHabits, Killer
from lithox.testing.world import InvariantBroken, World

EVENTS_MAX: Final = 200_000
"""Events after which a simulation that has not come to rest is a failure."""
HORIZON_NS: Final = 1_000_000
"""Clients and faults stop after so much simulated time; a slice takes 1 to 72 us of it."""
QUANTA_FUEL: Final = (2_000, 6_000, 12_000, 24_000)
FUEL_PER_US: Final = 1_000

_PROCESSORS: Final[tuple[tuple[Lane, ...], ...]] = (
    (Lane.FAST, Lane.LONG),
    (Lane.FAST, Lane.LONG, Lane.LONG),
    (Lane.FAST, Lane.FAST, Lane.LONG),
)
_HANDLERS: Final[tuple[tuple[str, ...], ...]] = (
    ("short",),
    ("short", "asking"),
    ("looping",),
    ("short", "asking", "calling", "raising"),
    ("short", "looping", "swallowing", "calling"),
)


class SimulationFailed(Exception):
    """A law was broken; the message says which, by which seed, and how to see it again."""

    def __init__(self, seed: int, reason: str, tail: list[str]) -> None:
        lines = "\n    ".join(tail)
        super().__init__(
            f"seed {seed}: {reason}\n"
            f"  again with: make sim SEED={seed}\n"
            f"  that is:    python -m lithox.testing.simulate --seed {seed}\n"
            f"  the last events:\n    {lines}"
        )
        self.seed = seed
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationReport:
    """What a simulation did.

    Attributes:
        counts: what happened how often: spawn, refused, kill, `ended CODE` ...
        longest_wait_ns: longest time a process was ready and not picked, by lane.
        widest_drift_fuel: widest drift between two accounts with work, by lane.
        trace_digest: equal for equal seeds.
    """

    seed: int
    events: int
    simulated_ns: int
    counts: dict[str, int]
    trace_digest: str
    longest_wait_ns: dict[Lane, int] = field(default_factory=dict[Lane, int])
    widest_drift_fuel: dict[Lane, int] = field(default_factory=dict[Lane, int])


def run_to_rest(
    world: World, check_rest: Callable[[], None], *, events_max: int = EVENTS_MAX
) -> SimulationReport:
    """Runs `world` until nothing happens any more; returns what happened.

    Args:
        check_rest: raises when something is not as it must be then.
        events_max: after so many it counts as stuck.

    Raises:
        SimulationFailed: a law was broken.
    """
    try:
        world.run(events_max)
        check_rest()
    except Exception as error:
        raise SimulationFailed(
            world.seed, f"{type(error).__name__}: {error}", world.trace_tail()
        ) from error
    return SimulationReport(
        seed=world.seed,
        events=world.events,
        simulated_ns=world.clock.monotonic_ns(),
        counts=dict(sorted(world.counts.items())),
        trace_digest=world.trace_digest(),
    )


class Simulator:
    """One simulation, drawn from `seed`.

    Args:
        seed: 0 or more.
        horizon_ns: when clients stop.
    """

    def __init__(self, seed: int, *, horizon_ns: int = HORIZON_NS) -> None:
        self.world = World(seed)
        self._stop_ns = horizon_ns
        draw = self.world.random
        accounts = draw.randrange(1, 5)
        self._engine = ScriptedEngine(fuel_per_us=FUEL_PER_US)
        program = self._engine.load(self._engine.publish("simulated", MODULE), Limits())
        self.node = SimulatedNode(
            self.world,
            policy=self._draw_policy(),
            program=program,
            processors=draw.choice(_PROCESSORS),
            chances=Chances(
                slow_slice=self._draw_chance(10),
                conflict=self._draw_chance(5),
                give_up=self._draw_chance(10),
                late_timer=self._draw_chance(2),
            ),
        )
        for index in range(accounts):
            Client(self.world, self.node, self._draw_habits(index), self._stop_ns)
        if draw.randrange(2):
            Killer(self.world, self.node, draw.randrange(5_000, 50_000), self._stop_ns)
        self._fair = {lane: FairShareChecker(self.node, lane) for lane in Lane}
        self._starvation = StarvationChecker(self.node, accounts, self.world.clock.monotonic_ns)
        self.world.checkers += [
            ConservationChecker(self.node),
            *self._fair.values(),
            self._starvation,
        ]

    def run(self) -> SimulationReport:
        """Returns what happened once everything has come to rest.

        Raises:
            SimulationFailed: a law was broken.
        """
        return replace(
            run_to_rest(self.world, self._check_rest),
            longest_wait_ns=dict(self._starvation.longest_ns),
            widest_drift_fuel={lane: fair.widest_fuel for lane, fair in self._fair.items()},
        )

    def _check_rest(self) -> None:
        if self.node.runs or self.node.kernel.table():
            raise InvariantBroken(f"processes {list(self.node.runs)} never ended")
        self._engine.close()

    def _draw_chance(self, one_in: int) -> int:
        """Returns 0 (this fault sleeps in this seed) or a rate around one in `one_in`."""
        draw = self.world.random
        return draw.randrange(2) * draw.randrange(max(1, one_in // 2), 2 * one_in)

    def _draw_policy(self) -> Policy:
        draw = self.world.random
        return Policy(
            quanta_fuel=QUANTA_FUEL[: draw.randrange(2, len(QUANTA_FUEL) + 1)],
            slice_fuel_min=200,
            fuel_per_us=FUEL_PER_US,
            processes_max=draw.randrange(4, 40),
            processes_per_account_max=draw.randrange(2, 20),
            children_reserve=draw.randrange(4),
            starvation_ns=draw.randrange(20_000, 300_000),
            accounts_idle_max=draw.randrange(1, 4),
        )

    def _draw_habits(self, index: int) -> ClientHabits:
        draw = self.world.random
        return ClientHabits(
            account=AccountName(f"account-{index}"),
            pause_ns=draw.choice((1_000, 5_000, 20_000)),
            handlers=draw.choice(_HANDLERS),
            priorities=draw.choice(((4,), (0, 9), tuple(range(10)))),
            deadline_ns_max=draw.randrange(2) * draw.randrange(10_000, 1_000_000),
        )

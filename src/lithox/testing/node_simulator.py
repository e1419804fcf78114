"""A whole node, its disk and its callers from one number.

`NodeSimulator(seed).run()` draws callers and what they want, a disk and how it fails, bounds and
quanta, crashes, power cuts and kills (each seed turns on some of them only), lets time pass until
every caller has what it wants and everything has come to rest, and holds the node to the laws of
`ledger`, at every commit, every answer, every restart and at the end.

Invariants: equal seeds give equal trace digests on every machine and under every hash seed.
"""

from __future__ import annotations

from typing import Final

from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.kernel import Policy
from lithox.model.limits import Limits
from lithox.testing.alarms import Alarms
from lithox.testing.callers import CallerHabits, Killer, SimulatedCaller
from lithox.testing.ledger import Ledger
from lithox.testing.letters import Letters
from lithox.testing.scripted import ScriptedEngine
from lithox.testing.serial import SerialModel
from lithox.testing.simulated_disk import DiskHabits, SimulatedDisk
from lithox.testing.simulator import SimulationReport, run_to_rest
from lithox.testing.whole_node import (
    HISTORY_CELLS_MAX,
    NETWORK_DELAY_NS,
    NodeHabits,
    WholeNode,
    deploy,
    find_module,
)
from lithox.testing.workloads import MODULES, WORKLOADS, Workload
from lithox.testing.workloads_state import ACCOUNTS, OPENING_BALANCE
from lithox.testing.world import InvariantBroken, World

NS_PER_MS: Final = 1_000_000
EVENTS_MAX: Final = 300_000
"""Events after which a simulation that has not come to rest is a failure."""
WISHES: Final = 80
"""Wishes of all callers together."""
WORKLOADS_MAX: Final = 3
"""Workloads of one simulation: with fewer, callers meet more often."""
CRASHES_MAX: Final = 12
"""Crashes and closings of one simulation; after the last one nothing is killed any more either."""
DOWN_NS: Final = 300_000
"""Mean time between a crash and the restart."""
QUANTA_FUEL: Final = (2_000, 6_000, 12_000)


class NodeSimulator:
    """One simulation, drawn from `seed`.

    Args:
        seed: 0 or more.
        wishes: of all callers together.
        workloads: those to draw from.
        disk_class: another disk, for tests.
    """

    def __init__(
        self,
        seed: int,
        *,
        wishes: int = WISHES,
        workloads: tuple[Workload, ...] = WORKLOADS,
        disk_class: type[SimulatedDisk] = SimulatedDisk,
    ) -> None:
        self.world = World(seed)
        self.node: WholeNode | None = None
        draw = self.world.random
        self._habits = self._draw_node()
        self.ledger = Ledger(
            SerialModel(lambda entity: find_module(MODULES, entity)),
            Letters(self._habits.messages.tries_max),
            Alarms(lambda: self.world.clock.wall_ns() // NS_PER_MS),
        )
        self.disk = disk_class(self.world, self._draw_disk())
        self.disk.install(deploy(ScriptedEngine(), MODULES)[1])
        self.disk.on_synced.append(self.ledger.note_synced)
        self._lives = 0
        self._crashes_left = CRASHES_MAX
        self._crash_ns = draw.choice((0, 1_000_000, 4_000_000))
        used = tuple(
            draw.sample(workloads, draw.randrange(1, min(WORKLOADS_MAX, len(workloads)) + 1))
        )
        self._spread = draw.choice((1, 2, 5))
        count = draw.randrange(1, 11)
        self._callers = [
            SimulatedCaller(self, self._draw_caller(index, wishes // count, used))
            for index in range(count)
        ]
        if draw.randrange(2):
            Killer(self, draw.randrange(50_000, 500_000), self._is_busy)
        self._start()
        self._plan_crash()

    # The stage.

    def _is_busy(self) -> bool:
        """Returns whether anybody wants anything still, a message too; faults go on so long."""
        return self._crashes_left > 0 and (
            self.ledger.letters.waiting > 0
            or self.ledger.alarms.armed > 0
            or not all(one.is_done for one in self._callers)
        )

    def _start(self) -> None:
        """Starts a node over what is on the disk."""
        self._lives += 1
        self.world.note("start", self._lives)
        self.ledger.check_disk(self.disk)
        self.ledger.note_restarted()
        node = self.node = WholeNode(self.world, self.disk, MODULES, self._habits)
        node.dispatcher.runs.on_committed.append(self.ledger.note_committed)
        self.world.checkers = [node]

    def _plan_crash(self) -> None:
        if self._crash_ns:
            pause_ns = self.world.random.randrange(1, 2 * self._crash_ns)
            self.world.clock.call_after(pause_ns, self._crash)

    def _crash(self) -> None:
        node = self.node
        if node is None or not self._is_busy():
            return
        self._crashes_left -= 1
        if self.world.has_luck(4):
            self.world.note("close")
            node.dispatcher.is_closing = True
            node.dispatcher.on_idle = lambda: self._close_soon(node)
            if not node.dispatcher.open_count:
                self._close_soon(node)
            return
        self.world.note("crash")
        self._end(node, is_cut=True)

    def _close_soon(self, node: WholeNode) -> None:
        node.channels.post("close", lambda: self._close(node), NETWORK_DELAY_NS)

    def _close(self, node: WholeNode) -> None:
        """Ends a node that has answered everybody."""
        node.close()
        node.check_closed()
        self._end(node, is_cut=False)

    def _end(self, node: WholeNode, *, is_cut: bool) -> None:
        node.crash()
        self._count(node)
        self.node = None
        self.world.checkers = []
        if is_cut:
            self.disk.cut_power()
        for caller in self._callers:
            caller.on_crash()
        self.world.clock.call_after(self.world.random.randrange(1, 2 * DOWN_NS), self._restart)

    def _count(self, node: WholeNode) -> None:
        self.world.counts["conflict"] += node.dispatcher.counters.conflicts
        self.world.counts["withdrawn"] += node.store.statistics()["withdrawals"]

    def _restart(self) -> None:
        self._start()
        self._plan_crash()

    # The whole.

    def run(self) -> SimulationReport:
        """Returns what happened once everything has come to rest.

        Raises:
            SimulationFailed: a law was broken.

        Blocks: as long as the simulation takes, about a tenth of a second.
        """
        return run_to_rest(self.world, self._check_at_rest, events_max=EVENTS_MAX)

    def _check_at_rest(self) -> None:
        if not all(caller.is_done for caller in self._callers):
            raise InvariantBroken("a caller waits for an answer, and nothing happens any more")
        assert self.node is not None, "the last thing that happens to a node is a start"
        self.node.check_at_rest()
        self._count(self.node)
        self.ledger.check_at_rest(self.disk)
        accounts = [self.ledger.state_of(f"bank/{index}") for index in range(ACCOUNTS)]
        total = sum(account.get("balance", OPENING_BALANCE) for account in accounts)
        if total != ACCOUNTS * OPENING_BALANCE:
            raise InvariantBroken(f"the bank holds {total}, of {ACCOUNTS * OPENING_BALANCE}")
        letters = self.ledger.letters
        self.world.counts["sent"] += letters.sent
        self.world.counts["delivered"] += letters.delivered
        self.world.counts["fired"] += self.ledger.alarms.fired
        self.world.counts["dead"] += letters.dead
        self.world.note("rest", self.ledger.synced_version)

    # What is drawn.

    def _draw_rate(self, one_in: int) -> int:
        """Returns 0 (this fault sleeps in this seed) or a rate around one in `one_in`."""
        draw = self.world.random
        return draw.randrange(2) * draw.randrange(max(1, one_in // 2), 2 * one_in)

    def _draw_disk(self) -> DiskHabits:
        draw = self.world.random
        return DiskHabits(
            sync_ns=draw.choice((2_000, 20_000, 100_000)),
            slow_one_in=self._draw_rate(20),
            fail_one_in=draw.choice((0, 0, 3, 20)),
            probe_ns=draw.choice((10_000, 200_000)),
            batch_parts_max=draw.choice((1, 3, 64)),
        )

    def _draw_node(self) -> NodeHabits:
        draw = self.world.random
        return NodeHabits(
            policy=Policy(
                quanta_fuel=QUANTA_FUEL[: draw.randrange(2, len(QUANTA_FUEL) + 1)],
                slice_fuel_min=200,
                fuel_per_us=1_000,
                processes_max=draw.choice((6, 100, 1_000)),
                processes_per_account_max=draw.choice((3, 100)),
                children_reserve=draw.choice((2, 50)),
                starvation_ns=draw.randrange(20_000, 300_000),
            ),
            cache_bytes_max=draw.choice((0, 600, 1 << 20)),
            history_cells_max=draw.choice((4, 40, HISTORY_CELLS_MAX, HISTORY_CELLS_MAX)),
            pending_commits_max=draw.choice((2, 10_000, 10_000)),
            results_per_account_max=draw.choice((4, 1_000_000, 1_000_000)),
            node_limits=Limits(fuel=200_000),
            timers=TimerBounds(
                interval_min_ms=1,
                entity_max=draw.choice((2, 100)),
                batch_max=draw.choice((1, 100)),
                held_max=draw.choice((2, 100)),
            ),
            messages=MessageBounds(
                tries_max=draw.choice((2, 5)),
                pause_first_ms=1,
                pause_last_ms=draw.choice((1, 8)),
                pair_max=draw.choice((3, 10_000, 10_000)),
                delivering_max=draw.choice((1, 256)),
                delivering_account_max=draw.choice((1, 64)),
            ),
        )

    def _draw_caller(
        self, index: int, wishes: int, workloads: tuple[Workload, ...]
    ) -> CallerHabits:
        draw = self.world.random
        return CallerHabits(
            identity=f"caller-{index}",
            pause_ns=draw.choice((1_000, 20_000, 100_000)),
            wishes=wishes,
            workloads=tuple(draw.sample(workloads, draw.randrange(1, len(workloads) + 1))),
            spread=self._spread,
            group_one_in=draw.choice((0, 3)),
            id_one_in=draw.choice((0, 1, 2)),
            twice_one_in=draw.choice((0, 3)),
            deadline_ns=draw.choice((0, 0, 200_000)),
        )

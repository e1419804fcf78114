"""The kernel's laws, checked after every event of a simulation.

Each checker states one law. They use the node's own books and the kernel's public views only.

Fair share, as checked: while two accounts both have work in a lane without a break, the difference
of what they are charged changes by at most twice the largest slice the lane can have, for each
processor that serves it. Start-time fair queueing promises two for one processor (and 1.99 was
seen); what other processors work on is not charged yet. With several processors "has work" means
a ready process, since an account cannot be given more than it has.

Starvation, as checked: once a process has waited `starvation_ns`, its account picks only processes
that have been ready at least as long, but for one of higher priority between two such picks; and
no process waits longer than `starvation_ns` plus the time in which every account may be charged
for twice as many of the longest slices as its account has processes, plus two.
"""

from __future__ import annotations

from collections.abc import Callable

from lithox.kernel import Lane, Policy, ProcessState
from lithox.model.ids import AccountName, Pid
from lithox.testing.simulated_node import SLOW_FACTOR, Observer, Run, SimulatedNode
from lithox.testing.world import InvariantBroken


def slice_fuel_max(policy: Policy, lane: Lane) -> int:
    """Returns the largest charge of one slice of `lane`, a slow one."""
    quantum_fuel = policy.quanta_fuel[0] if lane is Lane.FAST else policy.quanta_fuel[-1]
    return max(quantum_fuel, policy.slice_fuel_min) * SLOW_FACTOR


class ConservationChecker(Observer):
    """A process that was started and has not ended is in the table, and nothing else is."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        node.observers.append(self)

    def on_picked(self, run: Run, lane: Lane) -> None:
        """Checks that what is given a processor is alive and in its lane."""
        if run.pid in self._node.ended:
            raise InvariantBroken(f"process {run.pid} runs after its end")
        view = self._node.kernel.find(run.pid)
        if view is None or view.lane is not lane:
            raise InvariantBroken(f"process {run.pid} runs in the {lane.name} lane, not in its own")

    def check(self) -> None:
        """Compares the kernel's table with the node's books, and ends by time with the clock."""
        node = self._node
        views = node.views()
        if [view.pid for view in views] != list(node.runs):
            raise InvariantBroken(
                f"the table holds {[view.pid for view in views]}, the books {list(node.runs)}"
            )
        for view in views:
            run = node.runs[view.pid]
            is_overdue = run.end_ns <= node.last_fact_ns
            if is_overdue and view.state is not ProcessState.ZOMBIE:
                raise InvariantBroken(f"process {view.pid} lives after its end by time")
            if view.state is ProcessState.ZOMBIE and run.processor is None:
                raise InvariantBroken(f"process {view.pid} is a zombie without a slice")
            has_lost_parent = run.parent is not None and node.ended.get(run.parent, "ok") != "ok"
            if has_lost_parent and view.state is not ProcessState.ZOMBIE:
                raise InvariantBroken(f"process {view.pid} outlived its parent {run.parent}")


class FairShareChecker(Observer):
    """Accounts that have work at the same time are charged alike."""

    def __init__(self, node: SimulatedNode, lane: Lane) -> None:
        self._node = node
        self._lane = lane
        self._processors = node.processors.count(lane)
        self._bound_fuel = 2 * self._processors * slice_fuel_max(node.policy, lane)
        self._busy: set[AccountName] = set()
        self._pairs: dict[tuple[AccountName, AccountName], list[int]] = {}
        """(a, b) -> [charge of a less charge of b, its smallest, its largest value]."""
        self.widest_fuel = 0
        """The widest difference seen; shows how near the bound comes to what happens."""
        node.observers.append(self)

    def on_sliced(self, run: Run, lane: Lane, charged_fuel: int) -> None:
        """Adds a charge to every pair the account is in."""
        if lane is not self._lane:
            return
        account = run.order.account
        for pair, range_fuel in self._pairs.items():
            if account in pair:
                range_fuel[0] += charged_fuel if account == pair[0] else -charged_fuel
                range_fuel[1] = min(range_fuel[1], range_fuel[0])
                range_fuel[2] = max(range_fuel[2], range_fuel[0])
                width_fuel = range_fuel[2] - range_fuel[1]
                self.widest_fuel = max(self.widest_fuel, width_fuel)
                if width_fuel > self._bound_fuel:
                    raise InvariantBroken(
                        f"{pair[0]} and {pair[1]} both had work in the {lane.name} lane, yet their "
                        f"charges drifted by {width_fuel}, at most {self._bound_fuel} is fair"
                    )

    def check(self) -> None:
        """Finds who has work now; a pair begins when both have, and ends when one has not."""
        busy: set[AccountName] = set()
        for view in self._node.views():
            if view.lane is not self._lane or view.state is not ProcessState.RUNNING:
                continue
            if self._processors == 1 or self._node.runs[view.pid].processor is None:
                busy.add(view.account)
        if busy == self._busy:
            return
        self._pairs = {pair: kept for pair, kept in self._pairs.items() if busy.issuperset(pair)}
        ordered = sorted(busy)
        for index, first in enumerate(ordered):
            for second in ordered[index + 1 :]:
                self._pairs.setdefault((first, second), [0, 0, 0])
        self._busy = busy


class StarvationChecker(Observer):
    """Nobody waits for ever, and who has waited too long is next."""

    def __init__(self, node: SimulatedNode, accounts: int, now_ns: Callable[[], int]) -> None:
        self._node = node
        self._now_ns = now_ns
        self._ready_ns: dict[Pid, int] = {}
        self._has_overtaken: set[tuple[Lane, AccountName]] = set()
        self.longest_ns = {Lane.FAST: 0, Lane.LONG: 0}
        policy = node.policy
        longest = max(slice_fuel_max(policy, lane) for lane in Lane)
        turns = 2 * accounts * (policy.processes_per_account_max + policy.children_reserve + 2)
        self._bound_ns = policy.starvation_ns + turns * longest * 1000 // policy.fuel_per_us
        node.observers.append(self)

    def on_picked(self, run: Run, lane: Lane) -> None:
        """Checks that no older process of the account had waited too long."""
        now_ns = self._now_ns()
        own_ns = self._ready_ns.pop(run.pid, now_ns)
        self.longest_ns[lane] = max(self.longest_ns[lane], now_ns - own_ns)
        turn = (lane, run.order.account)
        overtaken = self._find_overtaken(run, lane, own_ns, now_ns)
        if overtaken is None:
            self._has_overtaken.discard(turn)
            return
        is_urgent = run.order.priority > overtaken.order.priority
        if not is_urgent or turn in self._has_overtaken:
            raise InvariantBroken(
                f"process {run.pid} was picked, but {overtaken.pid} has waited "
                f"{now_ns - self._ready_ns[overtaken.pid]} ns"
            )
        self._has_overtaken.add(turn)

    def _find_overtaken(self, run: Run, lane: Lane, own_ns: int, now_ns: int) -> Run | None:
        """Returns who has waited longest of those that starve and were ready before `run`."""
        starving = [
            (ready_ns, pid)
            for pid, ready_ns in self._ready_ns.items()
            if now_ns - ready_ns >= self._node.policy.starvation_ns and ready_ns < own_ns
        ]
        for _, pid in sorted(starving):
            other, view = self._node.runs.get(pid), self._node.kernel.find(pid)
            if (
                other is not None
                and other.order.account == run.order.account
                and view is not None
                and view.lane is lane
            ):
                return other
        return None

    def check(self) -> None:
        """Notes since when each process is ready, and checks how long the longest has waited."""
        now_ns = self._now_ns()
        ready_ns: dict[Pid, int] = {}
        for view in self._node.views():
            is_running = view.state is ProcessState.RUNNING
            if is_running and self._node.runs[view.pid].processor is None:
                since_ns = ready_ns[view.pid] = self._ready_ns.get(view.pid, now_ns)
                if now_ns - since_ns > self._bound_ns:
                    raise InvariantBroken(
                        f"process {view.pid} has waited {now_ns - since_ns} ns, "
                        f"the bound is {self._bound_ns}"
                    )
        self._ready_ns = ready_ns

"""The kernel equals a naive model of its laws, whatever facts come in whatever order.

The model keeps everything in plain lists and looks at all of it for every decision; the kernel
uses heaps and rings. Where the laws leave a choice (which of two accounts with equal charges), the
model checks the kernel's choice instead of making its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lithox.kernel import Kernel, Lane, Mode, Policy, ProcessState, SliceEnd, Spawn
from lithox.model.ids import AccountName, Pid
from tests import strategies

NEVER_NS = 1 << 63
STATES = {
    "ready": ProcessState.RUNNING,
    "running": ProcessState.RUNNING,
    "waiting": ProcessState.WAITING,
    "zombie": ProcessState.ZOMBIE,
}


@dataclass
class Modelled:
    """What the model knows of a live process."""

    account: str
    priority: int
    end_ns: int
    end_code: str
    parent: int | None
    phase: str = "ready"
    level: int = 0
    level_fuel: int = 0
    ready_since: tuple[int, int] = (0, 0)
    quantum_fuel: int = 0
    kill_code: str = ""
    mode: Mode | None = None

    @property
    def lane(self) -> Lane:
        return Lane.LONG if self.level else Lane.FAST


class KernelMachine(RuleBasedStateMachine):
    """Facts drawn by Hypothesis go to the kernel and to the model."""

    @initialize(
        policy=strategies.policies,
        crowd=st.lists(
            st.tuples(st.none() | st.sampled_from(Mode), strategies.priorities), max_size=6
        ),
    )
    def begin(self, policy: Policy, crowd: list[tuple[Mode | None, int]]) -> None:
        self.policy = policy
        self.kernel = Kernel(policy)
        self.now_ns = 0
        self.live: dict[int, Modelled] = {}
        self.ended: set[int] = set()
        self.expected: list[tuple[int, str]] = []
        self.sequence = 0
        self.served_starved: set[tuple[Lane, str]] = set()
        self.holders: dict[tuple[Lane, str], int] = {}
        """Cooperative processes between two system calls."""
        self.served = {lane: dict[str, int]() for lane in Lane}
        self.lane_fuel = dict.fromkeys(Lane, 0)
        for mode, priority in crowd:
            spec = Spawn(account=AccountName("a"), name="n", mode=mode, priority=priority)
            pid = self.kernel.notify_spawned(spec, 0)
            if pid is not None:
                self.live[pid] = Modelled("a", priority, NEVER_NS, "", None, "new", mode=mode)
                self.make_ready(pid)

    # The model's own machinery.

    def advance(self, step_ns: int) -> None:
        """Lets time pass; what was due by then happens first, by time and then by PID."""
        self.now_ns += step_ns
        due = sorted((p.end_ns, pid) for pid, p in self.live.items() if p.end_ns <= self.now_ns)
        for _, pid in due:
            if pid in self.live:
                self.end(pid, self.live[pid].end_code)

    def end(self, pid: int, code: str, *, is_told: bool = True) -> None:
        process = self.live[pid]
        if process.phase == "zombie":
            return
        self.end_children(pid, code)
        if process.phase == "running":
            process.phase, process.kill_code = "zombie", code
            return
        was_ready = process.phase == "ready"
        self.forget(pid)
        if was_ready:
            self.rest(process.account, process.lane)
        if is_told:
            self.expected.append((pid, code))

    def end_children(self, pid: int, code: str) -> None:
        """Children of a program hear that it has ended, those of a run the run's own code."""
        below = code if self.live[pid].mode is None else "process.parent_ended"
        for child in [c for c, p in self.live.items() if p.parent == pid]:
            if child in self.live:
                self.end(child, below)

    def let_go(self, pid: int) -> None:
        """A process that waits or is gone keeps nobody of its account from running."""
        self.holders = {turn: held for turn, held in self.holders.items() if held != pid}

    def forget(self, pid: int) -> None:
        self.let_go(pid)
        del self.live[pid]
        self.ended.add(pid)
        for process in self.live.values():
            if process.parent == pid:
                process.parent = None

    def make_ready(self, pid: int) -> None:
        process = self.live[pid]
        served = self.served[process.lane]
        if not self.ready(process.lane, process.account):
            served[process.account] = max(
                served.get(process.account, 0), self.lane_fuel[process.lane]
            )
        self.sequence += 1
        process.phase = "ready"
        process.ready_since = (self.now_ns, self.sequence)

    def ready(self, lane: Lane, account: str | None = None) -> list[int]:
        return [
            pid
            for pid, p in self.live.items()
            if p.phase == "ready" and p.lane is lane and account in {None, p.account}
        ]

    def rest(self, account: str, lane: Lane) -> None:
        """When a lane has nothing at all to do, all debts in it are forgotten."""
        busy = [p for p in self.live.values() if p.lane is lane]
        if account and not any(p.phase in {"ready", "running", "zombie"} for p in busy):
            self.lane_fuel[lane] = max([self.lane_fuel[lane], *self.served[lane].values()])

    def pick(self, iterable: list[int], data: st.DataObject) -> int:
        return data.draw(st.sampled_from(iterable))

    def in_phase(self, *phases: str) -> list[int]:
        return [pid for pid, p in self.live.items() if p.phase in phases]

    # Facts.

    @rule(
        account=st.sampled_from("aab"),
        priority=strategies.priorities,
        after=st.tuples(st.none() | st.integers(0, 300), st.none() | st.integers(0, 300)),
        is_child=st.booleans(),
        mode=st.none() | st.sampled_from(Mode),
        data=st.data(),
    )
    def spawn(  # noqa: PLR0913, PLR0917 - the fields of an order
        self, account, priority, after, is_child, mode, data
    ) -> None:
        self.advance(data.draw(st.integers(0, 20)))
        parent = self.pick([*self.live, 999], data) if is_child else None
        deadline, wall = after
        ends = [
            (NEVER_NS if end is None else self.now_ns + end, code)
            for end, code in (
                (deadline, "request.deadline_passed"),
                (wall, "guest.out_of_wall"),
            )
        ]
        spec = Spawn(
            account=AccountName(account),
            name="n",
            priority=priority,
            deadline_ns=None if deadline is None else ends[0][0],
            wall_end_ns=None if wall is None else ends[1][0],
            parent=None if parent is None else Pid(parent),
            mode=mode,
        )
        pid = self.kernel.notify_spawned(spec, self.now_ns)
        has_parent = parent in self.live
        reserve = self.policy.children_reserve if has_parent else 0
        of_account = sum(p.account == account for p in self.live.values())
        is_refused = (
            (has_parent and self.live[parent].phase == "zombie")
            or len(self.live) >= self.policy.processes_max + reserve
            or of_account >= self.policy.processes_per_account_max + reserve
        )
        assert (pid is None) == is_refused
        if pid is None:
            return
        assert pid not in self.live
        assert pid not in self.ended
        end_ns, end_code = min(ends, key=lambda end: end[0])
        self.live[pid] = Modelled(
            account,
            priority,
            end_ns,
            end_code,
            parent if has_parent else None,
            phase="new",
            mode=mode,
        )
        self.make_ready(pid)
        self.advance(0)

    @rule(lane=st.sampled_from(Lane), step_ns=st.integers(0, 50))
    def next_slice(self, lane, step_ns) -> None:
        self.advance(step_ns)
        piece = self.kernel.next_slice(lane, self.now_ns)
        ready = [
            pid
            for pid in self.ready(lane)
            if self.holders.get((lane, self.live[pid].account)) in {None, *self.ready(lane)}
        ]
        assert (piece is None) == (not ready)
        if piece is None:
            return
        process = self.live[piece.pid]
        assert process.phase == "ready"
        assert process.lane is lane
        served = self.served[lane]
        assert served[process.account] == min(served[self.live[p].account] for p in ready)
        turn = (lane, process.account)
        if turn in self.holders:
            assert piece.pid == self.holders[turn]
        else:
            self.check_choice(piece.pid, turn)
        left = self.policy.quanta_fuel[process.level] - process.level_fuel
        assert piece.quantum_fuel == max(left, self.policy.slice_fuel_min)
        self.lane_fuel[lane] = max(self.lane_fuel[lane], served[process.account])
        served[process.account] += piece.quantum_fuel
        process.quantum_fuel = piece.quantum_fuel
        process.phase = "running"
        if process.mode is Mode.COOPERATIVE:
            self.holders[turn] = piece.pid

    def check_choice(self, chosen: int, turn: tuple[Lane, str]) -> None:
        """Of its account, the urgent or the one that starves, else level, priority and age."""
        process = self.live[chosen]
        mine = self.ready(*turn)
        oldest = min(mine, key=lambda pid: self.live[pid].ready_since)
        urgent = min(
            mine,
            key=lambda pid: (
                -self.live[pid].priority,
                self.live[pid].level,
                self.live[pid].ready_since,
            ),
        )
        is_starved = self.now_ns - self.live[oldest].ready_since[0] >= self.policy.starvation_ns
        if (
            is_starved
            and turn in self.served_starved
            and self.live[urgent].priority > self.live[oldest].priority
        ):
            assert chosen == urgent
            self.served_starved.discard(turn)
        elif is_starved:
            assert chosen == oldest
            self.served_starved.add(turn)
            if process.level > 1:
                process.level, process.level_fuel = 1, 0
        else:
            self.served_starved.discard(turn)
            best = min(
                mine,
                key=lambda pid: (
                    self.live[pid].level,
                    -self.live[pid].priority,
                    self.live[pid].ready_since,
                ),
            )
            assert chosen == best

    @precondition(lambda self: self.in_phase("running", "zombie"))
    @rule(
        end=st.sampled_from(SliceEnd),
        fuel=st.integers(0, 60),
        cpu_ns=st.integers(0, 60),
        step_ns=st.integers(0, 20),
        data=st.data(),
    )
    def sliced(self, end, fuel, cpu_ns, step_ns, data) -> None:
        pid = self.pick(self.in_phase("running", "zombie"), data)
        self.take_back(pid, end, fuel, cpu_ns, step_ns)

    def take_back(self, pid, end, fuel, cpu_ns, step_ns) -> None:
        """A slice of `pid` is over."""
        self.advance(step_ns)
        process = self.live[pid]
        is_killed = process.phase == "zombie"
        assert self.kernel.may_finish(Pid(pid), self.now_ns) is not is_killed
        stands = self.kernel.notify_sliced(Pid(pid), end, fuel, cpu_ns, self.now_ns)
        assert stands is not is_killed
        charged = max(fuel, cpu_ns)
        lane, account = process.lane, process.account
        self.served[lane][account] += charged - process.quantum_fuel
        if is_killed or end in {SliceEnd.FINISHED, SliceEnd.ENDED}:
            if end is SliceEnd.ENDED or process.mode is not None:
                process.phase = "over"
                self.end_children(pid, "request.cancelled")
            if is_killed:
                self.expected.append((pid, process.kill_code))
            self.forget(pid)
            self.rest(account, lane)
            return
        process.level_fuel += charged
        is_cooperative = process.mode is Mode.COOPERATIVE
        if end is not SliceEnd.YIELDED:
            self.let_go(pid)
        if end is SliceEnd.SWITCHED and not is_cooperative:
            process.level = process.level_fuel = 0
        elif (
            end is SliceEnd.YIELDED or process.level_fuel >= self.policy.quanta_fuel[process.level]
        ):
            process.level_fuel = 0
            if not is_cooperative:
                process.level = min(process.level + 1, len(self.policy.quanta_fuel) - 1)
        process.phase = "waiting"
        if end is SliceEnd.ASKED or process.lane is not lane:
            self.rest(account, lane)
        if end is not SliceEnd.ASKED:
            self.make_ready(pid)

    @rule(
        lane=st.sampled_from(Lane),
        ends=st.lists(st.sampled_from(SliceEnd), min_size=1, max_size=6),
        step_ns=st.sampled_from((0, 5, 100)),
    )
    def turns(self, lane, ends, step_ns) -> None:
        """A processor of one lane serves a few slices, each back before the next begins."""
        for end in ends:
            running = set(self.in_phase("running"))
            self.next_slice(lane, step_ns)
            for pid in set(self.in_phase("running")) - running:
                self.take_back(pid, end, 20, 0, 0)

    @precondition(lambda self: self.in_phase("waiting") or self.ended)
    @rule(step_ns=st.integers(0, 20), is_fresh=st.booleans(), data=st.data())
    def woken(self, step_ns, is_fresh, data) -> None:
        pid = self.pick([*self.in_phase("waiting"), *sorted(self.ended)], data)
        self.advance(step_ns)
        is_there = self.kernel.notify_woken(Pid(pid), self.now_ns, is_fresh=is_fresh)
        assert is_there == (pid in self.live)
        if pid in self.live:
            if is_fresh:
                self.live[pid].level = self.live[pid].level_fuel = 0
            self.make_ready(pid)

    @precondition(lambda self: self.in_phase("ready"))
    @rule(step_ns=st.integers(0, 20), data=st.data())
    def parked(self, step_ns, data) -> None:
        pid = self.pick(self.in_phase("ready"), data)
        self.advance(step_ns)
        assert self.kernel.notify_waiting(Pid(pid), self.now_ns) == (pid in self.live)
        if pid in self.live:
            self.let_go(pid)
            process = self.live[pid]
            process.phase = "waiting"
            self.rest(process.account, process.lane)

    @precondition(lambda self: self.in_phase("ready", "waiting"))
    @rule(step_ns=st.integers(0, 20), data=st.data())
    def given_up(self, step_ns, data) -> None:
        pid = self.pick(self.in_phase("ready", "waiting"), data)
        self.advance(step_ns)
        assert self.kernel.notify_ended(Pid(pid), self.now_ns) == (pid in self.live)
        if pid in self.live:
            self.end_children(pid, "request.cancelled")
            self.end(pid, "", is_told=False)

    @precondition(lambda self: self.live)
    @rule(step_ns=st.integers(0, 20), data=st.data())
    def killed(self, step_ns, data) -> None:
        pid = self.pick(sorted(self.live), data)
        self.advance(step_ns)
        is_there = self.kernel.notify_killed(Pid(pid), "request.cancelled", self.now_ns)
        assert is_there == (pid in self.live)
        if pid in self.live:
            self.end(pid, "request.cancelled")

    @rule(step_ns=st.integers(0, 300))
    def time_passes(self, step_ns) -> None:
        self.advance(step_ns)
        self.kernel.notify_time(self.now_ns)

    # Laws.

    @invariant()
    def effects_are_the_expected_ones_in_order(self) -> None:
        if hasattr(self, "kernel"):
            assert [tuple(effect) for effect in self.kernel.take_effects()] == self.expected
            self.expected = []

    @invariant()
    def the_table_is_the_models(self) -> None:
        if not hasattr(self, "kernel"):
            return
        seen = {
            view.pid: (view.state, view.level, view.lane, view.parent, view.account)
            for view in self.kernel.table()
        }
        assert seen == {
            pid: (STATES[p.phase], p.level, p.lane, p.parent, p.account)
            for pid, p in self.live.items()
        }

    @invariant()
    def readiness_and_the_next_deadline_are_known(self) -> None:
        if not hasattr(self, "kernel"):
            return
        for lane in Lane:
            assert self.kernel.has_ready(lane) == bool(self.ready(lane))
        ends = [
            p.end_ns for p in self.live.values() if p.end_ns < NEVER_NS and p.end_ns > self.now_ns
        ]
        assert self.kernel.next_deadline_ns() == min(ends, default=None)


KernelMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
test_kernel_equals_its_model = KernelMachine.TestCase

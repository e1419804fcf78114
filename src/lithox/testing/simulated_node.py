"""The kernel and scripted guests as one actor: what dispatch does, without store and network.

Every processor takes slices of one lane, steps the guest at once and brings the slice back when
the fuel's time has passed, so slices on several processors overlap in simulated time though all of
it happens on one thread.

Invariants: the node keeps its own books (`runs`, `ended`) and never asks the kernel what it thinks
happened, so checkers can compare the two. Facts reach the kernel in the order of their times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from lithox.errors import meaning_of
from lithox.kernel import (
    Ended,
    Kernel,
    Lane,
    Policy,
    ProcessView,
    Retry,
    SliceEnd,
    Spawn,
    decide_retry,
)
from lithox.kernel.limits import smallest
from lithox.model.ids import AccountName, Pid
from lithox.model.limits import Limits
from lithox.model.values import encode_value
from lithox.sandbox import messages
from lithox.sandbox.contract import Program, Step, StepKind
from lithox.testing.clock import Timer
from lithox.testing.scripted import ScriptedGuest
from lithox.testing.world import InvariantBroken, World

SLOW_FACTOR: Final = 3
"""How many times its fuel's time a slow slice takes (a throw-heavy guest, a busy machine)."""
ANSWER_NS_MAX: Final = 20_000
"""The longest a system call waits for its answer."""
CALL_DEPTH_MAX: Final = 5


@dataclass(slots=True, kw_only=True)
class Order:
    """A request of the simulation.

    Attributes:
        limits: what node, handler and request say; the run gets the smallest.
        deadline_ns: absolute, or None.
        wall_end_ns: absolute, or None.
    """

    account: AccountName
    handler: str
    args: list[Any]
    priority: int
    limits: tuple[Limits, ...] = ()
    deadline_ns: int | None = None
    wall_end_ns: int | None = None


@dataclass(slots=True, kw_only=True)
class Chances:
    """How often each fault strikes: once in so many times, 0 for never."""

    slow_slice: int = 0
    conflict: int = 0
    give_up: int = 0
    late_timer: int = 0


@dataclass(slots=True, kw_only=True)
class Run:
    """The node's books about one live process."""

    pid: Pid
    order: Order
    guest: ScriptedGuest
    parent: Pid | None
    depth: int
    end_ns: int
    processor: int | None = None
    is_kill_noted: bool = False
    conflicts: int = 0
    has_turn: bool = False
    fuel_before: int = 0
    children: list[Pid] = field(default_factory=list[Pid])


class Observer:
    """Is told what the node does; checkers override what they need."""

    def on_picked(self, run: Run, lane: Lane) -> None: ...

    def on_sliced(self, run: Run, lane: Lane, charged_fuel: int) -> None: ...

    def on_ended(self, run: Run, code: str) -> None: ...


class SimulatedNode:
    """One node.

    Args:
        program: gives every handler an `Order` may name.
        processors: the lane each processor serves.
    """

    def __init__(
        self,
        world: World,
        *,
        policy: Policy,
        program: Program,
        processors: tuple[Lane, ...],
        chances: Chances,
    ) -> None:
        self.world = world
        self.policy = policy
        self.kernel = Kernel(policy)
        self.processors = processors
        self.observers: list[Observer] = []
        self.runs: dict[Pid, Run] = {}
        self.ended: dict[Pid, str] = {}
        self.last_fact_ns = 0
        self._program = program
        self._chances = chances
        self._is_busy = [False] * len(processors)
        self._timer: Timer | None = None
        self._views: tuple[int, list[ProcessView]] = (-1, [])

    # What others may do to it.

    def spawn(self, order: Order, parent: Run | None = None) -> Pid | None:
        """Admits `order` and lets the processors look; None when it was refused."""
        pid = self._admit(order, parent)
        self._settle()
        return pid

    def kill(self, pid: Pid, code: str) -> None:
        """Kills a process, as an operator does; one that has just ended is left alone."""
        self.settle_all()
        run = self.runs.get(pid)
        if run is None:
            return
        self.world.note("kill", pid, code)
        run.is_kill_noted = run.processor is not None
        if not self.kernel.notify_killed(pid, code, self._now()):
            raise InvariantBroken(f"process {pid} is in our books but could not be killed")
        self._settle()

    def settle_all(self) -> None:
        """Brings time and effects up to date without any other fact."""
        self.kernel.notify_time(self._now())
        self._settle()

    def views(self) -> list[ProcessView]:
        """Returns the kernel's table as it is after this event; for checkers, made once."""
        if self._views[0] != self.world.events:
            self._views = (self.world.events, self.kernel.table())
        return self._views[1]

    # How it works.

    def _now(self) -> int:
        self.last_fact_ns = self.world.clock.monotonic_ns()
        return self.last_fact_ns

    def _admit(self, order: Order, parent: Run | None) -> Pid | None:
        limits = smallest(*order.limits)
        if limits != smallest(*reversed(order.limits)):
            raise InvariantBroken(f"the minimum of {order.limits} depends on their order")
        spec = Spawn(
            account=order.account,
            name=f"simulated:{order.handler}",
            priority=order.priority,
            deadline_ns=order.deadline_ns,
            wall_end_ns=order.wall_end_ns,
            parent=None if parent is None else parent.pid,
        )
        pid = self.kernel.notify_spawned(spec, self._now())
        self.world.note("spawn", pid, order.account, order.handler, order.priority)
        if pid is None:
            self.world.counts["refused"] += 1
            return None
        if pid in self.runs or pid in self.ended:
            raise InvariantBroken(f"process id {pid} was given twice")
        ends = [end for end in (order.deadline_ns, order.wall_end_ns) if end is not None]
        self.runs[pid] = Run(
            pid=pid,
            order=order,
            guest=self._start(order, limits),
            parent=None if parent is None else parent.pid,
            depth=0 if parent is None else parent.depth + 1,
            end_ns=min(ends, default=1 << 63),
        )
        if parent is not None:
            parent.children.append(pid)
        return pid

    def _start(self, order: Order, limits: Limits) -> ScriptedGuest:
        message = messages.encode_run(
            messages.RunMessage(
                handler=order.handler,
                args=msgspec.Raw(encode_value(order.args)),
                entity="simulated",
                caller=order.account,
                request_id=None,
                attempt=1,
                now_ms=self.world.clock.wall_ns() // 1_000_000,
                seed=self.world.random.getrandbits(63),
                state={},
                complete=True,
            )
        )
        guest = self._program.start(message, limits)
        if not isinstance(guest, ScriptedGuest):
            raise InvariantBroken("a simulated node runs scripted guests only")
        return guest

    def _settle(self) -> None:
        """Performs effects, gives every idle processor work, and sets the timer."""
        self._perform()
        for processor in range(len(self.processors)):
            if not self._is_busy[processor]:
                self._pick(processor)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        next_ns = self.kernel.next_deadline_ns()
        if next_ns is not None:
            if self.world.has_luck(self._chances.late_timer):
                next_ns += self.world.random.randrange(1, ANSWER_NS_MAX)
            self._timer = self.world.clock.call_at(next_ns, self.settle_all)

    def _perform(self) -> None:
        for effect in self.kernel.take_effects():
            if not isinstance(effect, Ended):
                raise InvariantBroken(f"nobody asked for the effect {effect}")
            run = self.runs.get(effect.pid)
            if run is None:
                raise InvariantBroken(f"the kernel ended process {effect.pid}, which is not there")
            self._end(run, effect.code)

    def _end(self, run: Run, code: str) -> None:
        """Closes the books on a run and answers its parent."""
        self.world.note("end", run.pid, code, run.guest.fuel_used)
        self.world.counts[f"ended {code}"] += 1
        if run.pid in self.ended:
            raise InvariantBroken(f"process {run.pid} ended twice")
        self.ended[run.pid] = code
        del self.runs[run.pid]
        run.guest.close()
        for observer in self.observers:
            observer.on_ended(run, code)
        if run.parent is not None and run.parent in self.runs:
            if code == "ok":
                self._answer_later(run.parent, messages.encode_answer(None, False))
            else:
                status = meaning_of(code).guest_status
                self._answer_later(run.parent, messages.encode_refusal(status, code, code, {}))

    def _pick(self, processor: int) -> None:
        lane = self.processors[processor]
        piece = self.kernel.next_slice(lane, self._now())
        self._perform()
        if piece is None:
            return
        run = self.runs.get(piece.pid)
        if run is None or run.processor is not None:
            raise InvariantBroken(f"process {piece.pid} was given a slice it cannot run")
        for observer in self.observers:
            observer.on_picked(run, lane)
        run.processor = processor
        self._is_busy[processor] = True
        before_fuel = run.guest.fuel_used
        step = run.guest.step(piece.quantum_fuel, frees_lock=lane is Lane.LONG)
        fuel = run.guest.fuel_used - before_fuel
        cpu_ns = fuel * 1000 // self.policy.fuel_per_us
        if self.world.has_luck(self._chances.slow_slice):
            self.world.note("slow", run.pid)
            cpu_ns *= SLOW_FACTOR
        self.world.note("slice", run.pid, int(lane), fuel, int(step.kind))

        def come_back() -> None:
            self._is_busy[processor] = False
            run.processor = None
            self._take_back(run, lane, step, fuel, cpu_ns)
            self._settle()

        self.world.clock.call_after(max(cpu_ns, 1), come_back)

    def _take_back(self, run: Run, lane: Lane, step: Step, fuel: int, cpu_ns: int) -> None:
        now_ns = self._now()
        end, code = self._judge(run, step)
        is_standing = self.kernel.may_finish(run.pid, now_ns)
        if is_standing and run.is_kill_noted:
            raise InvariantBroken(f"process {run.pid} may finish though its kill was noted")
        stands = self.kernel.notify_sliced(run.pid, end, fuel, cpu_ns, now_ns)
        charged_fuel = max(fuel, cpu_ns * self.policy.fuel_per_us // 1000)
        for observer in self.observers:
            observer.on_sliced(run, lane, charged_fuel)
        if stands != is_standing:
            raise InvariantBroken(f"process {run.pid} could finish, then could not, in one step")
        if not stands:
            return
        if code:
            self._end(run, code)
            # The kernel ends the children of a run that failed in the same fact.
            self._perform()
        elif end is SliceEnd.ASKED:
            self._serve(run, step.data)
        elif end is SliceEnd.RERUN:
            self._run_again(run)

    def _judge(self, run: Run, step: Step) -> tuple[SliceEnd, str]:
        """Returns what to tell the kernel, and the code of the run's end or ""."""
        if step.kind is StepKind.ENDED:
            return SliceEnd.ENDED, step.code
        if step.kind is not StepKind.FINISHED:
            return SliceEnd(step.kind), ""
        if not self.world.has_luck(self._chances.conflict):
            raised = messages.decode_outcome(step.data).kind == messages.OUTCOME_RAISED
            return SliceEnd.FINISHED, "guest.raised" if raised else "ok"
        run.conflicts += 1
        retry = decide_retry(conflicts=run.conflicts, holds_turn=run.has_turn)
        if retry is Retry.GIVE_UP:
            return SliceEnd.ENDED, "transaction.conflict"
        run.has_turn = retry is Retry.AFTER_TURN
        return SliceEnd.RERUN, ""

    def _run_again(self, run: Run) -> None:
        self.world.note("rerun", run.pid, run.conflicts)
        run.guest.close()
        run.guest = self._start(run.order, smallest(*run.order.limits))
        if run.has_turn:
            if not self.kernel.notify_waiting(run.pid, self._now()):
                raise InvariantBroken(f"process {run.pid} is gone though its slice stood")
            self._later(lambda: self._wake(run.pid))

    def _serve(self, run: Run, data: bytes) -> None:
        """Answers a system call after a while; a call to an entity is a child process."""
        name = msgspec.msgpack.decode(messages.decode_call(data)[1])
        if self.world.has_luck(self._chances.give_up):
            self._later(lambda: self._give_up(run.pid))
        if name != messages.CALL_CALL:
            self._answer_later(run.pid, messages.encode_answer(None))
            return
        handler, args = msgspec.convert(
            [msgspec.msgpack.decode(value) for value in messages.decode_call(data)[3:5]],
            tuple[str, list[Any]],
        )
        order = Order(
            account=run.order.account,
            handler=handler,
            args=args,
            priority=run.order.priority,
            limits=run.order.limits,
            deadline_ns=run.order.deadline_ns,
        )
        child = None if run.depth >= CALL_DEPTH_MAX else self._admit(order, run)
        if child is None:
            refusal = messages.encode_refusal(19, "request.overloaded", "too many", {})
            self._answer_later(run.pid, refusal)

    def _give_up(self, pid: Pid) -> None:
        run = self.runs.get(pid)
        if run is None or run.processor is not None:
            return
        self.world.note("give up", pid)
        if not self.kernel.notify_ended(pid, self._now()):
            # Its deadline passed by this very fact; the effect says so.
            self._settle()
            return
        self._perform()
        self._end(run, "request.cancelled")
        self._settle()

    def _later(self, action: Callable[[], None]) -> None:
        self.world.clock.call_after(self.world.random.randrange(1, ANSWER_NS_MAX), action)

    def _answer_later(self, pid: Pid, message: bytes) -> None:
        self._later(lambda: self._answer(pid, message))

    def _answer(self, pid: Pid, message: bytes) -> None:
        run = self.runs.get(pid)
        if run is not None:
            run.guest.answer(message)
        self._wake(pid)

    def _wake(self, pid: Pid) -> None:
        is_there = self.kernel.notify_woken(pid, self._now())
        if is_there and pid not in self.runs:
            raise InvariantBroken(f"the kernel still holds process {pid}, which has ended")
        self._settle()

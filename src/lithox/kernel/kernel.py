"""WHAT HAPPENS NEXT: facts in (`notify_*`), effects out (`take_effects`), nothing else.

The kernel has no clock, chance, I/O or thread. Every fact carries its time; a fact at time t first
makes happen all that was due by t (deadlines, wall limits), so the answer to "did the deadline or
the commit come first" depends on the times in the facts only, never on when a timer fired. Times
that run backwards count as the latest time seen.

Who wins at the end of a slice: a process that was killed, or whose end by time has passed, while
it was on a processor is ended by that, whatever its slice came to; `notify_sliced` then returns
False and the effect follows. A run that FINISHED before any of it is over, and nothing can end it
any more. Dispatch asks `may_finish` and hands the commit to the store in the same step.

A process that ends in any other way than FINISHED takes its children with it, innermost first; a
program takes them whatever its end (`process.parent_ended`). What processes do to each other is
`Kernel.interactions`; it wakes those whose event, answer or time has come.

Invariants: a process is in exactly one phase of `states.MOVES`; each process ends exactly once; a
PID is never given twice; a method costs the same with ten processes and with ten thousand, apart
from `table`. Not thread-safe: all calls come from the node's thread. More public methods than
style asks for, and a long module: they are one protocol with one state behind it, most are short,
and a third of the lines are their promises.
"""

from __future__ import annotations

from typing import Final

from lithox.errors import InternalError
from lithox.kernel.calls import Call
from lithox.kernel.effects import Effect, Ended
from lithox.kernel.grants import Grants
from lithox.kernel.interactions import Interactions
from lithox.kernel.limits import Used
from lithox.kernel.parties import Party
from lithox.kernel.policy import DEFAULT_POLICY, Policy
from lithox.kernel.process import (
    CODE_CANCELLED,
    CODE_PARENT_ENDED,
    Lane,
    Process,
    ProcessView,
    Slice,
    SliceEnd,
    Spawn,
)
from lithox.kernel.scheduler import LaneQueue
from lithox.kernel.states import MOVES, STATE_OF, Fact, Phase
from lithox.kernel.timers import TimerHeap
from lithox.model.ids import AccountName, Pid
from lithox.model.limits import PRIORITY_HIGHEST, PRIORITY_LOWEST, Limits

_PICKED: Final = MOVES[Fact.PICKED]
_WOKEN: Final = MOVES[Fact.WOKEN]
_PARKED: Final = MOVES[Fact.PARKED]
_GIVEN_UP: Final = MOVES[Fact.GIVEN_UP]
_KILLED: Final = MOVES[Fact.KILLED]
_SLICED: Final = (
    MOVES[Fact.YIELDED],
    MOVES[Fact.ASKED],
    MOVES[Fact.OVER],
    MOVES[Fact.OVER],
    MOVES[Fact.RERUN],
    MOVES[Fact.SWITCHED],
)
"""Rows in the order of `SliceEnd`."""

_READY: Final = Phase.READY
_WAITING: Final = Phase.WAITING
_ZOMBIE: Final = Phase.ZOMBIE
_GONE: Final = Phase.GONE


class Kernel:
    """The process table and the scheduler of one node."""

    def __init__(self, policy: Policy = DEFAULT_POLICY) -> None:
        self.policy: Final = policy
        self._table: dict[int, Process] = {}
        self._counts: dict[AccountName, int] = {}
        self._fast = LaneQueue(Lane.FAST, policy)
        self._long = LaneQueue(Lane.LONG, policy)
        self._lanes = (self._fast, self._long)
        self._timers: TimerHeap[Process | Party | Call] = TimerHeap()
        self._effects: list[Effect] = []
        self._pid_last, self._pid_step = 0, 1
        self._now_ns = 0
        self._fuel_per_us = policy.fuel_per_us
        self._quanta_fuel = policy.quanta_fuel
        self._level_last = len(policy.quanta_fuel) - 1
        self._refused = 0
        self._ended_by_kernel = 0
        self._grants = Grants()
        self.interactions: Final = Interactions(self)

    def share_pids(self, first: int, step: int) -> None:
        """Gives out the PIDs `first`, `first + step`, ...; to be called before the first process.

        So several kernels of one server never give the same PID, and a PID says whose it is.
        """
        self._pid_last, self._pid_step = first - step, step

    # Facts about one process.

    def notify_spawned(self, spec: Spawn, now_ns: int) -> Pid | None:
        """Admits a process; it is ready, in the FAST lane.

        Returns:
            Its PID, or None when the node or the account has too many processes (answer
            `request.overloaded`). A child of a live parent may use the reserve above both bounds.
            What was granted for a child that is refused is the parent's again.
        """
        now_ns = self._advance(now_ns)
        policy = self.policy
        parent = None if spec.parent is None else self._table.get(spec.parent)
        if parent is not None and parent.phase is _ZOMBIE:
            self._refuse(spec)
            return None
        reserve = 0 if parent is None else policy.children_reserve
        account = spec.account
        count = self._counts.get(account, 0)
        if (
            len(self._table) >= policy.processes_max + reserve
            or count >= policy.processes_per_account_max + reserve
        ):
            self._refuse(spec)
            return None
        if not PRIORITY_LOWEST <= spec.priority <= PRIORITY_HIGHEST:
            raise InternalError(f"priority {spec.priority} reached the kernel unchecked")
        self._pid_last += self._pid_step
        pid = Pid(self._pid_last)
        process = Process(pid, spec, now_ns)
        if parent is None:
            process.parent = None
        elif parent.children is None:
            parent.children = {pid: None}
        else:
            parent.children[pid] = None
        self._table[pid] = process
        self._counts[account] = count + 1
        self._timers.add(process, process.end_ns)
        if spec.limits is not None:
            self._grants.enter(pid, spec.limits, process.parent)
        self._fast.push(process, now_ns)
        if process.end_ns <= now_ns:
            self._expire(now_ns)
        return pid

    def notify_sliced(self, pid: Pid, end: SliceEnd, fuel: int, cpu_ns: int, now_ns: int) -> bool:
        """Takes back the slice of `pid`.

        Args:
            end: why it came back.
            fuel: burned in this slice.
            cpu_ns: processor time of this slice.

        Returns:
            Whether `end` stands. False: the process had been killed or its time was up; it is
            gone, its `Ended` effect says why, and nothing of it may be committed.
        """
        now_ns = self._advance(now_ns)
        process = self._get(pid)
        charged_fuel = max(fuel, cpu_ns * self._fuel_per_us // 1000)
        process.fuel += fuel
        process.cpu_ns += cpu_ns
        level = process.level
        after = _SLICED[end][process.phase]
        if after is None:
            raise InternalError(f"process {pid} came back from a slice while {process.phase.name}")
        lane = self._lanes[1 if level else 0]
        if after is _GONE:
            lane.settle(process, charged_fuel, is_leaving=True)
            return self._finish_slice(process, end)
        process.level_fuel += charged_fuel
        is_yielding = end is SliceEnd.YIELDED
        if end is SliceEnd.SWITCHED and not process.is_cooperative:
            # It lives in its system calls: most of its cost is the node's own work for it, which
            # is done on the main thread wherever the guest itself is stepped.
            process.level = level = process.level_fuel = 0
        elif is_yielding or process.level_fuel >= self._quanta_fuel[level]:
            process.level_fuel = 0
            if not process.is_cooperative:
                process.level = level = min(level + 1, self._level_last)
        if after is _WAITING and process.is_woken:
            # What it asked for came before its slice was back: it has not waited at all.
            process.is_woken = False
            after = _READY
        process.phase = after
        if after is not _READY:
            lane.settle(process, charged_fuel, is_leaving=True)
            return True
        is_held = is_yielding and process.is_cooperative
        next_lane = self._lanes[1 if level else 0]
        lane.settle(process, charged_fuel, is_leaving=next_lane is not lane, is_held=is_held)
        next_lane.push(process, now_ns)
        return True

    def notify_woken(self, pid: Pid, now_ns: int, *, is_fresh: bool = False) -> bool:
        """Makes a WAITING process ready: its answer or its turn is there.

        Args:
            is_fresh: it has really waited, so it begins again on the top level.

        Returns:
            False when the process is gone (killed while it waited): drop the answer.
        """
        now_ns = self._advance(now_ns)
        process = self._table.get(pid)
        if process is None:
            return False
        self._move(process, _WOKEN, "woken")
        if is_fresh:
            process.level = process.level_fuel = 0
        self._lanes[1 if process.level else 0].push(process, now_ns)
        return True

    def notify_waiting(self, pid: Pid, now_ns: int) -> bool:
        """Parks a ready process until `notify_woken` (it waits its turn on an entity).

        Returns:
            False when the process is gone.
        """
        self._advance(now_ns)
        process = self._table.get(pid)
        if process is None:
            return False
        self._move(process, _PARKED, "parked")
        self._lanes[1 if process.level else 0].remove(process)
        return True

    def notify_ended(self, pid: Pid, now_ns: int) -> bool:
        """Removes a process that is not on a processor: dispatch has given it up.

        No effect for the process itself; its children are ended. A program is given up only
        before it has run: its parent hears of no exit.

        Returns:
            False when the process is gone already.
        """
        self._advance(now_ns)
        process = self._table.get(pid)
        if process is None:
            return False
        if _GIVEN_UP[process.phase] is None:
            raise InternalError(f"process {pid} was given up while {process.phase.name}")
        self._end_children(process, CODE_CANCELLED)
        self._unqueue(process)
        parent = process.parent
        self._remove(process)
        if parent is not None:
            self.interactions.forget_child(parent, pid)
        return True

    def notify_killed(self, pid: Pid, code: str, now_ns: int) -> bool:
        """Ends a process: at once, or when its slice comes back. The first kill's code stands.

        Args:
            code: what the requester is told, such as `request.cancelled`.

        Returns:
            False when there is no such process (any more).
        """
        self._advance(now_ns)
        process = self._table.get(pid)
        if process is None:
            return False
        self._kill(process, code)
        return True

    def notify_time(self, now_ns: int) -> None:
        """Ends every process whose deadline or wall limit is at or before `now_ns`."""
        self._advance(now_ns)

    # Decisions.

    def next_slice(self, lane: Lane, now_ns: int) -> Slice | None:
        """Picks the next process of `lane` and marks it as on a processor; None: nothing ready."""
        now_ns = self._advance(now_ns)
        process = self._lanes[lane].pick(now_ns)
        if process is None:
            return None
        self._move(process, _PICKED, "picked")
        return Slice(process.pid, process.precharged_fuel)

    def next_slice_of(self, pid: Pid, now_ns: int) -> Slice | None:
        """Picks `pid` before its turn, if it is ready in the FAST lane; None when it is not.

        For the rest of a request whose process has just left the processor: its callee, or its
        caller. Ending a transaction that is under way costs less than letting others overtake it.
        """
        self._advance(now_ns)
        process = self._table.get(pid)
        if process is None or process.phase is not _READY or process.level:
            return None
        if not self._fast.take(process):
            return None
        self._move(process, _PICKED, "picked")
        return Slice(pid, process.precharged_fuel)

    def may_finish(self, pid: Pid, now_ns: int) -> bool:
        """Says whether a commit of `pid`, on a processor now, may be handed to the store."""
        self._advance(now_ns)
        process = self._table.get(pid)
        return process is not None and process.phase is not _ZOMBIE

    def next_deadline_ns(self) -> int | None:
        """Returns when `notify_time` is next needed, or None."""
        return self._timers.next_ns()

    def has_ready(self, lane: Lane) -> bool:
        """Says whether `next_slice(lane)` would find something but for ends by time."""
        return self._lanes[lane].ready_count > 0

    def take_effects(self) -> list[Effect]:
        """Returns what must be done, in order, and forgets it."""
        effects = self._effects
        if effects:
            self._effects = []
            return effects
        return []

    # Limits of programs.

    def grant_limits(self, parent: Pid, asked: Limits, usage: Used) -> Limits:
        """Reserves limits for a child; hand them to `notify_spawned` as `Spawn.limits`.

        Args:
            asked: the child's wishes; a field that is None means all there is.
            usage: what the parent itself has used so far (not its children).

        Returns:
            What the child may use: at most what is left of the parent's limits.
        """
        return self._grants.grant(parent, asked, usage)

    def limits_left(self, pid: Pid, usage: Used) -> Limits:
        """Returns what a program may still use itself, or grant, when it has used `usage`."""
        return self._grants.left(pid, usage)

    def return_limits(self, pid: Pid, usage: Used) -> None:
        """Settles a program that has ended: what it and its children did not use returns.

        Call it once for each process with `Spawn.limits`. What a parent that is settled before
        its children still owes goes back when the last of them is settled.
        """
        self._grants.settle(pid, usage)

    # What is.

    def find(self, pid: Pid) -> ProcessView | None:
        """Returns one row of `lithox ps`, or None when there is no such process (any more)."""
        process = self._table.get(pid)
        return None if process is None else _view(process)

    def table(self) -> list[ProcessView]:
        """Returns all processes by PID. Its cost grows with their number."""
        return [_view(process) for process in self._table.values()]

    def statistics(self) -> dict[str, int]:
        """Returns counts for the metrics page."""
        return {
            "processes": len(self._table),
            "accounts": len(self._counts),
            "ready_fast": self._fast.ready_count,
            "ready_long": self._long.ready_count,
            "spawned": self._pid_last,
            "refused": self._refused,
            "ended_by_kernel": self._ended_by_kernel,
        }

    # Below: how.

    def _advance(self, now_ns: int) -> int:
        """Returns the time of the fact, after all that was due by then has happened."""
        if now_ns < self._now_ns:
            now_ns = self._now_ns
        else:
            self._now_ns = now_ns
        if self._timers.earliest_ns <= now_ns:
            self._expire(now_ns)
        return now_ns

    def _expire(self, now_ns: int) -> None:
        """Makes happen what is due, in the order of its times."""
        while (target := self._timers.pop_due(now_ns)) is not None:
            if isinstance(target, Process):
                self._kill(target, target.end_code)
            elif isinstance(target, Call):
                self.interactions._expire_call(target)
            else:
                self.interactions._expire_wait(target)

    def _refuse(self, spec: Spawn) -> None:
        self._refused += 1
        if spec.parent is not None and spec.limits is not None:
            self._grants.cancel(spec.parent, spec.limits)

    def _wake_fresh(self, process: Process) -> None:
        """What a process waited for is there; one that was killed meanwhile stays where it is."""
        if process.phase is _WAITING:
            self._move(process, _WOKEN, "woken")
            process.level = process.level_fuel = 0
            self._fast.push(process, self._now_ns)

    def _get(self, pid: Pid) -> Process:
        process = self._table.get(pid)
        if process is None:
            raise InternalError(f"a fact about process {pid}, which is not there")
        return process

    def _move(self, process: Process, row: tuple[Phase | None, ...], what: str) -> None:
        after = row[process.phase]
        if after is None:
            raise InternalError(f"process {process.pid} was {what} while {process.phase.name}")
        process.phase = after

    def _kill(self, process: Process, code: str) -> None:
        """Ends `process` now or marks it; its children first."""
        if process.phase is not _ZOMBIE:
            self._end_children(process, code)
            self._strike(process, code)

    def _strike(self, process: Process, code: str) -> None:
        if _KILLED[process.phase] is _GONE:
            self._unqueue(process)
            self._remove(process)
            self._effects.append(Ended(process.pid, code))
        else:
            process.phase = _ZOMBIE
            process.kill_code = code
        self._ended_by_kernel += 1

    def _end_children(self, process: Process, code: str) -> None:
        """Kills what `process` has begun and not seen end, innermost first.

        Children of a program hear `process.parent_ended`, those of a run the run's own code. No
        recursion: programs may start each other deeper than Python's stack goes.
        """
        if not process.children:
            return
        found: list[tuple[Process, str]] = []
        stack = [(process, code)]
        while stack:
            parent, code = found_one = stack.pop()
            found.append(found_one)
            below = code if parent.mode is None else CODE_PARENT_ENDED
            for pid in parent.children or ():
                child = self._table.get(pid)
                # The children of a zombie ended when it was marked.
                if child is not None and child.phase is not _ZOMBIE:
                    stack.append((child, below))
        for child, code in reversed(found):
            if child is not process:
                self._strike(child, code)

    def _finish_slice(self, process: Process, end: SliceEnd) -> bool:
        """Removes a process at the end of its last slice; returns whether `end` stands."""
        is_killed = process.phase is _ZOMBIE
        if end is SliceEnd.ENDED or process.mode is not None:
            self._end_children(process, CODE_CANCELLED)
        self._remove(process)
        if is_killed:
            self._effects.append(Ended(process.pid, process.kill_code))
        return not is_killed

    def _unqueue(self, process: Process) -> None:
        if process.phase is _READY:
            self._lanes[1 if process.level else 0].remove(process)

    def _remove(self, process: Process) -> None:
        """Forgets a process that stands in no queue; children it leaves have no parent then."""
        process.phase = _GONE
        pid = process.pid
        del self._table[pid]
        self._timers.cancel(process)
        account = process.account
        count = self._counts[account] - 1
        if count:
            self._counts[account] = count
        else:
            del self._counts[account]
        if process.parent is not None:
            parent = self._table.get(process.parent)
            if parent is not None and parent.children is not None:
                parent.children.pop(pid, None)
        if process.children:
            for child_pid in process.children:
                child = self._table.get(child_pid)
                if child is not None:
                    child.parent = None
        if process.party is not None:
            self.interactions.leave(pid)


def _view(process: Process) -> ProcessView:
    return ProcessView(
        pid=process.pid,
        name=process.name,
        account=process.account,
        state=STATE_OF[process.phase],
        level=process.level,
        lane=Lane.LONG if process.level else Lane.FAST,
        priority=process.priority,
        fuel=process.fuel,
        cpu_ns=process.cpu_ns,
        started_ns=process.started_ns,
        parent=process.parent,
        mode=process.mode,
    )

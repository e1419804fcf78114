"""Who steps guests when: the pump on the node's thread, and one more thread for long runs.

The kernel decides which process is next and for how long; lanes only do it. First slices run on
the node's thread with the interpreter lock held (they are shorter than giving it up would cost).
Runs that outlive them go to a second thread that frees the lock while it steps; its operating
system priority is lowered, so that long runs take what is left of the processors and keep a small
share even when everything else is busy (docs/explanation/scheduling.md).

Invariant: a guest is stepped by one thread at a time, and the kernel ends no process while a
slice of it is out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Final, Protocol

from lithox.dispatch.driven import Driven, Driver
from lithox.dispatch.job import Clock
from lithox.kernel.effects import NodeAnswered
from lithox.kernel.kernel import Kernel
from lithox.kernel.process import Lane, SliceEnd
from lithox.model.ids import Pid
from lithox.sandbox.contract import Guest, Step

PUMP_NS: Final = 2_000_000
"""How long the pump may keep the event loop before it lets input and output have a go."""
FOLLOW_NS: Final = 2_000_000
"""How long the slices of one request (caller, callee, caller ...) may follow each other before
others have a go: a transaction that is ended quickly cannot lose against them."""
LONG_OUT_MAX: Final = 2
"""Slices given to the second thread at once: one runs while one waits, so it never idles."""
LONG_NICENESS: Final = 10
"""Linux scheduling weight 110 against 1,024: about 10 % of one of two cores, 5 % of the node's
processors, when all else is busy. Source: kernel/sched/core.c, sched_prio_to_weight."""
SLICE_NS_MAX: Final = 2_000_000
"""How long one slice on the node's thread may take with all the node does for it in between."""
BURST_FUEL_MAX: Final = 400_000
"""A program that burns less between two system calls (100 us) costs the node's thread more by its
calls than by its own work; handing it to the second thread would cost twice that at each call.
Source: docs/decisions/0010-programs.md."""
SLICE_FUEL_LEFT_MIN: Final = 20_000
"""With less of its quantum left than this, a guest that asked counts as having yielded."""

Schedule = Callable[[Callable[[], None]], object]


OnStep = Callable[[Pid, "Step | Exception", int, int], None]
"""Called on the node's thread with (pid, step or our bug, fuel, cpu_ns) of each slice."""


class LongSteps(Protocol):
    """Where long slices are stepped: a thread, or the simulator's own queue."""

    on_step: OnStep | None

    def submit(self, pid: Pid, guest: Guest, quantum_fuel: int) -> None:
        """Queues one slice."""
        ...

    def stop(self) -> None:
        """Takes no more; blocks until the slice that is out has come back."""
        ...


class LongThread:
    """The second thread that enters guests."""

    def __init__(self, *, post: Schedule, clock: Clock) -> None:
        self._post = post
        self._clock = clock
        self._orders: SimpleQueue[tuple[Pid, Guest, int] | None] = SimpleQueue()
        self._stepper: threading.Thread | None = None
        self.on_step: OnStep | None = None

    def submit(self, pid: Pid, guest: Guest, quantum_fuel: int) -> None:
        """Queues one slice; starts the thread with the first one."""
        if self._stepper is None:
            self._stepper = threading.Thread(target=self._work, name="lithox-long", daemon=True)
            self._stepper.start()
        self._orders.put((pid, guest, quantum_fuel))

    def _work(self) -> None:
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LONG_NICENESS)
        while (order := self._orders.get()) is not None:
            pid, guest, quantum_fuel = order
            fuel_before, cpu_before = guest.fuel_used, self._clock.thread_cpu_ns()
            step: Step | Exception
            try:
                step = guest.step(quantum_fuel, frees_lock=True)
            except Exception as bug:  # noqa: BLE001 - it ends one run, not this thread
                step = bug
            cpu_ns = self._clock.thread_cpu_ns() - cpu_before
            self._deliver(pid, step, guest.fuel_used - fuel_before, cpu_ns)

    def _deliver(self, pid: Pid, step: Step | Exception, fuel: int, cpu_ns: int) -> None:
        def arrive() -> None:
            if self.on_step is not None:
                self.on_step(pid, step, fuel, cpu_ns)

        with suppress(RuntimeError):  # The node's loop has closed: nobody waits any more.
            self._post(arrive)

    def stop(self) -> None:
        """Ends the thread after the slice it runs. Blocks for at most that slice."""
        if self._stepper is not None:
            self._orders.put(None)
            self._stepper.join()
            self._stepper = None


class Lanes:
    """Steps what the kernel picks.

    Attributes:
        by_pid: every process that can be stepped.
        on_bug: told of exceptions that belong to no process.
    """

    def __init__(  # noqa: PLR0913 - one wiring; all by keyword
        self,
        *,
        kernel: Kernel,
        by_pid: dict[Pid, Driven],
        on_bug: Callable[[Exception], object],
        clock: Clock,
        schedule: Schedule,
        long: LongSteps,
    ) -> None:
        self._kernel = kernel
        self._by_pid = by_pid
        self._on_bug = on_bug
        self._clock = clock
        self._schedule = schedule
        self._long = long
        self._long_out: set[Pid] = set()
        self._is_scheduled = False
        self._followed: tuple[Pid | None, int] = (None, 0)
        """Whose request was being followed when a round ended, and how long it still may be."""
        self.is_stopped = False
        self.on_deadline: Callable[[int], None] | None = None
        """Told the earliest deadline after each round of the pump, in monotonic nanoseconds."""
        self.on_node_answered: Callable[[int, int, bytes], None] | None = None
        """Told (call, status, encoded values) when a process has answered the node's own call."""
        long.on_step = self._after_long

    def wake(self) -> None:
        """Asks for a turn of the pump; cheap and idempotent."""
        if not self._is_scheduled and not self.is_stopped:
            self._is_scheduled = True
            self._schedule(self._pump)

    def _pump(self) -> None:
        self._is_scheduled = False
        if self.is_stopped:
            return
        kernel, clock = self._kernel, self._clock
        now_ns = clock.monotonic_ns()
        end_ns = now_ns + PUMP_NS
        kernel.notify_time(now_ns)
        self._perform()
        # One reading of each clock serves as the end of a slice and the start of the next.
        cpu_ns = clock.thread_cpu_ns()
        follow, follow_left_ns = self._followed
        follow_end_ns = now_ns + follow_left_ns
        while True:
            chosen = None
            if follow is not None and now_ns < follow_end_ns:
                chosen = kernel.next_slice_of(follow, now_ns)
            if chosen is None:
                chosen = kernel.next_slice(Lane.FAST, now_ns)
                follow_end_ns = now_ns + FOLLOW_NS
            if chosen is None:
                break
            frame = self._by_pid[chosen.pid]
            end, fuel = self._run_fast(frame, chosen.quantum_fuel, now_ns + SLICE_NS_MAX)
            cpu_before, cpu_ns = cpu_ns, clock.thread_cpu_ns()
            now_ns = clock.monotonic_ns()
            driver = frame.driver
            driver.charge_cpu(frame, cpu_ns - cpu_before)
            kernel.notify_sliced(chosen.pid, end, fuel, cpu_ns - cpu_before, now_ns)
            follow = driver.following(frame)
            if now_ns >= end_ns:
                break
        # What the end of this round has interrupted goes first in the next one.
        self._followed = (follow, max(0, follow_end_ns - now_ns))
        self._feed_long(now_ns)
        self._perform()
        if kernel.has_ready(Lane.FAST):
            self.wake()
        if self.on_deadline is not None and (due_ns := kernel.next_deadline_ns()) is not None:
            self.on_deadline(due_ns)

    def _run_fast(self, frame: Driven, quantum_fuel: int, end_ns: int) -> tuple[SliceEnd, int]:
        """Steps a frame for one quantum; returns why it came back and the fuel it burned."""
        driver, fuel = frame.driver, 0
        try:
            end = driver.begin(frame) if frame.guest is None or frame.is_waiting else None
            guest = frame.guest
            if guest is not None:
                fuel_before = guest.fuel_used
                while end is None:
                    burst_start = guest.fuel_used
                    step = guest.step(quantum_fuel - fuel, frees_lock=False)
                    # Read before the step is followed: that may close or restart the guest.
                    fuel = guest.fuel_used - fuel_before
                    end = driver.after_step(frame, step)
                    if end is None and (
                        quantum_fuel - fuel < SLICE_FUEL_LEFT_MIN
                        or self._clock.monotonic_ns() >= end_ns
                    ):
                        burst = guest.fuel_used - burst_start
                        end = _pause(driver, burst)
        except Exception as bug:  # noqa: BLE001 - our bug ends its run, not the node
            end = driver.break_off(frame, bug)
        assert end is not None
        return end, fuel

    def _feed_long(self, now_ns: int) -> None:
        kernel = self._kernel
        while len(self._long_out) < LONG_OUT_MAX:
            chosen = kernel.next_slice(Lane.LONG, now_ns)
            if chosen is None:
                return
            frame = self._by_pid[chosen.pid]
            driver = frame.driver
            try:
                end = driver.begin(frame) if frame.guest is None or frame.is_waiting else None
            except Exception as bug:  # noqa: BLE001 - our bug ends its run, not the node
                end = driver.break_off(frame, bug)
            if end is not None:
                kernel.notify_sliced(chosen.pid, end, 0, 0, now_ns)
                continue
            assert frame.guest is not None
            self._long_out.add(chosen.pid)
            frame.is_out = True
            self._long.submit(chosen.pid, frame.guest, chosen.quantum_fuel)

    def _after_long(self, pid: Pid, step: Step | Exception, fuel: int, cpu_ns: int) -> None:
        """A slice has come back from the second thread."""
        self._long_out.discard(pid)
        frame = self._by_pid[pid]
        if self.is_stopped:
            return
        kernel, now_ns = self._kernel, self._clock.monotonic_ns()
        driver = frame.driver
        frame.is_out = False
        driver.charge_cpu(frame, cpu_ns)
        if not kernel.may_finish(pid, now_ns):
            # A kill or deadline was noted while it ran: whatever it came to does not count.
            kernel.notify_sliced(pid, SliceEnd.YIELDED, fuel, cpu_ns, now_ns)
        else:
            cpu_before = self._clock.thread_cpu_ns()
            try:
                if isinstance(step, Exception):
                    raise step
                end = driver.after_step(frame, step)
            except Exception as bug:  # noqa: BLE001 - our bug ends its run, not the node
                end = driver.break_off(frame, bug)
            # What the node does for a run is the run's own cost, on whichever thread it is done.
            host_ns = self._clock.thread_cpu_ns() - cpu_before
            cpu_ns += host_ns
            driver.charge_cpu(frame, host_ns)
            if end is None and _pause(driver, fuel) is SliceEnd.SWITCHED:
                kernel.notify_sliced(pid, SliceEnd.SWITCHED, fuel, cpu_ns, now_ns)
            elif end is None:
                kernel.notify_sliced(pid, SliceEnd.ASKED, fuel, cpu_ns, now_ns)
                kernel.notify_woken(pid, now_ns)
            else:
                kernel.notify_sliced(pid, end, fuel, cpu_ns, now_ns)
        self._perform()
        self._feed_long(now_ns)
        self.wake()

    def _perform(self) -> None:
        """Does what the kernel decided."""
        for effect in self._kernel.take_effects():
            if isinstance(effect, NodeAnswered):
                if self.on_node_answered is not None:
                    self.on_node_answered(effect.cid, effect.status, effect.args)
                continue
            frame = self._by_pid.get(effect.pid)
            if frame is None:
                continue
            try:
                frame.driver.end_from_outside(frame, effect.code)
            except Exception as bug:  # noqa: BLE001 - the effects behind it must be done too
                self._on_bug(bug)

    def stop(self) -> None:
        """Steps nothing more; blocks until the slice that is out has come back."""
        self.is_stopped = True
        self._long.stop()


def _pause(driver: Driver, burst_fuel: int) -> SliceEnd:
    """Says how a slice ends whose last system call was answered, by what it burned before that."""
    if driver.stays_fast and burst_fuel < BURST_FUEL_MAX:
        return SliceEnd.SWITCHED
    return SliceEnd.YIELDED

"""Which ready process of a lane is next.

Two questions, asked in turn. *Which account?* The one that has been charged least in this lane:
start-time fair queueing (Goyal, Vin, Cheng 1996) with charged fuel as the service. Each account
has a virtual time that grows with what it is charged; the lane's own virtual time is that of the
account picked last. An account that comes (back) with work starts at the later of its own and the
lane's, so it can neither save up by being idle nor wipe out what it owes by leaving. A slice is
charged in advance with its quantum and corrected when it comes back, so several processors do not
all pick the same account. *Which of its processes?* The one that has waited longest, if that is
longer than the starvation bound (it is lifted to the lane's top level); else the head of the best
queue: lower level before deeper, higher priority before lower, first come first served. While
somebody of higher priority waits too, those who starve have every second turn only: a crowd that
starves cannot keep an urgent process waiting for longer than one turn of its account.

A cooperative program that used up its quantum goes on before everything else of its account, and
while it is on a processor nothing else of its account in this lane is picked (`Share.holder`):
nobody else gets a turn before its next system call. Other accounts are not touched.

Invariants: a READY process stands in exactly one queue and in `by_age` of its share, others in
none; no operation looks at more than a few entries (the heap of accounts holds stale entries,
at most as many as valid ones and `STALE_MAX`); order never depends on hashes.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import Final

from lithox.errors import InternalError
from lithox.kernel.policy import PRIORITIES, Policy
from lithox.kernel.process import Lane, Process
from lithox.model.ids import AccountName, Pid

STALE_MAX: Final = 64
"""Stale heap entries that are never worth a rebuild."""

_ALL_PRIORITIES: Final = (1 << PRIORITIES) - 1

_Queue = OrderedDict[Pid, Process]


class Share:
    """What one account has in one lane."""

    __slots__ = (
        "account",
        "by_age",
        "has_served_starved",
        "holder",
        "queue_mask",
        "queues",
        "running",
        "stamp",
        "virtual_fuel",
    )

    def __init__(self, account: AccountName) -> None:
        self.account = account
        self.virtual_fuel = 0
        self.stamp = 0
        """Stamp of its only valid entry in the lane's heap; 0 when it has nothing ready."""
        self.running = 0
        """Its slices that are on a processor now."""
        self.queues: dict[int, _Queue] = {}
        """Queue index -> its processes; the smaller the index, the sooner."""
        self.queue_mask = 0
        """Bit i is set when queue i has a process."""
        self.by_age: _Queue = OrderedDict()
        """All its ready processes, the one that has been ready longest first."""
        self.holder: Process | None = None
        """A cooperative process between two system calls: on a processor, or next."""
        self.has_served_starved = False
        """Its last turn went to a process because that had waited too long."""

    def may_serve(self) -> bool:
        """Says whether it has a process that may be picked now."""
        return bool(self.by_age) and (self.holder is None or self.holder.queue is not None)


class LaneQueue:
    """All ready processes of one lane."""

    def __init__(self, lane: Lane, policy: Policy) -> None:
        self.lane = lane
        self.ready_count = 0
        self.virtual_fuel = 0
        self._running_count = 0
        self._starvation_ns = policy.starvation_ns
        self._top_level = 0 if lane is Lane.FAST else 1
        self._quanta_fuel = policy.quanta_fuel
        self._slice_fuel_min = policy.slice_fuel_min
        self._idle_max = policy.accounts_idle_max
        self._shares: dict[AccountName, Share] = {}
        self._idle: OrderedDict[AccountName, None] = OrderedDict()
        self._heap: list[tuple[int, int, Share]] = []
        self._heap_valid = 0
        self._stamp = 0
        self._virtual_fuel_max = 0

    def push(self, process: Process, now_ns: int) -> None:
        """Puts `process` at the back of the queue of its level and priority."""
        share = self._shares.get(process.account)
        if share is None:
            share = self._shares[process.account] = Share(process.account)
        elif not share.running and not share.by_age:
            self._idle.pop(process.account, None)
        index = (process.level - self._top_level) * PRIORITIES + PRIORITIES - 1 - process.priority
        queue = share.queues.get(index)
        if queue is None:
            queue = share.queues[index] = OrderedDict()
        pid = process.pid
        process.ready_ns = now_ns
        process.share, process.queue, process.queue_index = share, queue, index
        queue[pid] = process
        share.queue_mask |= 1 << index
        if not share.by_age:
            share.virtual_fuel = max(share.virtual_fuel, self.virtual_fuel)
        share.by_age[pid] = process
        self.ready_count += 1
        if not share.stamp and share.may_serve():
            self._enter_heap(share)

    def pick(self, now_ns: int) -> Process | None:
        """Takes the next process out of its queue and charges it in advance; None: nothing ready.

        `precharged_fuel` of the process is the quantum it may use now.
        """
        heap = self._heap
        while heap:
            virtual_fuel, stamp, share = heappop(heap)
            if share.stamp == stamp:
                break
        else:
            return None
        self._heap_valid -= 1
        share.stamp = 0
        self.virtual_fuel = max(self.virtual_fuel, virtual_fuel)
        share.virtual_fuel = virtual_fuel
        process = share.holder or self._choose(share, now_ns)
        self._unlink(process, share)
        self._charge_ahead(process, share)
        return process

    def take(self, process: Process) -> bool:
        """Takes a given READY process out of its queue, out of turn, and charges it in advance.

        Its account pays as if it had been picked, so others lose their turn once, not their share.

        Returns:
            False when a cooperative process of its account has not made its system call yet.
        """
        share = process.share
        if share is None:
            raise InternalError(f"process {process.pid} stands in no queue")
        if share.holder is not None and share.holder is not process:
            return False
        self._unlink(process, share)
        self._charge_ahead(process, share)
        return True

    def _choose(self, share: Share, now_ns: int) -> Process:
        """Returns which of an account's ready processes is next; lifts one that starves."""
        oldest = next(iter(share.by_age.values()))
        is_starved = now_ns - oldest.ready_ns >= self._starvation_ns
        if not is_starved:
            share.has_served_starved = False
            mask = share.queue_mask
            return next(iter(share.queues[(mask & -mask).bit_length() - 1].values()))
        if share.has_served_starved:
            urgent = _most_urgent(share)
            if urgent.priority > oldest.priority:
                share.has_served_starved = False
                return urgent
        share.has_served_starved = True
        if oldest.level != self._top_level:
            oldest.level = self._top_level
            oldest.level_fuel = 0
        return oldest

    def _charge_ahead(self, process: Process, share: Share) -> None:
        quantum_fuel = self._quanta_fuel[process.level] - process.level_fuel
        quantum_fuel = max(quantum_fuel, self._slice_fuel_min)
        process.precharged_fuel = quantum_fuel
        share.virtual_fuel += quantum_fuel
        share.running += 1
        self._running_count += 1
        if process.is_cooperative:
            share.holder = process
        self._enter_or_leave_heap(share)

    def settle(
        self, process: Process, charged_fuel: int, *, is_leaving: bool, is_held: bool = False
    ) -> None:
        """Replaces what was charged in advance for a slice by what it has cost.

        Args:
            is_leaving: False when `push` of the same process follows at once, so that a lane with
                one busy process is not taken for an idle one between its slices.
            is_held: it is cooperative and has not made a system call, so it is next again.
        """
        share = process.share
        if share is None:
            raise InternalError(f"process {process.pid} came back from a slice it was not given")
        process.share = None
        if share.holder is process and not is_held:
            share.holder = None
        share.virtual_fuel += charged_fuel - process.precharged_fuel
        self._virtual_fuel_max = max(self._virtual_fuel_max, share.virtual_fuel)
        share.running -= 1
        self._running_count -= 1
        self._enter_or_leave_heap(share)
        if is_leaving and not share.running and not share.by_age:
            self._rest(share)

    def remove(self, process: Process) -> None:
        """Takes a READY process out of its queue."""
        share = process.share
        if share is None:
            raise InternalError(f"process {process.pid} stands in no queue")
        self._unlink(process, share)
        process.share = None
        if share.holder is process:
            share.holder = None
        if not share.may_serve():
            self._enter_or_leave_heap(share)
            if not share.by_age and not share.running:
                self._rest(share)

    def _unlink(self, process: Process, share: Share) -> None:
        queue = process.queue
        assert queue is not None
        del queue[process.pid]
        if not queue:
            share.queue_mask &= ~(1 << process.queue_index)
        process.queue = None
        del share.by_age[process.pid]
        self.ready_count -= 1

    def _enter_or_leave_heap(self, share: Share) -> None:
        if share.may_serve():
            self._enter_heap(share)
        elif share.stamp:
            share.stamp = 0
            self._heap_valid -= 1

    def _enter_heap(self, share: Share) -> None:
        """Gives `share` a valid entry at its present virtual time; an older one becomes stale."""
        if not share.stamp:
            self._heap_valid += 1
        self._stamp += 1
        share.stamp = self._stamp
        heap = self._heap
        heappush(heap, (share.virtual_fuel, self._stamp, share))
        if len(heap) > 2 * self._heap_valid + STALE_MAX:
            heap[:] = [entry for entry in heap if entry[2].stamp == entry[1]]
            heapify(heap)

    def _rest(self, share: Share) -> None:
        """Remembers an account without work; forgets the one idle longest beyond the bound."""
        idle = self._idle
        idle[share.account] = None
        if len(idle) > self._idle_max:
            del self._shares[idle.popitem(last=False)[0]]
        if not self.ready_count and not self._running_count:
            # The lane has nothing to do: nobody was deprived, so nobody owes anything any more.
            self.virtual_fuel = max(self.virtual_fuel, self._virtual_fuel_max)


def _most_urgent(share: Share) -> Process:
    """Returns the first of the highest priority an account has ready, whatever its level."""
    mask, priorities = share.queue_mask, 0
    while mask:
        priorities |= mask & _ALL_PRIORITIES
        mask >>= PRIORITIES
    bit = priorities & -priorities
    while not share.queue_mask & bit:
        bit <<= PRIORITIES
    return next(iter(share.queues[bit.bit_length() - 1].values()))

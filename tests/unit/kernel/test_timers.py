"""Ends by time: in order, exact, and without garbage that grows."""

from __future__ import annotations

from lithox.kernel import Spawn
from lithox.kernel.process import Process
from lithox.kernel.timers import NEVER_NS, STALE_MAX, TimerHeap
from lithox.model.ids import AccountName, Pid


def make_process(number: int) -> Process:
    return Process(Pid(number), Spawn(account=AccountName("a"), name="n"), 0)


def test_due_targets_come_in_order_of_time_then_of_adding() -> None:
    """The earliest end comes first; equal ends as they were added; later ones stay."""
    heap: TimerHeap[Process] = TimerHeap()
    for number, end_ns in ((1, 30), (2, 10), (3, 10), (4, NEVER_NS), (5, 40)):
        heap.add(make_process(number), end_ns)
    assert heap.next_ns() == 10
    due = []
    while (process := heap.pop_due(30)) is not None:
        due.append(process.pid)
    assert due == [2, 3, 1]
    assert heap.next_ns() == heap.earliest_ns == 40


def test_a_cancelled_target_is_never_due() -> None:
    """An end that came before its time is forgotten, and cancelling twice does no harm."""
    heap: TimerHeap[Process] = TimerHeap()
    process = make_process(1)
    heap.add(process, 10)
    heap.cancel(process)
    heap.cancel(process)
    assert heap.next_ns() is None
    assert heap.pop_due(100) is None


def test_a_target_may_have_one_end_after_another() -> None:
    """Only the end that was noted last counts, though the older entry is still in the heap."""
    heap: TimerHeap[Process] = TimerHeap()
    process = make_process(1)
    heap.add(process, 10)
    heap.cancel(process)
    heap.add(process, 20)
    assert heap.pop_due(15) is None
    assert heap.pop_due(20) is process
    assert heap.pop_due(20) is None


def test_garbage_is_bounded() -> None:
    """However many ends come and go, stale entries never outnumber live ones by far."""
    heap: TimerHeap[Process] = TimerHeap()
    heap.add(make_process(0), 10**9)
    for number in range(1, 5_000):
        process = make_process(number)
        heap.add(process, 10**9 + number)
        heap.cancel(process)
        assert len(heap) <= 2 + STALE_MAX
    assert heap.next_ns() == 10**9

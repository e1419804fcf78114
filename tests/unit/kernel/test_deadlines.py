"""Ends by time: in order, exact, and without garbage that grows."""

from __future__ import annotations

from lithox.kernel import Spawn
from lithox.kernel.deadlines import STALE_MAX, DeadlineHeap
from lithox.kernel.process import Process
from lithox.kernel.states import Phase
from lithox.model.ids import AccountName, Pid


def make_process(number: int, *, deadline_ns: int | None) -> Process:
    spec = Spawn(account=AccountName("a"), name="n", deadline_ns=deadline_ns)
    return Process(Pid(number), spec, 0)


def test_due_processes_come_in_order_of_time_then_pid() -> None:
    """The earliest end comes first; equal ends come by PID; later ones stay."""
    heap = DeadlineHeap()
    for number, deadline_ns in ((1, 30), (2, 10), (3, 10), (4, None), (5, 40)):
        heap.add(make_process(number, deadline_ns=deadline_ns))
    assert heap.next_ns() == 10
    due = []
    while (process := heap.pop_due(30)) is not None:
        due.append(process.pid)
    assert due == [2, 3, 1]
    assert heap.next_ns() == heap.earliest_ns == 40


def test_gone_processes_are_never_due() -> None:
    """An end that came before its time is forgotten."""
    heap = DeadlineHeap()
    process = make_process(1, deadline_ns=10)
    heap.add(process)
    process.phase = Phase.GONE
    heap.forget(process)
    assert heap.next_ns() is None
    assert heap.pop_due(100) is None


def test_garbage_is_bounded() -> None:
    """However many processes come and go, stale entries never outnumber live ones by far."""
    heap = DeadlineHeap()
    heap.add(make_process(0, deadline_ns=10**9))
    for number in range(1, 5_000):
        process = make_process(number, deadline_ns=10**9 + number)
        heap.add(process)
        process.phase = Phase.GONE
        heap.forget(process)
        assert len(heap) <= 2 + STALE_MAX
    assert heap.next_ns() == 10**9

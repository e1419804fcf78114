"""The kernel by example: one claim each, with policies small enough to follow by hand."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.errors import InternalError
from lithox.kernel import Ended, Kernel, Lane, Policy, ProcessState, SliceEnd, Spawn
from lithox.model.ids import AccountName, Pid

SMALL: dict[str, Any] = {
    "quanta_fuel": (10, 20, 40),
    "slice_fuel_min": 1,
    "fuel_per_us": 1_000,
    "starvation_ns": 1_000_000,
}


def make_kernel(**policy: Any) -> Kernel:
    return Kernel(Policy(**(SMALL | policy)))


def spawn(kernel: Kernel, account: str = "a", now_ns: int = 0, **rest: Any) -> Pid:
    pid = kernel.notify_spawned(Spawn(account=AccountName(account), name="e:h", **rest), now_ns)
    assert pid is not None
    return pid


def run_slice(kernel: Kernel, lane: Lane, end: SliceEnd, *, now_ns: int = 0) -> Pid:
    """Lets the next process of `lane` use its whole quantum and come back with `end`."""
    piece = kernel.next_slice(lane, now_ns)
    assert piece is not None
    kernel.notify_sliced(piece.pid, end, piece.quantum_fuel, 0, now_ns)
    return piece.pid


def test_a_first_slice_runs_in_the_fast_lane_and_the_rest_in_the_long_one() -> None:
    """A process that outlives its first quantum leaves the fast lane for good."""
    kernel = make_kernel()
    pid = spawn(kernel)
    assert kernel.next_slice(Lane.LONG, 0) is None
    assert run_slice(kernel, Lane.FAST, SliceEnd.YIELDED) == pid
    assert not kernel.has_ready(Lane.FAST)
    quanta = []
    for _ in range(3):
        piece = kernel.next_slice(Lane.LONG, 0)
        assert piece is not None
        quanta.append(piece.quantum_fuel)
        kernel.notify_sliced(pid, SliceEnd.YIELDED, piece.quantum_fuel, 0, 0)
    assert quanta == [20, 40, 40]


def test_asking_often_does_not_keep_a_process_in_the_fast_lane() -> None:
    """What a process burns between its system calls adds up; the level's quantum ends it."""
    kernel = make_kernel()
    pid = spawn(kernel)
    quanta = []
    for _ in range(3):
        piece = kernel.next_slice(Lane.FAST, 0)
        assert piece is not None
        quanta.append(piece.quantum_fuel)
        kernel.notify_sliced(pid, SliceEnd.ASKED, 4, 0, 0)
        kernel.notify_woken(pid, 0)
    assert quanta == [10, 6, 2]
    assert kernel.has_ready(Lane.LONG)


def test_processor_time_is_charged_when_it_is_more_than_fuel() -> None:
    """A slice that burns little fuel but much time counts by its time."""
    kernel = make_kernel()
    pid = spawn(kernel)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    kernel.notify_sliced(pid, SliceEnd.ASKED, 1, 10, 0)
    view = kernel.find(pid)
    assert view is not None
    assert (view.level, view.fuel, view.cpu_ns, view.state) == (1, 1, 10, ProcessState.WAITING)


def test_accounts_share_a_lane_however_many_processes_each_has() -> None:
    """Nine processes of one account get no more slices than the one of another."""
    kernel = make_kernel(quanta_fuel=(10, 10))
    crowd = [spawn(kernel, "crowd") for _ in range(9)]
    alone = spawn(kernel, "alone")
    for _ in range(10):
        run_slice(kernel, Lane.FAST, SliceEnd.YIELDED)
    picked = [run_slice(kernel, Lane.LONG, SliceEnd.YIELDED) for _ in range(40)]
    assert picked.count(alone) == 20
    assert {pid: picked.count(pid) for pid in crowd}.keys() == set(crowd)


def test_an_idle_account_saves_nothing_up() -> None:
    """An account that comes late shares from then on; it is not paid for its absence."""
    kernel = make_kernel(quanta_fuel=(10, 10))
    early = spawn(kernel, "early")
    for _ in range(50):
        run_slice(kernel, Lane.LONG if kernel.has_ready(Lane.LONG) else Lane.FAST, SliceEnd.YIELDED)
    late = spawn(kernel, "late")
    run_slice(kernel, Lane.FAST, SliceEnd.YIELDED)
    picked = [run_slice(kernel, Lane.LONG, SliceEnd.YIELDED) for _ in range(10)]
    assert picked.count(early) == picked.count(late) == 5


def test_leaving_does_not_wipe_out_what_an_account_owes() -> None:
    """An account that used a long slice and comes right back waits until the others caught up."""
    kernel = make_kernel(quanta_fuel=(10, 10))
    spawn(kernel, "greedy")
    modest = [spawn(kernel, "modest") for _ in range(4)]
    greedy = kernel.next_slice(Lane.FAST, 0)
    assert greedy is not None
    kernel.notify_sliced(greedy.pid, SliceEnd.FINISHED, 30, 0, 0)
    spawn(kernel, "greedy")
    picked = [run_slice(kernel, Lane.FAST, SliceEnd.FINISHED) for _ in range(3)]
    assert picked == modest[:3]


def test_several_processors_do_not_all_serve_one_account() -> None:
    """A slice is charged when it is handed out, so the next processor takes another account."""
    kernel = make_kernel()
    spawn(kernel, "b")
    earlier = kernel.next_slice(Lane.FAST, 0)
    first = spawn(kernel, "a")
    spawn(kernel, "a")
    assert earlier is not None
    kernel.notify_sliced(earlier.pid, SliceEnd.FINISHED, 5, 0, 0)
    other = spawn(kernel, "b")
    pieces = [kernel.next_slice(Lane.FAST, 0) for _ in range(2)]
    assert [piece.pid for piece in pieces if piece is not None] == [first, other]


def test_one_busy_process_does_not_make_its_lane_look_idle() -> None:
    """Between the slices of the only process of a lane nobody else's debt is forgotten."""
    kernel = make_kernel(quanta_fuel=(10, 10))
    greedy = spawn(kernel, "greedy")
    piece = kernel.next_slice(Lane.FAST, 0)
    assert piece is not None
    modest = spawn(kernel, "modest")
    kernel.notify_sliced(greedy, SliceEnd.ASKED, 9, 0, 0)
    for _ in range(2):
        assert kernel.next_slice(Lane.FAST, 0) is not None
        kernel.notify_sliced(modest, SliceEnd.RERUN, 1, 0, 0)
    spawn(kernel, "modest")
    kernel.notify_woken(greedy, 0)
    picked = []
    while (piece := kernel.next_slice(Lane.FAST, 0)) is not None:
        picked.append(piece.pid)
        kernel.notify_sliced(piece.pid, SliceEnd.FINISHED, 1, 0, 0)
    assert picked == [modest, 3, greedy]


def test_higher_priority_goes_first_and_equals_take_turns() -> None:
    """Within an account and level: priority, then first come first served."""
    kernel = make_kernel()
    low = spawn(kernel, priority=1)
    high = [spawn(kernel, priority=8), spawn(kernel, priority=8)]
    picked = [run_slice(kernel, Lane.FAST, SliceEnd.FINISHED) for _ in range(3)]
    assert picked == [*high, low]


def test_who_has_waited_too_long_goes_before_higher_priorities() -> None:
    """At the starvation bound a process is next in its account and back on the top level."""
    kernel = make_kernel(starvation_ns=100)
    old = spawn(kernel, priority=0)
    for lane in (Lane.FAST, Lane.LONG):
        run_slice(kernel, lane, SliceEnd.YIELDED)
    view = kernel.find(old)
    assert view is not None
    assert view.level == 2
    fresh = spawn(kernel, priority=9)
    run_slice(kernel, Lane.FAST, SliceEnd.YIELDED)
    piece = kernel.next_slice(Lane.LONG, 99)
    assert piece is not None
    assert piece.pid == fresh
    kernel.notify_sliced(fresh, SliceEnd.ASKED, 1, 0, 99)
    kernel.notify_woken(fresh, 99)
    assert kernel.next_slice(Lane.LONG, 100) == (old, 20)


def test_a_waiting_process_ends_at_once_when_killed() -> None:
    """A kill of a process that is not on a processor needs nobody's help; late answers drop."""
    kernel = make_kernel()
    pid = spawn(kernel)
    run_slice(kernel, Lane.FAST, SliceEnd.ASKED)
    assert kernel.notify_killed(pid, "request.cancelled", 5)
    assert kernel.take_effects() == [Ended(pid, "request.cancelled")]
    assert kernel.take_effects() == []
    assert not kernel.notify_woken(pid, 6)
    assert not kernel.notify_killed(pid, "request.cancelled", 6)


@pytest.mark.parametrize("end", list(SliceEnd))
def test_a_kill_noted_on_a_processor_beats_whatever_the_slice_came_to(end: SliceEnd) -> None:
    """The killed process is a zombie until its slice is back, and even FINISHED commits nothing."""
    kernel = make_kernel()
    pid = spawn(kernel)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    assert kernel.may_finish(pid, 0)
    kernel.notify_killed(pid, "request.cancelled", 1)
    kernel.notify_killed(pid, "guest.out_of_wall", 2)
    view = kernel.find(pid)
    assert view is not None
    assert view.state is ProcessState.ZOMBIE
    assert kernel.take_effects() == []
    assert not kernel.may_finish(pid, 3)
    assert kernel.notify_sliced(pid, end, 1, 0, 3) is False
    assert kernel.take_effects() == [Ended(pid, "request.cancelled")]
    assert kernel.table() == []


def test_a_finished_run_cannot_be_killed_any_more() -> None:
    """Once FINISHED was told without a kill before, the answer is the commit's."""
    kernel = make_kernel()
    pid = spawn(kernel, deadline_ns=10)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    assert kernel.notify_sliced(pid, SliceEnd.FINISHED, 1, 0, 9) is True
    assert not kernel.notify_killed(pid, "request.cancelled", 9)
    kernel.notify_time(1_000)
    assert kernel.take_effects() == []


def test_a_deadline_acts_by_the_times_of_facts_not_by_timers() -> None:
    """A slice that comes back FINISHED at its deadline is too late, though no timer has fired."""
    kernel = make_kernel()
    pid = spawn(kernel, deadline_ns=10)
    assert kernel.next_deadline_ns() == 10
    assert kernel.next_slice(Lane.FAST, 0) is not None
    assert kernel.notify_sliced(pid, SliceEnd.FINISHED, 1, 0, 10) is False
    assert kernel.take_effects() == [Ended(pid, "request.deadline_passed")]
    assert kernel.next_deadline_ns() is None


@pytest.mark.parametrize(
    ("deadline_ns", "wall_end_ns", "code"),
    [
        (10, None, "request.deadline_passed"),
        (None, 10, "guest.out_of_wall"),
        (10, 11, "request.deadline_passed"),
        (11, 10, "guest.out_of_wall"),
        (10, 10, "request.deadline_passed"),
    ],
)
def test_the_earlier_end_by_time_gives_the_code(
    deadline_ns: int | None, wall_end_ns: int | None, code: str
) -> None:
    """Deadline and wall limit are told apart by which comes first; the caller's wins a tie."""
    kernel = make_kernel()
    pid = spawn(kernel, deadline_ns=deadline_ns, wall_end_ns=wall_end_ns)
    kernel.notify_time(9)
    assert kernel.take_effects() == []
    kernel.notify_time(10)
    assert kernel.take_effects() == [Ended(pid, code)]
    assert not kernel.has_ready(Lane.FAST)


def test_a_request_whose_deadline_has_passed_ends_before_it_runs() -> None:
    """It is admitted, ended, and never given a slice."""
    kernel = make_kernel()
    pid = spawn(kernel, now_ns=20, deadline_ns=10)
    assert kernel.next_slice(Lane.FAST, 20) is None
    assert kernel.take_effects() == [Ended(pid, "request.deadline_passed")]


def test_too_many_processes_are_refused_but_children_have_a_reserve() -> None:
    """New requests stop at the bounds; a child of a live parent may use the reserve above."""
    kernel = make_kernel(processes_max=3, processes_per_account_max=2, children_reserve=1)
    parent = spawn(kernel, "a")
    spawn(kernel, "a")
    order = Spawn(account=AccountName("a"), name="e:h")
    assert kernel.notify_spawned(order, 0) is None
    child = spawn(kernel, "a", parent=parent)
    order.parent = parent
    assert kernel.notify_spawned(order, 0) is None
    assert kernel.notify_spawned(Spawn(account=AccountName("b"), name="e:h"), 0) is None
    assert kernel.statistics()["refused"] == 3
    kernel.notify_killed(child, "request.cancelled", 0)
    assert spawn(kernel, "b") == 4


def test_a_killed_parent_takes_its_children_along_innermost_first() -> None:
    """Effects come child before parent, so that dispatch unwinds from the inside."""
    kernel = make_kernel()
    parent = spawn(kernel)
    child = spawn(kernel, parent=parent)
    grandchild = spawn(kernel, parent=child)
    kernel.notify_killed(parent, "request.cancelled", 0)
    assert [effect.pid for effect in kernel.take_effects()] == [grandchild, child, parent]
    assert kernel.table() == []


def test_children_of_a_finished_parent_live_on_without_one() -> None:
    """FINISHED takes nobody along; a failed end does."""
    kernel = make_kernel()
    parent = spawn(kernel)
    child = spawn(kernel, parent=parent)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    kernel.notify_sliced(parent, SliceEnd.FINISHED, 1, 0, 0)
    view = kernel.find(child)
    assert view is not None
    assert view.parent is None
    orphan = spawn(kernel, parent=child)
    kernel.notify_ended(child, 0)
    assert kernel.take_effects() == [Ended(orphan, "request.cancelled")]


def test_a_zombie_gets_no_children() -> None:
    """A parent that was killed on its processor cannot start anything any more."""
    kernel = make_kernel()
    parent = spawn(kernel)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    kernel.notify_killed(parent, "request.cancelled", 0)
    order = Spawn(account=AccountName("a"), name="e:h", parent=parent)
    assert kernel.notify_spawned(order, 0) is None


def test_a_conflicting_run_keeps_its_process() -> None:
    """RERUN puts it back on its level; dispatch may park it until its turn comes."""
    kernel = make_kernel()
    pid = spawn(kernel)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    kernel.notify_sliced(pid, SliceEnd.RERUN, 3, 0, 0)
    assert kernel.notify_waiting(pid, 0)
    assert not kernel.has_ready(Lane.FAST)
    assert kernel.notify_woken(pid, 0)
    assert kernel.next_slice(Lane.FAST, 0) == (pid, 7)


def test_a_process_given_up_is_forgotten_without_effect() -> None:
    """Dispatch knows about an end it reports itself."""
    kernel = make_kernel()
    pid = spawn(kernel)
    assert kernel.notify_ended(pid, 0)
    assert not kernel.notify_ended(pid, 0)
    assert not kernel.notify_waiting(pid, 0)
    assert kernel.take_effects() == []
    assert not kernel.may_finish(pid, 0)


def test_process_ids_are_never_given_twice() -> None:
    """The next process gets a new id though the last one is gone."""
    kernel = make_kernel()
    pids = []
    for _ in range(5):
        pids.append(spawn(kernel))
        kernel.notify_ended(pids[-1], 0)
    assert pids == [1, 2, 3, 4, 5]


def test_time_that_runs_backwards_is_the_latest_time_seen() -> None:
    """An older fact does not bring a passed deadline back."""
    kernel = make_kernel()
    kernel.notify_time(100)
    pid = spawn(kernel, now_ns=50, deadline_ns=90)
    assert kernel.take_effects() == [Ended(pid, "request.deadline_passed")]


def test_impossible_facts_are_our_bug() -> None:
    """A fact that the table has no move for raises InternalError and names the process."""
    kernel = make_kernel()
    pid = spawn(kernel)
    with pytest.raises(InternalError, match="process 1 was woken while READY"):
        kernel.notify_woken(pid, 0)
    with pytest.raises(InternalError, match="process 1 came back from a slice while READY"):
        kernel.notify_sliced(pid, SliceEnd.ASKED, 0, 0, 0)
    with pytest.raises(InternalError, match="about process 9, which is not there"):
        kernel.notify_sliced(Pid(9), SliceEnd.ASKED, 0, 0, 0)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    with pytest.raises(InternalError, match="process 1 was given up while ON_PROCESSOR"):
        kernel.notify_ended(pid, 0)
    with pytest.raises(InternalError, match="priority 10"):
        spawn(kernel, priority=10)

"""What the kernel does for programs beyond runs: families, modes, limits that are handed on."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.errors import InternalError
from lithox.kernel import Ended, Kernel, Lane, Mode, Policy, SliceEnd, Spawn
from lithox.model.ids import AccountName, Pid
from lithox.model.limits import Limits

SMALL: dict[str, Any] = {
    "quanta_fuel": (10, 20, 40),
    "slice_fuel_min": 1,
    "fuel_per_us": 1_000,
    "starvation_ns": 1_000_000,
}


def make_kernel(**policy: Any) -> Kernel:
    return Kernel(Policy(**(SMALL | policy)))


def start(kernel: Kernel, parent: Pid | None = None, **rest: Any) -> Pid:
    spec = Spawn(
        account=AccountName(rest.pop("account", "a")),
        name="p",
        parent=parent,
        **({"mode": Mode.PREEMPTIVE} | rest),
    )
    pid = kernel.notify_spawned(spec, 0)
    assert pid is not None
    return pid


def run_slice(kernel: Kernel, lane: Lane, end: SliceEnd) -> Pid:
    piece = kernel.next_slice(lane, 0)
    assert piece is not None
    kernel.notify_sliced(piece.pid, end, piece.quantum_fuel, 0, 0)
    return piece.pid


# Families.


@pytest.mark.parametrize("end", [SliceEnd.FINISHED, SliceEnd.ENDED])
def test_a_program_takes_its_children_along_whatever_its_end(end: SliceEnd) -> None:
    """Even a program that has finished leaves nobody behind; innermost first."""
    kernel = make_kernel()
    parent = start(kernel)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    child = start(kernel, parent)
    grandchild = start(kernel, child)
    kernel.notify_sliced(parent, end, 1, 0, 0)
    assert kernel.take_effects() == [
        Ended(grandchild, "process.parent_ended"),
        Ended(child, "process.parent_ended"),
    ]
    assert kernel.table() == []


def test_the_children_of_a_killed_program_hear_why_they_ended() -> None:
    """The program has the kill's code, its children `process.parent_ended`."""
    kernel = make_kernel()
    parent = start(kernel)
    children = [start(kernel, parent) for _ in range(2)]
    kernel.notify_killed(parent, "request.cancelled", 0)
    assert kernel.take_effects() == [
        *(Ended(child, "process.parent_ended") for child in children),
        Ended(parent, "request.cancelled"),
    ]


def test_families_may_be_deeper_than_pythons_stack() -> None:
    """Five thousand programs, each started by the one before, end with the first."""
    kernel = make_kernel()
    pid = first = start(kernel)
    for _ in range(5_000):
        pid = start(kernel, pid)
    kernel.notify_killed(first, "request.cancelled", 0)
    effects = kernel.take_effects()
    assert [effect.pid for effect in effects if isinstance(effect, Ended)] == [*range(5_001, 0, -1)]


def test_a_child_on_a_processor_ends_when_its_slice_is_back() -> None:
    """Its parent does not wait for it; it is a zombie until then, and nobody's child."""
    kernel = make_kernel()
    parent = start(kernel)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    child = start(kernel, parent)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    kernel.notify_sliced(parent, SliceEnd.FINISHED, 1, 0, 0)
    assert kernel.take_effects() == []
    assert not kernel.notify_sliced(child, SliceEnd.FINISHED, 1, 0, 0)
    assert kernel.take_effects() == [Ended(child, "process.parent_ended")]


def test_a_child_killed_before_its_program_ends_keeps_its_own_reason() -> None:
    """A zombie is not killed a second time, for another reason, when its parent ends."""
    kernel = make_kernel()
    parent = start(kernel)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    child = start(kernel, parent)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    kernel.notify_killed(child, "request.cancelled", 0)
    kernel.notify_sliced(parent, SliceEnd.FINISHED, 1, 0, 0)
    assert kernel.statistics()["ended_by_kernel"] == 1
    assert not kernel.notify_sliced(child, SliceEnd.FINISHED, 1, 0, 0)
    assert kernel.take_effects() == [Ended(child, "request.cancelled")]


# Modes.


def test_a_cooperative_program_keeps_the_processor_until_it_makes_a_system_call() -> None:
    """It is next again after every quantum, on its level, and goes to the back once it asks."""
    kernel = make_kernel()
    loop = start(kernel, mode=Mode.COOPERATIVE)
    other = start(kernel, mode=Mode.COOPERATIVE)
    urgent = start(kernel, priority=9)
    picked = [run_slice(kernel, Lane.FAST, SliceEnd.FINISHED)]
    picked += [run_slice(kernel, Lane.FAST, SliceEnd.YIELDED) for _ in range(5)]
    assert picked == [urgent, *[loop] * 5]
    assert run_slice(kernel, Lane.FAST, SliceEnd.SWITCHED) == loop
    assert run_slice(kernel, Lane.FAST, SliceEnd.SWITCHED) == other
    assert run_slice(kernel, Lane.FAST, SliceEnd.ASKED) == loop
    assert run_slice(kernel, Lane.FAST, SliceEnd.YIELDED) == other


def test_a_cooperative_loop_takes_nothing_from_other_accounts() -> None:
    """Fair share between accounts holds: others get every second slice."""
    kernel = make_kernel(quanta_fuel=(10, 10))
    loop = start(kernel, mode=Mode.COOPERATIVE)
    other = start(kernel, account="b", mode=Mode.COOPERATIVE)
    picked = [run_slice(kernel, Lane.FAST, SliceEnd.YIELDED) for _ in range(10)]
    assert picked.count(loop) == picked.count(other) == 5


def test_nobody_of_the_account_runs_beside_a_cooperative_program() -> None:
    """While it is on a processor no second processor takes one of its neighbours."""
    kernel = make_kernel()
    loop = start(kernel, mode=Mode.COOPERATIVE)
    neighbour = start(kernel)
    stranger = start(kernel, account="b")
    first = kernel.next_slice(Lane.FAST, 0)
    second = kernel.next_slice(Lane.FAST, 0)
    assert first is not None
    assert second is not None
    assert (first.pid, second.pid) == (loop, stranger)
    assert kernel.next_slice(Lane.FAST, 0) is None
    assert kernel.next_slice_of(neighbour, 0) is None
    kernel.notify_sliced(loop, SliceEnd.YIELDED, 10, 0, 0)
    assert kernel.next_slice_of(neighbour, 0) is None
    assert kernel.next_slice_of(loop, 0) is not None
    kernel.notify_sliced(loop, SliceEnd.SWITCHED, 10, 0, 0)
    assert run_slice(kernel, Lane.FAST, SliceEnd.FINISHED) == neighbour


@pytest.mark.parametrize("where", ["on processor", "ready"])
def test_a_cooperative_loop_can_be_killed(where: str) -> None:
    """Kills and ends by time hold in every mode, and the account goes on without it."""
    kernel = make_kernel()
    loop = start(kernel, mode=Mode.COOPERATIVE)
    other = start(kernel)
    assert kernel.next_slice(Lane.FAST, 0) is not None
    if where == "ready":
        kernel.notify_sliced(loop, SliceEnd.YIELDED, 10, 0, 0)
    kernel.notify_killed(loop, "request.cancelled", 0)
    if where == "on processor":
        assert not kernel.notify_sliced(loop, SliceEnd.YIELDED, 10, 0, 0)
    assert kernel.take_effects() == [Ended(loop, "request.cancelled")]
    assert run_slice(kernel, Lane.FAST, SliceEnd.FINISHED) == other


def test_a_preemptive_program_that_switches_goes_to_the_back() -> None:
    """Equals take turns at their system calls too."""
    kernel = make_kernel()
    pids = [start(kernel) for _ in range(2)]
    picked = [run_slice(kernel, Lane.FAST, SliceEnd.SWITCHED) for _ in range(4)]
    assert picked == pids * 2


def test_who_is_woken_fresh_is_in_the_fast_lane_again() -> None:
    """A long run that waited for an event is as quick to answer as a new one."""
    kernel = make_kernel()
    pid = start(kernel)
    for lane in (Lane.FAST, Lane.LONG):
        run_slice(kernel, lane, SliceEnd.YIELDED)
    run_slice(kernel, Lane.LONG, SliceEnd.ASKED)
    kernel.notify_woken(pid, 0, is_fresh=True)
    assert kernel.next_slice(Lane.FAST, 0) == (pid, 10)


# Limits.


def test_a_grant_is_at_most_what_is_left() -> None:
    """What a child may use is reserved at once; a second child gets the rest."""
    kernel = make_kernel()
    parent = start(kernel, limits=Limits(fuel=100, memory_bytes=64, calls=10))
    first = kernel.grant_limits(parent, Limits(fuel=60, calls=20), Limits(fuel=10, calls=1))
    assert first == Limits(fuel=60, memory_bytes=64, calls=9)
    start(kernel, parent, limits=first)
    second = kernel.grant_limits(parent, Limits(), Limits(fuel=10, calls=1))
    assert second == Limits(fuel=30, memory_bytes=0, calls=0)
    assert kernel.limits_left(parent, Limits(fuel=10)).fuel == 0


def test_what_a_child_did_not_use_returns_and_the_rest_is_the_parents_use() -> None:
    """Memory returns whole, fuel less what was burned."""
    kernel = make_kernel()
    parent = start(kernel, limits=Limits(fuel=100, memory_bytes=64))
    granted = kernel.grant_limits(parent, Limits(fuel=50, memory_bytes=60), Limits())
    child = start(kernel, parent, limits=granted)
    kernel.notify_killed(child, "request.cancelled", 0)
    kernel.return_limits(child, Limits(fuel=20, memory_bytes=50))
    assert kernel.limits_left(parent, Limits()) == Limits(fuel=80, memory_bytes=64)


def test_nothing_is_won_by_burning_through_grandchildren() -> None:
    """What a grandchild used is the child's use when it ends, even when all end together."""
    kernel = make_kernel()
    parent = start(kernel, limits=Limits(fuel=100))
    child = start(kernel, parent, limits=kernel.grant_limits(parent, Limits(fuel=80), Limits()))
    grandchild = start(kernel, child, limits=kernel.grant_limits(child, Limits(), Limits()))
    kernel.notify_killed(child, "request.cancelled", 0)
    for effect in kernel.take_effects():
        assert isinstance(effect, Ended)
        used = {grandchild: 70, child: 5}[effect.pid]
        kernel.return_limits(effect.pid, Limits(fuel=used))
    assert kernel.limits_left(parent, Limits()).fuel == 25


def test_a_parent_settled_before_its_child_gives_back_as_much() -> None:
    """The order in which a driver settles a family makes no difference."""
    kernel = make_kernel()
    shell = start(kernel, limits=Limits(fuel=100))
    parent = start(kernel, shell, limits=kernel.grant_limits(shell, Limits(fuel=80), Limits()))
    child = start(kernel, parent, limits=kernel.grant_limits(parent, Limits(fuel=50), Limits()))
    kernel.notify_killed(parent, "request.cancelled", 0)
    kernel.return_limits(parent, Limits(fuel=5))
    assert kernel.limits_left(shell, Limits()).fuel == 20
    kernel.return_limits(child, Limits(fuel=10))
    assert kernel.limits_left(shell, Limits()).fuel == 85
    assert len(kernel._grants) == 1


def test_the_grant_of_a_child_that_was_refused_returns() -> None:
    """A node that is full costs the parent nothing."""
    kernel = make_kernel(processes_max=1, children_reserve=0)
    parent = start(kernel, limits=Limits(fuel=100))
    granted = kernel.grant_limits(parent, Limits(fuel=50), Limits())
    order = Spawn(
        account=AccountName("a"), name="p", parent=parent, mode=Mode.PREEMPTIVE, limits=granted
    )
    assert kernel.notify_spawned(order, 0) is None
    assert kernel.limits_left(parent, Limits()).fuel == 100


def test_limits_are_returned_once() -> None:
    """A second settlement is our bug; nothing is kept of a settled program."""
    kernel = make_kernel()
    pid = start(kernel, limits=Limits(fuel=1))
    kernel.notify_killed(pid, "request.cancelled", 0)
    kernel.return_limits(pid, Limits())
    assert len(kernel._grants) == 0
    with pytest.raises(InternalError):
        kernel.return_limits(pid, Limits())


# The numbers, in virtual time.

SECOND_NS = 1_000_000_000


def run_loops(kernel: Kernel, until_ns: int, fuel: dict[Pid, int]) -> int:
    """Lets endless loops run on one processor of the LONG lane; returns when it stopped."""
    now_ns = 0
    while now_ns < until_ns:
        piece = kernel.next_slice(Lane.LONG, now_ns)
        assert piece is not None
        cpu_ns = piece.quantum_fuel * 1_000 // kernel.policy.fuel_per_us
        now_ns += cpu_ns
        fuel[piece.pid] += piece.quantum_fuel
        kernel.notify_sliced(piece.pid, SliceEnd.YIELDED, piece.quantum_fuel, cpu_ns, now_ns)
    return now_ns


def make_loops(count: int, priority: int = 4) -> tuple[Kernel, dict[Pid, int]]:
    """Returns a kernel with the default policy and `count` loops that have left the FAST lane."""
    kernel = Kernel()
    fuel = {start(kernel, priority=priority): 0 for _ in range(count)}
    for _ in fuel:
        run_slice(kernel, Lane.FAST, SliceEnd.YIELDED)
    return kernel, fuel


@pytest.mark.slow
def test_a_hundred_loops_of_equal_priority_share_within_five_percent() -> None:
    """Over ten seconds of virtual time each gets the mean, 5 % more or less."""
    kernel, fuel = make_loops(100)
    run_loops(kernel, 10 * SECOND_NS, fuel)
    mean = sum(fuel.values()) / len(fuel)
    assert max(abs(used - mean) for used in fuel.values()) <= 0.05 * mean


@pytest.mark.parametrize("level_lane", list(Lane))
def test_a_waking_process_of_higher_priority_runs_within_two_quanta(level_lane: Lane) -> None:
    """At most one slice is on the processor and one more is picked before it, in either lane."""
    kernel, fuel = make_loops(100)
    now_ns = run_loops(kernel, SECOND_NS, fuel)
    urgent = start(kernel, priority=9)
    if level_lane is Lane.LONG:
        run_slice(kernel, Lane.FAST, SliceEnd.YIELDED)
    piece = kernel.next_slice(level_lane, now_ns)
    assert piece is not None
    if piece.pid != urgent:
        assert level_lane is Lane.LONG
        kernel.notify_sliced(piece.pid, SliceEnd.YIELDED, piece.quantum_fuel, 0, now_ns)
        piece = kernel.next_slice(Lane.LONG, now_ns)
        assert piece is not None
    assert piece.pid == urgent


def test_an_urgent_loop_does_not_starve_the_crowd() -> None:
    """Beside a loop of the highest priority, those that starve still get every second turn."""
    kernel, fuel = make_loops(20, priority=0)
    urgent = start(kernel, priority=9)
    fuel[urgent] = 0
    run_slice(kernel, Lane.FAST, SliceEnd.YIELDED)
    run_loops(kernel, 5 * SECOND_NS, fuel)
    crowd = [used for pid, used in fuel.items() if pid != urgent]
    assert min(crowd) > 0.6 * max(crowd)
    assert fuel[urgent] > 5 * max(crowd)

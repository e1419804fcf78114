"""A lane's own bounds: stale entries and remembered accounts do not pile up."""

from __future__ import annotations

from lithox.kernel import Lane, Policy, Spawn
from lithox.kernel.process import Process
from lithox.kernel.scheduler import STALE_MAX, LaneQueue
from lithox.model.ids import AccountName, Pid


def make_process(number: int, account: str) -> Process:
    return Process(Pid(number), Spawn(account=AccountName(account), name="n"), 0)


def test_stale_heap_entries_are_bounded() -> None:
    """Slices of one account beside hundreds that only wait leave no trail of stale entries."""
    lane = LaneQueue(Lane.FAST, Policy())
    for number in range(200):
        lane.push(make_process(number, f"account-{number % 20}"), 0)
    for _ in range(2_000):
        process = lane.pick(0)
        assert process is not None
        lane.settle(process, 1, is_leaving=False)
        lane.push(process, 0)
        assert len(lane._heap) <= 2 * 20 + STALE_MAX


def test_idle_accounts_are_forgotten_beyond_the_bound() -> None:
    """A lane remembers what `accounts_idle_max` idle accounts have used, and no more."""
    lane = LaneQueue(Lane.FAST, Policy(accounts_idle_max=3))
    for number in range(50):
        lane.push(make_process(number, f"account-{number}"), 0)
        process = lane.pick(0)
        assert process is not None
        lane.settle(process, 1, is_leaving=True)
        assert len(lane._shares) <= 3
    assert lane.ready_count == 0


def test_removing_the_last_ready_process_takes_the_account_out_of_the_choice() -> None:
    """An account whose only process was killed is not picked."""
    lane = LaneQueue(Lane.FAST, Policy())
    first, second = make_process(1, "a"), make_process(2, "b")
    lane.push(first, 0)
    lane.push(second, 0)
    lane.remove(first)
    assert lane.pick(0) is second
    assert lane.pick(0) is None

"""A whole node keeps its promises over a disk that fails and forgets, and planted bugs are seen."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.dispatch.atomic import Groups
from lithox.dispatch.committing import Commits
from lithox.dispatch.inflight import InFlight
from lithox.dispatch.job import Job
from lithox.dispatch.messages.delivery import Delivery, MessageOrigin
from lithox.dispatch.messages.waiting import Waiting
from lithox.dispatch.schedules.direct import DueCall
from lithox.dispatch.schedules.records import SCHEDULES_PREFIX
from lithox.dispatch.schedules.timers import Timers
from lithox.dispatch.transaction import Transaction
from lithox.dispatch.turns import Turns
from lithox.store.cells import VisibleCells
from lithox.store.recent import RecentChanges
from lithox.store.views import EntityViews
from lithox.store.visible import VisibleStore
from lithox.testing.node_simulator import NodeSimulator
from lithox.testing.simulated_disk import LenientDisk
from lithox.testing.simulator import SimulationFailed
from lithox.testing.workloads import WORKLOADS, Workload
from tests.simulation.digests import digests_under_hash_seeds

pytestmark = [pytest.mark.sim, pytest.mark.slow]

SEEDS = range(24)
WISHES = 60
MUTANT_SEEDS = range(100)
"""With a planted bug one of them fails, mostly one of the first ten."""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_holds(seed: int) -> None:
    """Through crashes, power cuts and failing syncs everything done is done once, and whole."""
    report = NodeSimulator(seed).run()
    assert report.counts["rest"] == 1
    assert report.counts.get("answered ok", 0) > 0


def test_every_fault_and_every_end_happens_somewhere() -> None:
    """The seeds of this file together meet what they are about."""
    met: set[str] = set()
    for seed in range(30):
        counts = NodeSimulator(seed, wishes=WISHES).run().counts
        met |= {name for name, count in counts.items() if count}
    assert met >= {
        "crash", "close", "torn", "whole", "disk failed", "disk resumed", "kill", "conflict",
        "withdrawn", "answered ok", "answered app.overdrawn", "answered guest.out_of_fuel",
        "answered guest.trapped", "answered request.cancelled", "answered request.overloaded",
        "answered request.deadline_passed", "answered store.results_full",
        "answered store.unavailable", "answered transaction.diverged", "sent", "delivered", "dead",
        "answered app.gone", "answered app.sold_out", "answered app.message.queue_full",
        "fired",
    }  # fmt: skip


def test_a_seed_gives_one_trace_under_every_hash_seed() -> None:
    """Two interpreters with different hash seeds, and this one, come to the same digest."""
    others = digests_under_hash_seeds(
        "lithox.testing.node_simulator", f"NodeSimulator(3, wishes={WISHES})"
    )
    assert others == {NodeSimulator(3, wishes=WISHES).run().trace_digest}


def used_workloads(names: str) -> tuple[Workload, ...]:
    return tuple(one for one in WORKLOADS if names == "all" or one.name in names.split())


def run_until_broken(**options: Any) -> None:
    for seed in MUTANT_SEEDS:
        NodeSimulator(seed, wishes=WISHES, **options).run()


def answer_before_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tells that a commit is durable as soon as it is visible."""
    submit = VisibleStore.submit

    def hasty(self: VisibleStore, commit: Any, on_done: Any) -> int | None:
        version = submit(self, commit, lambda error: None)
        if version is not None:
            self._call_soon(on_done)
        return version

    monkeypatch.setattr(VisibleStore, "submit", hasty)


def read_before_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets answers that only read leave before what they read is durable."""
    monkeypatch.setattr(VisibleStore, "when_read_durable", lambda self, *rest, **more: True)


def forget_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not validate the keys a run has read."""
    is_current = RecentChanges.is_current
    monkeypatch.setattr(
        RecentChanges,
        "is_current",
        lambda self, version, reads, ranges: is_current(self, version, (), ranges),
    )


def forget_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not validate the ranges a run has scanned."""
    is_current = RecentChanges.is_current
    monkeypatch.setattr(
        RecentChanges,
        "is_current",
        lambda self, version, reads, ranges: is_current(self, version, reads, ()),
    )


def believe_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not validate what a run had read when it fails."""
    monkeypatch.setattr(VisibleStore, "is_current", lambda self, *rest: True)


def keep_failed_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not roll back to the savepoint of a failed call."""
    monkeypatch.setattr(Transaction, "roll_back_to", lambda self, savepoint: None)


def forget_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not record the result of a request with an id."""
    monkeypatch.setattr(Commits, "_result_of", lambda self, job, body: None)


def run_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs two requests with one id at the same time."""
    monkeypatch.setattr(InFlight, "enter", lambda self, job: True)


def keep_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes on showing values that were taken back."""
    withdraw = VisibleCells.withdraw

    def forgetful(self: VisibleCells, version: int, cells: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(EntityViews, "forget", lambda self, entity: None)
            withdraw(self, version, cells)

    monkeypatch.setattr(VisibleCells, "withdraw", forgetful)


def keep_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never gives a turn back, so that whoever waits for it waits for ever."""
    monkeypatch.setattr(Turns, "give_back", lambda self, turn: None)


def keep_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves a message in the outbox when it takes effect."""
    monkeypatch.setattr(MessageOrigin, "complete", lambda self, transaction, body: None)


def deliver_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hands each message over twice."""
    deliver = Delivery._deliver

    def doubly(self: Delivery, pair: Any, entry: Any) -> None:
        request = None if entry.next_ms else self._request_of(entry)
        if request is not None:
            self._submit(request, lambda answer: None)
        deliver(self, pair, entry)

    monkeypatch.setattr(Delivery, "_deliver", doubly)


def deliver_twice_heedlessly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hands each message over twice, and does not look whether it has taken effect."""
    deliver_twice(monkeypatch)
    monkeypatch.setattr(MessageOrigin, "is_due", lambda self, transaction: True)


def forget_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not read what waits in the outbox at a start."""
    monkeypatch.setattr(Delivery, "start", lambda self: setattr(self, "_is_running", True))


def drop_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes on to the next message of a pair when one has failed."""
    monkeypatch.setattr(Delivery, "_rest", lambda self, pair, pause_ms: self._go_on(pair))


def deliver_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts each message before those that wait for the same receiver."""
    add = Waiting.add

    def before(self: Waiting, key: Any, entry: Any) -> Any:
        pair = add(self, key, entry)
        if pair.state.name == "READY" and pair.entries[0].account == entry.account:
            pair.entries.rotate(1)
        return pair

    monkeypatch.setattr(Waiting, "add", before)


def forget_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not record the answer of a request that a handler makes."""
    is_recorded = Job.is_recorded.fget
    assert is_recorded is not None
    monkeypatch.setattr(
        Job, "is_recorded", property(lambda self: self.parent is None and is_recorded(self))
    )


def end_groups_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits a group after its first call."""
    monkeypatch.setattr(Groups, "has_next", lambda self, frame: False)


def forget_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not read at a start which timers are armed."""
    monkeypatch.setattr(Timers, "start", lambda self: setattr(self, "_is_running", True))


def fire_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes a timer for due a little before it is."""
    wall_ms = Timers._wall_ms
    monkeypatch.setattr(Timers, "_wall_ms", lambda self: wall_ms(self) + 2)


def keep_fired(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves a timer that is due once where it is when it fires."""
    is_due = DueCall.is_due

    def careless(self: DueCall, transaction: Transaction) -> bool:
        found = is_due(self, transaction)
        for cell in [c for c in transaction.writes if c[0].startswith(SCHEDULES_PREFIX)]:
            del transaction.writes[cell]
        return found

    monkeypatch.setattr(DueCall, "is_due", careless)


def test_a_message_handed_over_twice_takes_effect_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handing a message over twice is harmless, whatever else happens."""
    deliver_twice(monkeypatch)
    delivered = [
        NodeSimulator(seed, wishes=WISHES, workloads=used_workloads("mail")).run().counts
        for seed in range(8)
    ]
    assert sum(counts["delivered"] for counts in delivered) > 100


@pytest.mark.parametrize(
    ("breaks", "workloads", "seen"),
    [
        (answer_before_sync, "all", "is not on the disk|fits no state on the disk"),
        (read_before_sync, "hostile lists", "fits no state on the disk"),
        (forget_reads, "bank lists", "alone it is"),
        (forget_ranges, "claims", "alone it is"),
        (believe_errors, "hostile", "fits no state on the disk"),
        (keep_failed_calls, "bank", "alone it is"),
        (forget_results, "all", "has result False|is not on the disk"),
        (run_twins, "all", "was done twice|is not on the disk"),
        (keep_withdrawn, "bank lists", "alone it is|fits no state"),
        (keep_turns, "bank", "waits for an answer|left are"),
        (keep_rows, "mail", "outbox has"),
        (deliver_twice_heedlessly, "mail", "but it did not wait"),
        (forget_waiting, "mail", "waits, and nothing happens|took effect before|did not wait"),
        (drop_failed, "mail", "took effect before|waits, and nothing happens|died before"),
        (deliver_newest, "mail", "took effect before|died before"),
        (forget_requests, "shop", "has result False|took effect twice"),
        (end_groups_early, "bank", "alone|fits no state"),
        (forget_timers, "clocks", "never fires|is in no index"),
        (fire_early, "clocks", "early"),
        (keep_fired, "clocks", "alone it is"),
    ],
)
def test_a_planted_bug_is_seen(
    breaks, workloads: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each planted bug breaks a law within the seeds that pass without it."""
    breaks(monkeypatch)
    with pytest.raises(SimulationFailed, match=seen):
        run_until_broken(workloads=used_workloads(workloads))


def test_a_torn_batch_that_is_kept_is_seen() -> None:
    """A disk that keeps the first rows of a batch without its end is caught."""
    with pytest.raises(SimulationFailed, match=r"disk has|outbox has|in no index"):
        run_until_broken(disk_class=LenientDisk)

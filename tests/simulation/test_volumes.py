"""Nodes with a volume each keep every promise over bad links, and planted bugs are seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lithox.dispatch.handover import Handover
from lithox.dispatch.messages.forwarding import Forwarding
from lithox.dispatch.messages.marks import MarkRecord, SentElsewhere, decode_mark
from lithox.dispatch.messages.waiting import Entry
from lithox.store.visible import VisibleStore
from lithox.testing.simulator import SimulationFailed
from lithox.testing.volumes_simulator import VolumesSimulator

pytestmark = [pytest.mark.sim, pytest.mark.slow]

SEEDS = range(12)
MUTANT_SEEDS = range(20)
"""With a planted bug one of them fails, mostly one of the first three."""


def test_sums_and_order_are_exact_and_every_fault_happens() -> None:
    """Through crashes of any side, lost answers and late copies all takes effect once."""
    met: set[str] = set()
    for seed in SEEDS:
        report = VolumesSimulator(seed).run()
        assert report.counts["rest"] == 1
        met |= {name for name, count in report.counts.items() if count}
    assert met >= {
        "crash", "torn", "disk failed", "late copy", "request lost", "answer lost", "asked",
        "dead elsewhere", "heard elsewhere",
    }  # fmt: skip


def test_a_seed_gives_one_trace() -> None:
    """What failed once can be looked at as often as it takes."""
    assert VolumesSimulator(3).run().trace_digest == VolumesSimulator(3).run().trace_digest


def run_until_broken() -> None:
    for seed in MUTANT_SEEDS:
        VolumesSimulator(seed).run()


def keep_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believes that nothing has been done."""
    monkeypatch.setattr(SentElsewhere, "is_behind", lambda self, mark: False)


def know_the_last_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes every other message than the last one for a new one."""
    monkeypatch.setattr(
        SentElsewhere,
        "is_behind",
        lambda self, mark: mark is not None and decode_mark(mark).id == self.id,
    )


def compare_over_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not ask which process of the sender has counted."""

    def is_behind(self: SentElsewhere, mark: bytes | None) -> bool:
        if mark is None:
            return False
        last = decode_mark(mark)
        return (self.version, self.position) <= (last.version, last.position)

    monkeypatch.setattr(SentElsewhere, "is_behind", is_behind)


def hear_the_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets what an older process has sent take effect."""

    def is_behind(self: SentElsewhere, mark: bytes | None) -> bool:
        if mark is None:
            return False
        last: MarkRecord = decode_mark(mark)
        if self.epoch != last.epoch:
            return self.id == last.id
        return (self.version, self.position) <= (last.version, last.position)

    monkeypatch.setattr(SentElsewhere, "is_behind", is_behind)


def remove_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes a row away as soon as its message is sent."""
    send = Forwarding._send

    def hasty(self: Any, end: Any, task: Any, request: Any, failure: Any) -> None:
        if failure is None and not task.is_void:
            self._remove(lambda **_: None, task.entry)
        send(self, end, task, request, failure)

    monkeypatch.setattr(Forwarding, "_send", hasty)


def go_on_before_the_end_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends the next message of a pair as soon as the row of the one before is visibly gone."""
    remove = Forwarding._remove

    def hasty(self: Any, end: Callable[..., None], entry: Entry) -> None:
        remove(self, lambda **_: None, entry)
        end(is_done=True, error=None)

    monkeypatch.setattr(Forwarding, "_remove", hasty)


def send_what_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends a message before its row is durable."""
    begin = Forwarding._begin

    def hasty(self: Any, *rest: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(VisibleStore, "when_read_durable", lambda *_, **__: True)
            begin(self, *rest)

    monkeypatch.setattr(Forwarding, "_begin", hasty)


def ask_under_another_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loses the id of what a handler asks elsewhere."""
    send = Handover.send_child
    count = iter(range(10**9))

    def anew(self: Any, request: Any, *rest: Any) -> None:
        send(self, replace(request, request_id=f"q.{next(count)}"), *rest)

    monkeypatch.setattr(Handover, "send_child", anew)


@pytest.mark.parametrize(
    "plant",
    [
        keep_no_mark,
        know_the_last_only,
        compare_over_epochs,
        hear_the_dead,
        remove_before_the_answer,
        go_on_before_the_end_is_durable,
        send_what_is_visible,
        ask_under_another_id,
    ],
)
def test_a_planted_bug_is_seen(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the ways to get it wrong breaks a law within a few seeds."""
    plant(monkeypatch)
    with pytest.raises(SimulationFailed):
        run_until_broken()

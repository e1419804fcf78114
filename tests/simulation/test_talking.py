"""Processes that talk at random keep every promise of interactions, and repeat from their seed."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.kernel.calling import Calling
from lithox.kernel.interactions import Interactions
from lithox.kernel.listening import Listening
from lithox.kernel.parties import Parties
from lithox.kernel.sharing import Sharing
from lithox.testing.simulator import SimulationFailed
from lithox.testing.talking import TalkSimulator
from tests.simulation.digests import digests_under_hash_seeds

pytestmark = [pytest.mark.sim, pytest.mark.slow]

SEEDS = range(8)
HORIZON_NS = 300_000
MUTANT_SEEDS = range(10)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_holds(seed: int) -> None:
    """All processes end, each call was answered once, and nothing of anybody is left."""
    report = TalkSimulator(seed, horizon_ns=HORIZON_NS).run()
    assert report.counts["end"] > 5


def test_every_kind_of_act_and_refusal_happens_somewhere() -> None:
    """The seeds of this file together meet the rules that they are about."""
    met: set[str] = set()
    for seed in SEEDS:
        met |= TalkSimulator(seed, horizon_ns=HORIZON_NS).run().counts.keys()
    assert met >= {
        "call", "answer", "push", "close", "revoke", "hear", "kill", "ended ok",
        "ended request.cancelled", "ended process.parent_ended", "refused context.closed",
        "refused context.no_such_name", "refused context.too_many", "refused request.overloaded",
        "refused call.not_found", "refused context.invalid",
    }  # fmt: skip


def test_a_seed_gives_one_trace_under_every_hash_seed() -> None:
    """Two interpreters with different hash seeds, and this one, come to the same digest."""
    others = digests_under_hash_seeds(
        "lithox.testing.talking", f"TalkSimulator(5, horizon_ns={HORIZON_NS})"
    )
    assert others == {TalkSimulator(5, horizon_ns=HORIZON_NS).run().trace_digest}


def never_abandon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks the promise of an answer: calls of a dead owner stay open for ever."""
    monkeypatch.setattr(Calling, "_abandon", lambda self, owner, calls: None)


def answer_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks the promise of one answer."""
    finish = Calling._finish

    def twice(self: Calling, call: Any, *rest: Any) -> None:
        finish(self, call, *rest)
        if not call.is_blocking and call.caller is not None:
            finish(self, call, *rest)

    monkeypatch.setattr(Calling, "_finish", twice)


def forget_a_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks conservation: a number that goes leaves its room set aside."""

    def silent(self: Sharing, party: Any, holding: Any) -> None:
        del party.holdings[holding.number]

    monkeypatch.setattr(Sharing, "_give_up", silent)


def mix_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks order: the newest entry of a mailbox is taken first."""
    take = Parties._take

    def reverse(self: Parties, party: Any) -> Any:
        party.events.reverse()
        try:
            return take(self, party)
        finally:
            party.events.reverse()

    monkeypatch.setattr(Parties, "_take", reverse)


def lose_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks waiting: what comes before the slice is back wakes nobody."""
    wake = Parties._wake

    def late(self: Parties, party: Any) -> None:
        wake(self, party)
        party.process.is_woken = False

    monkeypatch.setattr(Parties, "_wake", late)


def keep_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks the end of a process: it goes on listening."""
    monkeypatch.setattr(Listening, "_end_listeners_of", lambda self, holding, *, drops: None)


def stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks the end of a process: it stays a party."""
    monkeypatch.setattr(Interactions, "leave", lambda self, pid: None)


@pytest.mark.parametrize(
    "breaks",
    [never_abandon, answer_twice, forget_a_close, mix_messages, lose_wakes, keep_listening, stay],
)
def test_broken_interactions_are_seen(breaks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each planted fault breaks a promise within a few seeds."""
    breaks(monkeypatch)

    def run_all() -> None:
        for seed in MUTANT_SEEDS:
            TalkSimulator(seed, horizon_ns=HORIZON_NS).run()

    with pytest.raises(SimulationFailed):
        run_all()

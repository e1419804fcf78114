"""Which parts one transaction of the PostgreSQL engine may join."""

from __future__ import annotations

from lithox.store.beliefs import Token
from lithox.store.contract import Cell
from lithox.store.postgres.batch import Batch
from lithox.store.shared_engine import SharedPart

A_BEFORE, A_AFTER = 5 * 1024, 9 * 1024


def part(version: int, checks: dict[Token, int], *written: Cell) -> SharedPart:
    """Returns a commit that rests on `checks` and writes `written`."""
    made = SharedPart(version * 1024, dict.fromkeys(written, b"v"), None, 1, None)
    made.checks = checks
    return made


def test_a_belief_that_changed_begins_another_batch() -> None:
    """Two parts that rest on different versions of one entity are not joined: one must fail."""
    batch = Batch()
    first = part(20, {"a": A_BEFORE, "b": 0}, ("b", "k"))
    assert batch.may_add(first)
    batch.add(first)
    learned = part(21, {"a": A_AFTER, "c": 0}, ("c", "k"))
    assert not batch.may_add(learned)
    assert batch.may_add(part(21, {"a": A_BEFORE, "c": 0}, ("c", "k")))
    assert Batch().may_add(learned)


def test_a_part_may_rest_on_what_the_batch_writes() -> None:
    """After a part that writes an entity the next rests on that, and no more on what was before."""
    batch = Batch()
    batch.add(part(20, {"a": A_BEFORE}, ("a", "k")))
    assert batch.may_add(part(21, {"a": 20 * 1024}, ("a", "k")))
    assert not batch.may_add(part(21, {"a": A_BEFORE}, ("a", "k")))
    assert batch.expected == {"a": A_BEFORE}


def test_a_queue_cell_that_is_gone_rests_on_nothing_before() -> None:
    """A row taken out by one part is absent for the next: who still counts on it is kept apart."""
    row = ("~lithox/q/outbox", "m.1")
    batch = Batch()
    taken = part(20, {row: A_BEFORE, "a": 0}, ("a", "k"))
    taken.writes[row] = None  # type: ignore[index] - made by us, above
    batch.add(taken)
    assert not batch.may_add(part(21, {row: A_BEFORE, "b": 0}, ("b", "k")))

"""What the filter of absent names promises."""

from __future__ import annotations

from lithox.errors import StoreCorrupt
from lithox.store.absence import AbsenceFilter
from tests.conformance.store.worlds import MemoryWorld


class Table:
    """Durable keys, and how often they were asked for."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = sorted(keys)
        self.asked = 0
        self.is_damaged = False

    def fetch(self, start: str, limit: int) -> list[str]:
        self.asked += 1
        if self.is_damaged:
            raise StoreCorrupt("damaged")
        return [key for key in self.keys if key >= start][:limit]


def make(table: Table) -> AbsenceFilter[str]:
    return AbsenceFilter(table.fetch, first="", page_max=4)


def test_knows_nothing_until_filled() -> None:
    """No key is called absent before every durable key was taken over, a page at a question."""
    table = Table([f"k{number:02}" for number in range(10)])
    names = make(table)
    answers = [names.is_absent("other") for _ in range(6)]
    assert answers == [False, False, False, True, True, True]
    assert table.asked == 4
    assert not any(names.is_absent(key) for key in table.keys)
    assert names.saved == 3


def test_never_calls_absent_what_was_added() -> None:
    """A key added at any time, before or after filling, is never called absent."""
    names = make(Table([]))
    names.add("early")
    assert names.is_absent("other")
    names.add("late")
    assert not names.is_absent("early")
    assert not names.is_absent("late")


def test_few_absent_keys_cost_a_read() -> None:
    """With a hundred thousand keys hardly any absent one is taken for a present one."""
    names = make(Table([]))
    for number in range(100_000):
        names.add(f"there/{number}")
    missed = sum(not names.is_absent(f"absent/{number}") for number in range(10_000))
    assert missed < 10


def test_damage_found_while_filling_is_not_raised() -> None:
    """A page that cannot be read leaves the filter knowing nothing; it goes on when it can."""
    table = Table(["a"])
    table.is_damaged = True
    names = make(table)
    assert not names.is_absent("b")
    table.is_damaged = False
    assert names.is_absent("b")


def test_store_asks_the_engine_no_more_for_new_names() -> None:
    """In a new store an entity nobody wrote is loaded without a read; one that was is found."""
    world = MemoryWorld()
    world.open()
    world.put("old", k="1")
    world.reopen()
    before = world.store.statistics()
    snapshot = world.store.open_snapshot()
    assert snapshot.load("new", 100).items == {}
    assert world.store.find_result("i", "new", "r") is None
    after = world.store.statistics()
    assert after["reads_saved"] == before["reads_saved"] + 2
    assert after["cache_misses"] == before["cache_misses"]
    assert snapshot.load("old", 100).items["k"].value == b"1"
    world.end()

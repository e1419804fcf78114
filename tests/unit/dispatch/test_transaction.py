"""A transaction's own view: its writes over one snapshot, savepoints, scans."""

from __future__ import annotations

from collections import deque

from lithox.dispatch.transaction import RANGES_MAX, Transaction, range_behind, range_of_prefix
from lithox.model.ids import EntityPath
from lithox.store.contract import Commit, Range
from lithox.store.memory import MemoryStore

E1, E2 = EntityPath("e/1"), EntityPath("e/2")


def store_with(items: dict[str, bytes]) -> MemoryStore:
    queue: deque[object] = deque()
    store = MemoryStore(post=queue.append)
    store.submit(Commit(0, (), (), {(E1, key): value for key, value in items.items()}), print)
    return store


def open_on(items: dict[str, bytes]) -> Transaction:
    return Transaction(store_with(items).open_snapshot())


def test_own_writes_hide_the_snapshot() -> None:
    """A key that was written reads as written, deleted as absent, others as stored."""
    run = open_on({"a": b"1", "b": b"2"})
    run.put(E1, "a", b"9")
    run.put(E1, "b", None)
    assert (run.find(E1, "a"), run.find(E1, "b"), run.find(E1, "c")) == (b"9", None, None)
    assert run.reads == {(E1, "c")}


def test_roll_back_restores_writes_and_their_size() -> None:
    """Everything since a savepoint is undone, what came before it stays, reads stay."""
    run = open_on({})
    run.put(E1, "a", b"1")
    size = run.writes_bytes
    mark = run.savepoint()
    run.put(E1, "a", b"22")
    run.put(E1, "b", b"3")
    run.put(E1, "a", None)
    run.find(E1, "z")
    run.roll_back_to(mark)
    assert run.writes == {(E1, "a"): b"1"}
    assert run.writes_bytes == size
    assert (E1, "z") in run.reads


def test_scan_merges_own_writes_in_order_and_pages() -> None:
    """A scan shows stored and own items in key order, without deleted ones, a page at a time."""
    run = open_on({f"k{n}": b"%d" % n for n in range(6)})
    run.put(E1, "k1", None)
    run.put(E1, "k25", b"x")
    run.put(E1, "other", b"y")
    area = range_of_prefix(E1, "k")
    found, more = run.scan(E1, area, 3)
    assert [key for key, _ in found] == ["k0", "k2", "k25"]
    assert more
    rest, more = run.scan(E1, Range(E1, found[-1][0] + "\x00", area.end), 10)
    assert [key for key, _ in rest] == ["k3", "k4", "k5"]
    assert not more


def test_scan_reads_only_the_range_it_has_shown() -> None:
    """A page in the read set ends with its last item, so later keys cannot conflict with it."""
    run = open_on({f"k{n}": b"1" for n in range(6)})
    run.scan(E1, range_of_prefix(E1, "k"), 2)
    assert list(run.ranges) == [Range(E1, "k", "k1\x00")]


def test_prefix_range_ends_before_the_next_prefix() -> None:
    """The end of a prefix range is its successor by code point, surrogates left out."""
    assert range_of_prefix("e", "ab") == Range("e", "ab", "ac")
    assert range_of_prefix("e", "\ud7ff") == Range("e", "\ud7ff", "\ue000")
    assert range_of_prefix("e", "a\U0010ffff") == Range("e", "a\U0010ffff", "b")
    assert range_of_prefix("e", "\U0010ffff").end is None
    assert range_of_prefix("e", "\x00entity") == Range("e", "\x01", "\x01")
    assert range_of_prefix("e", "") == Range("e", "\x01", None)


def test_scan_page_is_bounded_by_bytes() -> None:
    """A page ends at its bound of bytes, with one item at least, and says that there is more."""
    run = open_on({f"k{n}": b"x" * 100 for n in range(6)})
    found, more = run.scan(E1, range_of_prefix(E1, "k"), 10, bytes_max=250)
    assert (len(found), more) == (2, True)
    found, more = run.scan(E1, range_of_prefix(E1, "k"), 10, bytes_max=1)
    assert (len(found), more) == (1, True)


def test_many_ranges_become_the_whole_entity() -> None:
    """A read set of ranges is bounded; beyond the bound the whole entity counts as read."""
    run = open_on({})
    for number in range(RANGES_MAX + 1):
        run.add_range(Range(E1, f"a{number:04}", f"a{number:04}x"))
    assert list(run.ranges) == [Range(E1, "\x01", None)]


def test_a_walk_page_by_page_is_one_range() -> None:
    """A range that goes on where the last one ended makes it longer; another entity's does not."""
    run = open_on({f"k{n:03}": b"x" for n in range(20)})
    area = range_of_prefix(E1, "k")
    for _ in range(3):
        found, more = run.scan(E1, area, 5)
        assert (len(found), more) == (5, True)
        area = range_behind(area, found[-1][0])
    assert list(run.ranges) == [Range(E1, "k", "k014\x00")]
    run.add_range(Range(E2, "k014", "k016"))
    run.add_range(Range(E1, "k014", None))
    assert list(run.ranges) == [
        Range(E1, "k", "k014\x00"),
        Range(E2, "k014", "k016"),
        Range(E1, "k014", None),
    ]


def test_rewriting_a_key_keeps_one_older_value() -> None:
    """However often a key is written, a savepoint keeps one value, and restores the right one."""
    run = open_on({})
    run.put(E1, "a", b"first")
    mark = run.savepoint()
    for number in range(100):
        run.put(E1, "a", b"%d" % number)
    assert len(run._undo) == 2
    inner = run.savepoint()
    run.put(E1, "a", b"inner")
    run.roll_back_to(inner)
    assert run.find(E1, "a") == b"99"
    run.put(E1, "a", b"later")
    run.roll_back_to(mark)
    assert run.find(E1, "a") == b"first"
    run.roll_back_to(0)
    assert run.writes == {}
    assert run.writes_bytes == 0


def test_counts_are_rolled_back_with_their_writes() -> None:
    """What was counted after a savepoint is taken back with it, what was before stays."""
    transaction = open_on({})
    transaction.put(E1, "x", b"1")
    transaction.count("rows", 1)
    outer = transaction.savepoint()
    transaction.put(E1, "x", b"2")
    transaction.count("rows", 1)
    inner = transaction.savepoint()
    transaction.put(E1, "x", None)
    transaction.count("rows", -2)
    assert transaction.tally.get("rows") == 0
    transaction.roll_back_to(inner)
    assert transaction.tally.get("rows") == 2
    transaction.roll_back_to(outer)
    assert transaction.tally.get("rows") == 1

"""What a view of an entity promises beyond what the conformance tests see."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from lithox.store.contract import Commit, Item
from lithox.store.memory import MemoryStore
from lithox.store.views import LOADS_SKIPPED_MAX, SORTED_CHANGES_MAX, EntityViews, View


class Key(str):
    """A key that counts comparisons."""

    __slots__ = ()
    compared = 0

    def __lt__(self, other: str) -> bool:
        Key.compared += 1
        return str.__lt__(self, other)


@given(
    changes=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=90),
    look_every=st.integers(1, 80),
)
def test_keys_stay_sorted_through_changes(changes: list[tuple[str, bool]], look_every: int) -> None:
    """However keys come and go between scans, few or many, a scan gives those there, in order."""
    view = View({"c": Item(b"", 1)}, is_complete=True)
    there = {"c"}
    assert list(view.keys_between("", None)) == ["c"]
    for number, (key, is_put) in enumerate(changes):
        view.put(key, Item(b"", number) if is_put else None)
        (there.add if is_put else there.discard)(key)
        if number % look_every == 0:
            assert list(view.keys_between("", None)) == sorted(there)
    assert list(view.keys_between("b", "f")) == sorted(there & set("bcde"))


def test_page_of_a_large_view_does_not_sort_it() -> None:
    """After the first scan a page costs a few comparisons, also when a few keys changed."""
    items: dict[str, Item | None] = {Key(f"k{number:05}"): Item(b"", 1) for number in range(5_000)}
    view = View(items, is_complete=True)
    list(view.keys_between(Key("k00010"), Key("k00020")))
    for changed in range(SORTED_CHANGES_MAX):
        view.put(Key(f"new{changed}"), Item(b"", 2))
        Key.compared = 0
        assert len(list(view.keys_between(Key("k00010"), Key("k00020")))) == 10
        assert Key.compared < 100


def test_an_entity_found_large_is_not_looked_at_again_for_a_while() -> None:
    """A load in vain is remembered for its bound and below, and tried again after many."""
    views = EntityViews()
    views.note_large("e", 100)
    view = views.views["e"]
    assert not view.is_complete
    assert not view.is_known_large(101)
    assert [view.is_known_large(100) for _ in range(LOADS_SKIPPED_MAX + 1)] == [
        *[True] * LOADS_SKIPPED_MAX,
        False,
    ]
    views.note_large("e", 100)
    assert view.is_known_large(50)
    views.keep("e", View({}, is_complete=True))
    assert views.views["e"].is_complete


def test_deletions_leave_no_marks_in_a_partial_view() -> None:
    """A large entity that is deleted key by key does not fill the cache with what is not there."""
    queue: deque[Callable[[], None]] = deque()
    store = MemoryStore(post=queue.append)
    keys = [f"k{number}" for number in range(1_000)]
    store.submit(Commit(0, writes={("big", key): b"x" * 64 for key in keys}), lambda _: None)
    while queue:
        queue.popleft()()
    store._cells.views.forget("big")
    snapshot = store.open_snapshot()
    assert all(snapshot.find("big", key) for key in keys)
    snapshot.release()
    full_bytes = store.statistics()["cache_bytes"]
    store.submit(Commit(store.visible_version, writes={("big", k): None for k in keys}), print)
    assert store.statistics()["cache_bytes"] < full_bytes / 20
    snapshot = store.open_snapshot()
    assert not any(snapshot.find("big", key) for key in keys)
    snapshot.release()

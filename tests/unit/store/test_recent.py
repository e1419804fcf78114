"""The bounds of history and cache, and what a reader beyond them is told."""

from __future__ import annotations

import pytest

from lithox.errors import Conflict, InternalError
from lithox.store import recent
from lithox.store.contract import Commit, Item
from lithox.store.memory import MemoryStore
from lithox.store.views import EntityViews, View


def make_store(monkeypatch: pytest.MonkeyPatch) -> tuple[MemoryStore, list]:
    monkeypatch.setattr(recent, "HISTORY_CELLS_KEPT", 4)
    posted: list = []
    store = MemoryStore(post=posted.append)
    return store, posted


def put(store: MemoryStore, posted: list, key: str, value: bytes = b"v") -> None:
    store.submit(Commit(0, writes={("a", key): value}), lambda error: None)
    while posted:
        posted.pop(0)()


@pytest.mark.patches_source
def test_history_without_snapshots_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no open snapshot needs is forgotten; older snapshots then conflict to be safe."""
    store, posted = make_store(monkeypatch)
    snapshot = store.open_snapshot()
    snapshot.release()
    for n in range(20):
        put(store, posted, f"k{n}")
    assert store.statistics()["history_cells"] == 4
    assert not store.is_current(snapshot.version, [("b", "never")], [])
    assert store.is_current(snapshot.version, [], [])
    assert store.is_current(store.visible_version - 4, [("a", "k3")], [])
    assert not store.is_current(store.visible_version - 4, [("a", "k19")], [])


@pytest.mark.patches_source
def test_open_snapshot_keeps_its_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a snapshot is open all changes since are known; released, they go."""
    store, posted = make_store(monkeypatch)
    snapshot = store.open_snapshot()
    for n in range(20):
        put(store, posted, f"k{n}")
    assert store.statistics()["history_cells"] == 20
    assert store.is_current(snapshot.version, [("b", "never")], [])
    snapshot.release()
    snapshot.release()
    put(store, posted, "k")
    assert store.statistics()["history_cells"] == 4
    assert store.statistics()["undo_bytes"] == 0


def test_too_old_snapshot_conflicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound of older values the oldest snapshot ends with Conflict, others go on."""
    store, posted = make_store(monkeypatch)
    store._cells.recent._undo_bytes_max = 3_000
    put(store, posted, "k")
    old = store.open_snapshot()
    for _ in range(5):
        put(store, posted, "k", b"x" * 1_000)
        keep = store.open_snapshot()
        old_seen = keep.find("a", "k")
    with pytest.raises(Conflict):
        old.find("a", "k")
    assert keep.find("a", "k") == old_seen
    assert store.statistics()["undo_bytes"] <= 3_000
    assert store.submit(Commit(old.version, reads=[("a", "k")]), lambda error: None) is None
    old.release()
    keep.release()


def test_released_snapshot_cannot_be_read() -> None:
    """Reading after release is our bug and says so."""
    store = MemoryStore(post=lambda call: None)
    snapshot = store.open_snapshot()
    snapshot.release()
    for act in (
        lambda: snapshot.find("a", "k"),
        lambda: snapshot.load("a", 10),
    ):
        with pytest.raises(InternalError):
            act()


def test_views_stay_within_their_bytes() -> None:
    """The least recently loaded views go first; a view too large for the cache is not kept."""
    views = EntityViews(bytes_max=10_000)
    for n in range(20):
        views.keep(f"e{n}", View({"k": Item(b"x" * 200, 1)}, is_complete=True))
        views.touch("e0")
    assert views.bytes_used <= 10_000
    assert "e0" in views.views
    assert "e1" not in views.views
    assert views.evictions > 0
    views.keep("large", View({"k": Item(b"x" * 5_000, 1)}, is_complete=True))
    assert "large" not in views.views


def test_views_count_their_bytes_exactly() -> None:
    """After any change the cost of a view is that of the same view made anew."""
    items = {"k": Item(b"1", 1), "ü": None, "gone": Item(b"22", 1)}
    view = View(items, is_complete=False)
    for key, item in (
        ("k", Item(b"123", 2)), ("ü", Item(b"4", 2)), ("gone", None), ("new", None),
        ("new", Item(b"5", 3)), ("k", None), ("k", None),
    ):  # fmt: skip
        before = view.cost_bytes
        growth = view.put(key, item)
        assert view.cost_bytes - before == growth
        assert view.items_bytes == View(dict(view.items), is_complete=False).items_bytes
    complete = View({"k": Item(b"1", 1)}, is_complete=True)
    complete.put("k", None)
    assert (complete.items, complete.items_bytes) == ({}, 0)

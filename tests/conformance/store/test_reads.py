"""What a snapshot sees."""

from __future__ import annotations

from lithox.store.contract import Commit, Item, Range
from lithox.store.visible import Options
from tests.conformance.store.worlds import Answers, World


def test_find_absent_is_none(world: World) -> None:
    """A key nobody wrote is absent, and reading it makes no entity."""
    assert world.store.open_snapshot().find("shop/a", "k") is None
    assert world.store.list_entities("", "", 10) == []


def test_find_sees_visible_before_durable(world: World) -> None:
    """A commit is seen at once, while its sync is still held."""
    world.hold()
    version = world.store.submit(Commit(0, writes={("a", "k"): b"1"}), Answers().add)
    assert version is not None
    assert world.store.open_snapshot().find("a", "k") == Item(b"1", version)
    assert world.store.durable_version < version


def test_find_is_stable_while_others_commit(world: World) -> None:
    """A snapshot keeps its values through overwriting, deletion and their syncs."""
    first = world.put("a", k="1", gone="x")
    before = world.store.open_snapshot()
    world.put("a", k="2", gone=None, new="n")
    middle = world.store.open_snapshot()
    second = middle.version
    world.put("a", k="3")
    assert before.find("a", "k") == Item(b"1", first)
    assert before.find("a", "gone") == Item(b"x", first)
    assert before.find("a", "new") is None
    assert middle.find("a", "k") == Item(b"2", second)
    assert middle.find("a", "gone") is None
    before.release()
    assert middle.find("a", "k") == Item(b"2", second)


def test_load_is_stable_and_complete(world: World) -> None:
    """A loaded view is not changed by later commits, and an old snapshot loads the old view."""
    world.put("a", k="1", **{"\x00owner": "o"})
    old = world.store.open_snapshot()
    view = old.load("a", 1000)
    world.put("a", k="2", more="m")
    assert {key: item.value for key, item in view.items.items()} == {"k": b"1", "\x00owner": b"o"}
    again = old.load("a", 1000)
    assert again.items == view.items
    new = world.store.open_snapshot().load("a", 1000)
    assert {key: item.value for key, item in new.items.items()} == {
        "k": b"2", "more": b"m", "\x00owner": b"o",
    }  # fmt: skip


def test_load_of_large_entity_is_not_complete(world: World) -> None:
    """An entity with one byte more than asked for is not loaded, one that just fits is."""
    world.put("a", key="x" * 97)
    snapshot = world.store.open_snapshot()
    assert not snapshot.load("a", 99).is_complete
    assert snapshot.load("a", 99).items == {}
    assert snapshot.load("a", 100).is_complete
    assert not snapshot.load("a", 99).is_complete
    assert snapshot.load("none", 0) == ({}, True)


def test_large_entity_is_read_exactly(world: World) -> None:
    """Single reads of an entity too large to load follow every commit."""
    world.put("a", **{f"k{i:03}": "x" * 100 for i in range(50)})
    snapshot = world.store.open_snapshot()
    assert not snapshot.load("a", 1000).is_complete
    assert snapshot.find("a", "k007") is not None
    assert snapshot.find("a", "absent") is None
    world.put("a", k007="new", absent="here", k008=None)
    newer = world.store.open_snapshot()
    assert [newer.find("a", key) and newer.find("a", key).value for key in (
        "k007", "absent", "k008", "k009",
    )] == [b"new", b"here", None, b"x" * 100]  # fmt: skip
    assert snapshot.find("a", "k008").value == b"x" * 100
    assert snapshot.find("a", "absent") is None


def test_scan_orders_by_code_point(world: World) -> None:
    """Keys come in the order of their code points, astral ones last, NUL first."""
    keys = ["b", "a\x00", "\U0001f600", "\uffff", "ä", "a", "\x00sys", "Z"]
    world.put("a", **dict.fromkeys(keys, "v"))
    world.put("b", other="v")
    page = world.store.open_snapshot().scan(Range("a", "", None), 100)
    assert [key for key, _ in page.items] == sorted(keys)
    assert not page.more


def test_scan_bounds_and_more(world: World) -> None:
    """A scan starts at its start, ends before its end, and says when it was cut."""
    world.put("a", **{f"k{i}": str(i) for i in range(8)})
    snapshot = world.store.open_snapshot()
    page = snapshot.scan(Range("a", "k2", "k6"), 4)
    assert ([key for key, _ in page.items], page.more) == (["k2", "k3", "k4", "k5"], False)
    page = snapshot.scan(Range("a", "k2", "k6"), 3)
    assert ([key for key, _ in page.items], page.more) == (["k2", "k3", "k4"], True)


def test_scan_merges_what_is_not_durable(world: World) -> None:
    """A scan shows commits that wait for the disk, and an old snapshot's shows none of them."""
    world.put("a", **{f"k{i:02}": "old" for i in range(0, 20, 2)})
    old = world.store.open_snapshot()
    world.hold()
    writes = {("a", "k03"): b"new", ("a", "k04"): None, ("a", "k06"): b"new", ("a", "z"): b"new"}
    world.store.submit(Commit(old.version, writes=writes), Answers().add)
    new = world.store.open_snapshot()
    expected = ["k00", "k02", "k03", "k06", "k08", "k10", "k12", "k14", "k16", "k18", "z"]
    for limit in range(1, 12):
        page = new.scan(Range("a", "", None), limit)
        assert [key for key, _ in page.items] == expected[:limit]
        assert page.more == (limit < 11)
    assert [k for k, _ in old.scan(Range("a", "k03", "k07"), 9).items] == ["k04", "k06"]
    assert dict(new.scan(Range("a", "k06", "k07"), 1).items)["k06"].value == b"new"


def test_values_of_any_bytes_survive(world: World) -> None:
    """Empty, binary and large values, and names with NUL, come back as they went."""
    values = {"empty": b"", "binary": bytes(range(256)), "large": b"\x01" * 300_000}
    writes = {("a/b", key): value for key, value in values.items()}
    answers = Answers()
    world.store.submit(Commit(0, writes=writes), answers.add)
    world.settle()
    world.reopen()
    snapshot = world.store.open_snapshot()
    assert {key: snapshot.find("a/b", key).value for key in values} == values


def test_small_cache_changes_nothing(world: World) -> None:
    """With a cache of next to nothing every read is the same."""
    world.store.close()
    world.open(Options(cache_bytes_max=2_000))
    for i in range(30):
        world.put(f"e{i % 7}", k=str(i), **{f"x{i}": "y" * 50})
    snapshot = world.store.open_snapshot()
    assert [snapshot.find(f"e{i}", "k").value for i in range(7)] == [
        str(max(range(i, 30, 7))).encode() for i in range(7)
    ]
    assert world.store.statistics()["cache_bytes"] <= 2_000


def test_measure_counts_user_keys(world: World) -> None:
    """The size of an entity is that of the user's keys and values, durable or not."""
    assert world.store.measure_entity("a") == (0, 0)
    world.put("a", k="12", ü="3", **{"\x00sys": "xxxx"})
    assert world.store.measure_entity("a") == (2, 6)
    world.reopen()
    assert world.store.measure_entity("a") == (2, 6)
    world.hold()
    world.store.submit(
        Commit(world.store.visible_version, writes={("a", "k"): None, ("a", "n"): b"7"}),
        Answers().add,
    )
    assert world.store.measure_entity("a") == (2, 5)


def test_entities_are_listed_in_order(world: World) -> None:
    """Entities with a key are listed by prefix, after a name, up to a limit."""
    for entity in ("b/2", "a", "b/1", "b/10", "b", "c"):
        world.put(entity, k="v")
    assert world.store.list_entities("", "", 10) == ["a", "b", "b/1", "b/10", "b/2", "c"]
    assert world.store.list_entities("b/", "", 10) == ["b/1", "b/10", "b/2"]
    assert world.store.list_entities("b/", "b/1", 1) == ["b/10"]
    assert world.store.list_entities("b/", "b/2", 5) == []
    assert world.store.list_entities("d", "", 5) == []


def test_entities_appear_and_vanish_when_visible(world: World) -> None:
    """An entity is listed from its first key to its last, whether or not that is durable."""
    for entity in ("a", "b", "c"):
        world.put(entity, k="v", l="v")
    world.hold()
    writes = {("b", "k"): None, ("b", "l"): None, ("c", "k"): None, ("aa", "k"): b"v"}
    world.store.submit(Commit(world.store.visible_version, writes=writes), Answers().add)
    assert world.store.list_entities("", "", 10) == ["a", "aa", "c"]
    assert world.store.list_entities("", "", 2) == ["a", "aa"]
    assert world.store.list_entities("", "a", 1) == ["aa"]
    world.release()
    world.settle()
    assert world.store.list_entities("", "", 10) == ["a", "aa", "c"]


def test_scan_is_cut_by_bytes(world: World) -> None:
    """A page has at most the bytes asked for, but one item of any size; `more` says it was cut."""
    world.put("a", **{f"k{number}": "x" * 98 for number in range(6)})
    snapshot = world.store.open_snapshot()
    area = Range("a", "", None)
    for bytes_max, count in ((0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (599, 5)):
        page = snapshot.scan(area, 9, bytes_max)
        assert [key for key, _ in page.items] == [f"k{number}" for number in range(count)]
        assert page.more
    assert not snapshot.scan(area, 9, 600).more
    assert not snapshot.scan(Range("a", "k5", None), 9, 1).more

"""Validation, waiting, order of answers."""

from __future__ import annotations

import pytest

from lithox.errors import BadArguments, StoreUnavailable
from lithox.store.contract import Commit, Range
from lithox.store.visible import Options
from tests.conformance.store.worlds import Answers, World


def test_submit_refuses_stale_read(world: World) -> None:
    """A cell modified after the snapshot makes the commit a conflict; nothing happens."""
    world.put("a", k="1")
    snapshot = world.store.open_snapshot()
    world.put("a", k="2")
    answers = Answers()
    commit = Commit(snapshot.version, reads=[("a", "k")], writes={("a", "other"): b"x"})
    assert world.store.submit(commit, answers.add) is None
    world.settle()
    assert answers.errors == []
    assert world.store.open_snapshot().find("a", "other") is None


def test_submit_accepts_other_cells(world: World) -> None:
    """A change of another key or another entity is no conflict."""
    world.put("a", k="1")
    snapshot = world.store.open_snapshot()
    world.put("a", l="2")
    world.put("b", k="2")
    commit = Commit(snapshot.version, reads=[("a", "k")], writes={("a", "k"): b"x"})
    assert world.store.submit(commit, Answers().add) is not None


def test_submit_refuses_appeared_and_vanished(world: World) -> None:
    """Reading an absent key counts, and so does reading one that is deleted later."""
    world.put("a", here="1")
    snapshot = world.store.open_snapshot()
    world.put("a", here=None, there="1")
    for key in ("here", "there"):
        assert not world.store.is_current(snapshot.version, [("a", key)], [])
        commit = Commit(snapshot.version, reads=[("a", key)], writes={("b", "k"): b""})
        assert world.store.submit(commit, Answers().add) is None


def test_submit_refuses_changed_range(world: World) -> None:
    """A key written, deleted or made inside a scanned range is a conflict; outside it is none."""
    world.put("a", c="1", d="2")
    inside, outside = Range("a", "b", "d"), Range("a", "d", "e")
    for change in ({"c": "9"}, {"c": None}, {"b": "made"}):
        snapshot = world.store.open_snapshot()
        world.put("a", **change)
        assert not world.store.is_current(snapshot.version, [], [inside])
        assert not world.store.is_current(snapshot.version, [], [Range("a", "", None)])
        assert world.store.is_current(snapshot.version, [], [outside, Range("b", "", None)])


def test_blind_write_never_conflicts(world: World) -> None:
    """A commit that read nothing is valid however old its snapshot is."""
    snapshot = world.store.open_snapshot()
    world.put("a", k="1")
    assert (
        world.store.submit(Commit(snapshot.version, writes={("a", "k"): b"2"}), Answers().add)
        is not None
    )


def test_versions_grow(world: World) -> None:
    """Each commit has a greater version, also after opening again."""
    versions = [world.put("a", k=str(i)) for i in range(5)]
    world.reopen()
    versions += [world.put("a", k=str(i)) for i in range(5)]
    assert versions == sorted(set(versions))


def test_read_only_commit_has_no_version(world: World) -> None:
    """A commit that writes nothing returns the visible version and is answered in a later turn."""
    version = world.put("a", k="1")
    answers = Answers()
    commit = Commit(world.store.visible_version, reads=[("a", "k")])
    assert world.store.submit(commit, answers.add) == version
    assert answers.errors == []
    world.settle()
    assert answers.errors == [None]
    assert world.store.visible_version == version


def test_read_only_commit_waits_for_what_it_read(world: World) -> None:
    """A reader is answered after the sync of what it read, in version order, not of more."""
    world.put("a", clean="1")
    order: list[str] = []
    world.hold()
    world.store.submit(Commit(0, writes={("a", "k"): b"1"}), lambda _: order.append("first"))
    snapshot = world.store.open_snapshot()
    reads = Commit(snapshot.version, reads=[("a", "k")])
    world.store.submit(reads, lambda _: order.append("reader"))
    scans = Commit(snapshot.version, ranges=[Range("a", "", None)])
    world.store.submit(scans, lambda _: order.append("scanner"))
    world.store.submit(Commit(0, writes={("a", "l"): b"1"}), lambda _: order.append("second"))
    clean = Commit(snapshot.version, reads=[("a", "clean")])
    world.store.submit(clean, lambda _: order.append("clean"))
    world.go_round()
    assert order == ["clean"]
    world.release()
    world.settle()
    assert order == ["clean", "first", "reader", "scanner", "second"]


def test_when_read_durable_says_now_or_calls(world: World) -> None:
    """What is durable is said at once; what is not is told when it is."""
    world.put("a", k="1")
    answers = Answers()
    assert world.is_read_durable([("a", "k")], [])
    world.hold()
    world.store.submit(Commit(0, writes={("a", "k"): b"2"}), Answers().add)
    assert not world.store.when_read_durable([("a", "k")], [], answers.add)
    assert not world.store.when_read_durable([], [Range("a", "", None)], answers.add)
    assert world.is_read_durable([("b", "k")], [Range("a", "l", None)])
    assert answers.errors == []
    world.release()
    world.settle()
    assert answers.errors == [None, None]


def test_commits_survive_reopening(world: World) -> None:
    """What was visible at closing is there after opening, deletions included."""
    world.put("a", k="1", l="1")
    answers = Answers()
    for i in range(200):
        writes = {("a", "k"): str(i).encode(), ("a", "l"): None, (f"b/{i}", "k"): b"v"}
        world.store.submit(Commit(0, writes=writes), answers.add)
    world.reopen()
    assert answers.errors == [None] * 200
    snapshot = world.store.open_snapshot()
    assert snapshot.find("a", "k").value == b"199"
    assert snapshot.find("a", "l") is None
    assert len(world.store.list_entities("b/", "", 1000)) == 200


def test_one_bad_waiter_leaves_the_others(world: World) -> None:
    """A call-back that raises is reported, and the ones behind it are still called."""
    answers = Answers()

    def fall(error: object) -> None:
        raise RuntimeError("a waiter's bug")

    world.hold()
    world.store.submit(Commit(0, writes={("a", "k"): b"1"}), fall)
    world.store.submit(Commit(0, writes={("a", "l"): b"1"}), answers.add)
    world.release()
    with pytest.raises(RuntimeError):
        world.wait_until(lambda: False)
    assert answers.errors == [None]


def test_submit_refuses_what_cannot_be_stored(world: World) -> None:
    """A lone surrogate or a value that is not bytes is refused alone, and harms no other."""
    before = world.store.open_snapshot()
    for writes in (
        {("a", "k"): b"1", ("a", "\ud800"): b""},
        {("a", "k"): b"1", ("\ud800", "k"): b""},
        {("a", "k"): b"1", ("a", "l"): "text"},
    ):
        with pytest.raises(BadArguments):
            world.store.submit(Commit(0, writes=writes), Answers().add)  # type: ignore[arg-type]
    assert world.store.open_snapshot().find("a", "k") is None
    assert before.find("a", "k") is None
    world.put("a", k="2")
    assert before.find("a", "k") is None


def test_submit_is_bounded(world: World) -> None:
    """When more waits for the disk than allowed, commits that write are refused with a time."""
    world.store.close()
    world.open(Options(pending_commits_max=3, pending_bytes_max=1_000))
    world.hold()
    for _ in range(3):
        world.store.submit(Commit(0, writes={("a", "k"): b"1"}), Answers().add)
    with pytest.raises(StoreUnavailable) as caught:
        world.store.submit(Commit(0, writes={("a", "k"): b"1"}), Answers().add)
    assert caught.value.retry_after_ms is not None
    world.release()
    world.settle()
    world.hold()
    world.store.submit(Commit(0, writes={("a", "k"): b"1" * 1_000}), Answers().add)
    with pytest.raises(StoreUnavailable):
        world.store.submit(Commit(0, writes={("a", "k"): b"1"}), Answers().add)


def test_closed_store_refuses(world: World) -> None:
    """After closing nothing is taken, and closing again does nothing."""
    world.store.close()
    world.store.close()
    with pytest.raises(StoreUnavailable):
        world.store.submit(Commit(0, writes={("a", "k"): b"1"}), Answers().add)


def test_reader_does_not_wait_for_later_changes(world: World) -> None:
    """What was read at a snapshot waits for versions up to it, not for changes made since."""
    first = world.put("a", k="1")
    snapshot = world.store.open_snapshot()
    world.hold()
    world.store.submit(Commit(first, writes={("a", "k"): b"2"}), Answers().add)
    middle = world.store.open_snapshot()
    world.store.submit(Commit(middle.version, writes={("a", "k"): b"3"}), Answers().add)
    area, told = Range("a", "", None), Answers()
    when = world.store.when_read_durable
    for reads, ranges in ((("a", "k"),), ()), ((), (area,)):
        assert world.is_read_durable(reads, ranges, up_to_version=snapshot.version)
        assert not when(reads, ranges, told.add, up_to_version=middle.version)
        assert not when(reads, ranges, told.add)
    assert told.errors == []
    world.release()
    world.settle()
    assert told.errors == [None] * 4

"""Several nodes on one database: whatever a cache says, no update is lost, no answer stale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lithox.errors import Conflict
from lithox.store.contract import Commit, Range, ResultRecord
from tests.conformance.store.pairs import NodeStore
from tests.conformance.store.worlds import PostgresWorld, session_server

OUTBOX = "~lithox/q/outbox"


@pytest.fixture
def world() -> Iterator[PostgresWorld]:
    made = PostgresWorld(session_server())
    # Deaf nodes: what they know of each other is what the database tells at the commit.
    made.options["is_deaf"] = True
    made.open()
    yield made
    made.end()


@pytest.fixture
def pair(world: PostgresWorld) -> Iterator[tuple[NodeStore, NodeStore]]:
    nodes = NodeStore(world), NodeStore(world)
    yield nodes
    for node in nodes:
        node.store.close()


def writing(commit: Commit, **values: str) -> Commit:
    return replace(commit, writes={(name, "k"): value.encode() for name, value in values.items()})


def test_lost_update_is_refused(pair: tuple[NodeStore, NodeStore]) -> None:
    """Two nodes read one counter and write it: the second is told Conflict, and reads anew."""
    one, two = pair
    one.write("a", "1")
    assert two.read("a") == b"1"
    first, second = one.begin(("a", "k")), two.begin(("a", "k"))
    kept = one.finish(writing(first, a="2"))
    one.wait(kept)
    lost = two.finish(writing(second, a="2 too"))
    two.wait(lost)
    assert kept.is_committed
    assert [type(error) for error in lost.errors] == [Conflict]
    assert two.read("a") == b"2"
    again = two.finish(writing(two.begin(("a", "k")), a="3"))
    two.wait(again)
    assert again.is_committed
    assert one.read("a") == b"2"
    assert isinstance(one.confirm(one.begin(("a", "k"))), Conflict)
    assert one.read("a") == b"3"


def test_write_skew_is_refused(pair: tuple[NodeStore, NodeStore]) -> None:
    """Each reads what the other writes: not both are committed, sent together or in turn."""
    one, two = pair
    for number in range(20):
        x, y = f"x{number}", f"y{number}"
        if number % 2:  # Also entities that do not exist yet.
            one.write(x, "0")
            one.write(y, "0")
        first, second = one.begin((x, "k"), (y, "k")), two.begin((x, "k"), (y, "k"))
        ends = one.finish(writing(first, **{x: "1"})), two.finish(writing(second, **{y: "1"}))
        one.wait(ends[0])
        two.wait(ends[1])
        assert sorted(end.is_committed for end in ends) == [False, True]


def test_phantom_is_refused(pair: tuple[NodeStore, NodeStore]) -> None:
    """A key that another node adds to a scanned range is a conflict, and so is an absent read."""
    one, two = pair
    one.write("list", "1", key="a1")
    snapshot = two.store.open_snapshot()
    area = Range("list", "a", "b")
    assert len(snapshot.scan(area, 10).items) == 1
    assert snapshot.find("list", "b9") is None
    one.write("list", "1", key="a2")
    count = Commit(snapshot.version, ranges=[area], writes={("sum", "k"): b"1"})
    absent = Commit(snapshot.version, reads=[("list", "b9")], writes={("sum", "k"): b"1"})
    for commit in (count, absent):
        end = two.finish(commit)
        two.wait(end)
        assert not end.is_committed
    assert isinstance(two.confirm(Commit(snapshot.version, ranges=[area])), Conflict)
    assert len(two.store.open_snapshot().scan(area, 10).items) == 2


def test_stale_answer_is_not_given(pair: tuple[NodeStore, NodeStore]) -> None:
    """An answer that only reads a warm entity is confirmed, or told Conflict and read anew."""
    one, two = pair
    one.write("a", "1")
    assert two.read("a") == b"1"
    assert two.confirm(two.begin(("a", "k"))) is None
    one.write("a", "2")
    asked = two.begin(("a", "k"))
    assert two.read("a") == b"1"
    assert isinstance(two.confirm(asked), Conflict)
    assert two.read("a") == b"2"
    assert two.confirm(two.begin(("a", "k"))) is None


def test_snapshot_never_joins_two_versions(pair: tuple[NodeStore, NodeStore]) -> None:
    """A run that has read an entity before another node changed it cannot read the rest of it."""
    one, two = pair
    large = "x" * 200
    for key in ("k", "l"):
        one.write("a", large, key=key)
    snapshot = two.store.open_snapshot()
    assert snapshot.find("a", "k").value == large.encode()
    one.write("a", "new", key="l")
    with pytest.raises(Conflict):
        snapshot.find("a", "l")
    with pytest.raises(Conflict):
        snapshot.load("a", 10_000)
    with pytest.raises(Conflict):
        snapshot.scan(Range("a", "", None), 10)
    assert two.read("a", "l") == b"new"


def test_reader_placed_between_commits(pair: tuple[NodeStore, NodeStore]) -> None:
    """An answer that joins an older value of one entity with a newer one of another is refused."""
    one, two = pair
    two.write("mine", "1")
    snapshot = two.store.open_snapshot()
    two.write("mine", "2")
    assert two.read("mine") == b"2"
    one_read = one.begin(("mine", "k"))
    end = one.finish(writing(one_read, theirs="after 2"))
    one.wait(end)
    assert end.is_committed
    assert snapshot.find("mine", "k").value == b"1"
    assert snapshot.find("theirs", "k").value == b"after 2"
    both = Commit(snapshot.version, reads=[("mine", "k"), ("theirs", "k")])
    assert isinstance(two.confirm(both), Conflict)


def test_withdrawn_commits_are_told_in_order(
    world: PostgresWorld, pair: tuple[NodeStore, NodeStore]
) -> None:
    """What rests on a refused commit is withdrawn with it; what does not, is committed."""
    one, two = pair
    one.write("a", "1")
    one.write("b", "1")
    assert (two.read("a"), two.read("b")) == (b"1", b"1")
    world.hold()
    stale = two.finish(writing(two.begin(("a", "k")), a="stale"))
    child = two.finish(writing(two.begin(("a", "k")), c="child"))
    other = two.finish(writing(two.begin(("b", "k")), b="2"))
    reader = two.begin(("c", "k"))
    world.release()
    two.wait(other)
    assert (stale.is_committed, child.is_committed, other.is_committed) == (True, True, True)
    assert two.confirm(reader) is None
    one.write("z", "1")
    world.hold()
    stale = two.finish(writing(two.begin(("a", "k")), a="stale"))
    world.admin.execute(
        f"UPDATE {world.schema}.entities SET version = version + 1 WHERE entity = 'a'"
    )
    child = two.finish(writing(two.begin(("a", "k")), c="child"))
    other = two.finish(writing(two.begin(("b", "k")), b="3"))
    world.release()
    for end in (stale, child, other):
        two.wait(end)
    assert [type(error) for error in stale.errors] == [Conflict]
    assert [type(error) for error in child.errors] == [Conflict]
    assert other.errors == [None]
    assert (two.read("a"), two.read("b"), two.read("c")) == (b"stale", b"3", b"child")


def test_versions_of_one_entity_grow_across_nodes(pair: tuple[NodeStore, NodeStore]) -> None:
    """Whoever commits later to an entity has the greater version, though each node counts."""
    seen = []
    for number in range(6):
        node = pair[number % 2]
        end = node.finish(writing(node.begin(("a", "k")), a=str(number)))
        node.wait(end)
        if not end.is_committed:
            end = node.finish(writing(node.begin(("a", "k")), a=str(number)))
            node.wait(end)
        assert end.is_committed
        item = node.store.open_snapshot().find("a", "k")
        seen.append(item.version)
    assert seen == sorted(set(seen))
    assert len({version % 1024 for version in seen}) == 2


def test_result_is_recorded_once(pair: tuple[NodeStore, NodeStore]) -> None:
    """Two nodes that do the same request at the same time: one is told to look again."""
    one, two = pair
    records = [
        ResultRecord(
            identity="i", entity="e", request_id="r", account="acc",
            asked_digest=b"d", answer=answer, expires_ns=10,
        )
        for answer in (b"one", b"two")
    ]  # fmt: skip
    ends = []
    for node in pair:
        assert node.store.find_result("i", "e", "r") is None
    for node, record in zip(pair, records, strict=True):
        ends.append(node.finish(Commit(node.store.visible_version, result=record)))
        node.wait(ends[-1])
    assert ends[0].is_committed
    assert [type(error) for error in ends[1].errors] == [Conflict]
    assert two.store.find_result("i", "e", "r") == records[0]
    assert two.store.count_results("acc") == 1
    assert one.store.drop_expired_results(10, 5) == 1
    one.wait_until(lambda: one.store.durable_version == one.store.visible_version)
    two.store.drop_expired_results(10, 5)
    again = one.finish(Commit(one.store.visible_version, result=replace(records[0], expires_ns=99)))
    one.wait(again)
    assert again.is_committed


def test_message_is_taken_once(pair: tuple[NodeStore, NodeStore]) -> None:
    """Two nodes find one row of a queue; only one commits what deletes it; blind writes stay."""
    one, two = pair
    one.write(OUTBOX, "message", key="m1")
    assert (one.read(OUTBOX, "m1"), two.read(OUTBOX, "m1")) == (b"message", b"message")
    ends = []
    for number, node in enumerate(pair):
        begun = node.begin((OUTBOX, "m1"))
        writes = {(OUTBOX, "m1"): None, (f"effect{number}", "k"): b"done"}
        ends.append(node.finish(replace(begun, writes=writes)))
    for node, end in zip(pair, ends, strict=True):
        node.wait(end)
    assert sorted(end.is_committed for end in ends) == [False, True]
    effects = [pair[0].read("effect0"), pair[0].read("effect1")]
    assert sorted(effects, key=str) == [None, b"done"]
    assert two.read(OUTBOX, "m1") is None or one.read(OUTBOX, "m1") is None
    for number in range(10):
        for name, node in (("one", one), ("two", two)):
            begun = node.begin()
            end = node.finish(replace(begun, writes={(OUTBOX, f"{name}{number}"): b"m"}))
            node.wait(end)
            assert end.is_committed
    area = Range(OUTBOX, "", None)
    assert len(one.store.open_snapshot().scan(area, 99).items) == 20


def test_forgotten_beliefs_count_as_changes(
    pair: tuple[NodeStore, NodeStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a node no longer remembers the version of cannot be mistaken for unchanged."""
    one, two = pair
    one.write("a", "1")
    monkeypatch.setattr(two.store._beliefs, "_beliefs_max", 2)
    begun = two.begin(("a", "k"))
    for number in range(5):
        two.write(f"other{number}", "1")
    one.write("a", "2")
    assert two.read("a") == b"2"
    end = two.finish(writing(begun, b="built on 1"))
    assert not end.is_taken


def test_notices_keep_caches_fresh(world: PostgresWorld) -> None:
    """A node that listens hears what another wrote, and reads it without a conflict before."""
    world.options["is_deaf"] = False
    one, two = NodeStore(world), NodeStore(world)
    one.write("a", "1")
    assert two.read("a") == b"1"
    two.wait_until_counted("notices", 0)
    one.write("a", "2")
    two.wait_until(lambda: two.read("a") == b"2")
    assert two.confirm(two.begin(("a", "k"))) is None
    assert two.store.statistics()["read_checks_failed"] == 0
    one.store.close()
    two.store.close()


def test_prefetch_saves_the_wait(pair: tuple[NodeStore, NodeStore]) -> None:
    """A cold entity is fetched in the background; then it is read without asking the server."""
    one, two = pair
    one.write("a", "1")
    ready: list[str] = []
    assert not two.store.prefetch("a", lambda: ready.append("first"))
    assert not two.store.prefetch("a", lambda: ready.append("second"))
    two.wait_until(lambda: len(ready) == 2)
    before = two.store.statistics()["reads"]
    assert two.read("a") == b"1"
    assert two.store.open_snapshot().load("a", 1_000).is_complete
    assert two.store.statistics()["reads"] == before
    assert two.store.prefetch("a", lambda: ready.append("third"))
    assert two.store.prefetch(OUTBOX, lambda: ready.append("never"))
    assert not two.store.prefetch("nobody", lambda: ready.append("absent"))
    two.wait_until(lambda: len(ready) == 3)
    assert two.read("nobody") is None
    assert two.store.statistics()["reads"] == before


def test_large_entity_is_read_key_by_key(pair: tuple[NodeStore, NodeStore]) -> None:
    """An entity above what is asked for, or with very many keys, is not loaded whole."""
    one, two = pair
    writes = {("big", f"k{number:05}"): b"v" for number in range(9_000)}
    end = one.finish(Commit(one.store.visible_version, writes=writes))
    one.wait(end)
    assert end.is_committed
    snapshot = two.store.open_snapshot()
    assert not snapshot.load("big", 100).is_complete
    assert not snapshot.load("big", 1 << 20).is_complete
    assert snapshot.find("big", "k08999").value == b"v"
    page = snapshot.scan(Range("big", "k00100", None), 1_000, 60)
    assert [key for key, _ in page.items][:2] == ["k00100", "k00101"]
    assert page.more
    assert two.store.measure_entity("big") == (9_000, 9_000 * 7)

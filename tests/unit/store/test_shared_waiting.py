"""A store beside others: who waits is answered, who reads for the first time is not too late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import pytest

from lithox.errors import Conflict, TransactionError
from lithox.store.contract import Commit, Item
from lithox.store.memory import MemoryDisk
from lithox.store.shared import SharedStore
from lithox.store.shared_engine import ReadCheck
from lithox.store.visible import Options

ROW = ("~lithox/q/outbox", "m.1")


class Server(MemoryDisk):
    """A shared database in memory, which is asked nothing that could be refused."""

    slot = 0
    core: SharedStore

    def __init__(self) -> None:
        super().__init__()
        self.checks: list[ReadCheck] = []
        self.theirs: dict[str, int] = {}
        """Versions at which another node has written entities meanwhile."""

    def find_item(self, entity: str, key: str) -> Item | None:
        item = super().find_item(entity, key)
        is_queue = entity.startswith("~lithox/q/")
        version = self.theirs.get(entity, 0 if item is None else item.version)
        self.core.learn((entity, key) if is_queue else entity, version)
        return item

    def read_versions(self, entities: Sequence[str]) -> Mapping[str, int]:
        return dict.fromkeys(entities, 0)

    def enqueue_check(self, check: ReadCheck) -> None:
        self.checks.append(check)

    def prefetch(self, entity: str, bytes_max: int) -> None:
        raise AssertionError("nobody fetches here")


def open_store() -> tuple[SharedStore, Server, deque[Callable[[], None]]]:
    """Returns a store, its server, and what is posted to the node's thread."""
    posted: deque[Callable[[], None]] = deque()
    server = Server()
    store = SharedStore(
        engine=server, post=posted.append, version=0, audit_sequence=1, options=Options()
    )
    server.core = store
    server.attach(store, posted.append)
    return store, server, posted


def test_reader_of_a_withdrawn_row_is_answered() -> None:
    """A row is withdrawn while another commit waits: who finds it gone is told so in the end."""
    store, _, posted = open_store()
    ends: list[TransactionError | None] = []
    sent = Commit(store.visible_version, writes={("a", "k"): b"1", ROW: b"row"})
    assert store.submit(sent, ends.append) is not None
    other = Commit(store.visible_version, writes={("b", "k"): b"1"})
    assert store.submit(other, ends.append) is not None
    store.notify_conflict([("a", 7 * 1024 + 1)], [])
    assert [type(end) for end in ends] == [Conflict]
    snapshot = store.open_snapshot()
    assert snapshot.find(*ROW) is None
    told: list[TransactionError | None] = []
    if store.when_read_durable([ROW], [], told.append, up_to_version=snapshot.version):
        told.append(None)
    snapshot.release()
    while posted:
        posted.popleft()()
    assert told == [None]
    assert ends[1:] == [None]


def test_a_rumour_hides_no_later_change() -> None:
    """A forged version above the true one is not believed: what another node commits is seen."""
    store, server, posted = open_store()
    snapshot = store.open_snapshot()
    assert snapshot.find("a", "k") is None
    snapshot.release()
    store.notify_rumour([("a", 90 * 1024 + 1)])
    reading = store.open_snapshot()
    assert reading.find("a", "k") is None
    told: list[TransactionError | None] = []
    assert not store.when_read_durable([("a", "k")], [], told.append, reading.version)
    reading.release()
    store.notify_checked(server.checks, {"a": 50 * 1024 + 1}, None)
    while posted:
        posted.popleft()()
    assert [type(end) for end in told] == [Conflict]


def test_a_rumour_makes_a_run_begin_anew() -> None:
    """What a run has read before it is heard counts as changed; what it reads after it does not."""
    store, _, _ = open_store()
    snapshot = store.open_snapshot()
    assert snapshot.find("a", "k") is None
    snapshot.release()
    store.notify_rumour([("a", 90 * 1024 + 1)])
    ends: list[TransactionError | None] = []
    stale = Commit(snapshot.version, reads=[("a", "k")], writes={("a", "k"): b"1"})
    assert store.submit(stale, ends.append) is None
    fresh = Commit(store.visible_version, reads=[("a", "k")], writes={("a", "k"): b"1"})
    assert store.submit(fresh, ends.append) is not None
    # Not durable yet: a rumour now leaves what rests on it alone.
    store.notify_rumour([("a", 90 * 1024 + 1)])
    follower = store.open_snapshot()
    found = follower.find("a", "k")
    follower.release()
    assert found is not None
    assert found.value == b"1"


def test_first_read_of_a_snapshot_moves_on() -> None:
    """What a first read shows to be changed is read as it is now; a second one would be refused."""
    store, server, posted = open_store()
    ends: list[TransactionError | None] = []
    for entity in ("a", "b"):
        commit = Commit(store.visible_version, writes={(entity, "k"): b"1"})
        store.submit(commit, ends.append)
    while posted:
        posted.popleft()()
    fresh, used = store.open_snapshot(), store.open_snapshot()
    assert used.find("b", "k") is not None
    opened = fresh.version
    server.theirs["a"] = 7 * 1024 + 1
    store.notify_changed([("b", 6 * 1024 + 1)])
    # Only the read itself learns of this one: nobody has told.
    item = fresh.find("a", "other")
    assert item is None
    assert fresh.version > opened
    with pytest.raises(Conflict):
        used.find("a", "other")
    later = fresh.version
    store.notify_changed([("a", 8 * 1024 + 1)])
    with pytest.raises(Conflict):
        fresh.find("a", "k")
    assert fresh.version == later
    fresh.release()
    used.release()
    assert store.statistics()["snapshots_open"] == 0

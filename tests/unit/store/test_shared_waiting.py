"""Who reads what a withdrawal has brought back is answered, whatever else waits for the server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

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
    checks: list[ReadCheck]

    def __init__(self) -> None:
        super().__init__()
        self.checks = []

    def find_item(self, entity: str, key: str) -> Item | None:
        item = super().find_item(entity, key)
        is_queue = entity.startswith("~lithox/q/")
        version = 0 if item is None else item.version
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

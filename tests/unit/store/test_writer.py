"""What the writer makes of batches, and how it bears a failing disk."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from random import Random

import apsw
import pytest

from lithox.errors import StoreUnavailable
from lithox.store.contract import Commit
from lithox.store.embedded import EmbeddedOptions, EmbeddedStore, statements
from lithox.store.embedded.batch import BATCH_PARTS_MAX, Batch
from lithox.store.embedded.lossy_vfs import LossyDisk
from lithox.store.engine import Part
from lithox.store.mailbox import Mailbox
from tests.conformance.store.worlds import Answers, EmbeddedWorld

_numbers = itertools.count()


def test_batch_keeps_the_last_write_of_a_cell() -> None:
    """A hot key is written once per batch, with the version that wrote it last."""
    batch = Batch()
    for version in range(1, 6):
        batch.add(Part(version, {("a", "k"): b"%d" % version}, None, 1, None))
    batch.add(Part(6, {("a", "l"): None, ("b", "k"): b"x"}, None, 1, None))
    (put, put_values), (delete, delete_values) = batch.to_statements()
    assert list(put_values) == ["a", "k", b"5", 5, "b", "k", b"x", 6]
    assert put.count("?") == 8
    assert list(delete_values) == ["a", "l"]
    assert delete == "DELETE FROM state WHERE (entity, key) IN (VALUES (?,?))"


def test_batch_is_bounded() -> None:
    """A batch is full at its number of parts or its bytes."""
    batch = Batch()
    for version in range(1, BATCH_PARTS_MAX):
        batch.add(Part(version, {}, None, 0, None))
    assert not batch.is_full()
    batch.add(Part(BATCH_PARTS_MAX, {}, None, 0, None))
    assert batch.is_full()
    large = Batch()
    large.add(Part(1, {("a", "k"): bytes(16 << 20)}, None, 16 << 20, None))
    assert large.is_full()


@pytest.mark.parametrize("rows", [1, 2, 16, 17, 48, 100, 2047, 2048, 2049, 5000])
def test_chunks_hold_every_row(rows: int) -> None:
    """All rows are in the chunks, in order; padding repeats the last one."""
    bindings = list(range(rows * 4))
    found: list[int] = []
    for text, part in statements.PUT_STATE.chunk(bindings):
        assert text.count("(?,?,?,?)") * 4 == len(part) == text.count("?")
        assert len(part) // 4 in statements.ROW_COUNTS
        found += part
    assert found[: len(bindings)] == bindings
    assert set(found[len(bindings) :]) <= set(bindings[-4:])
    assert bindings == list(range(rows * 4))


def test_row_counts_are_few_and_close() -> None:
    """The prepared sizes fit the statement cache and waste at most an eighth."""
    counts = statements.ROW_COUNTS
    assert counts[-1] == statements.ROWS_PER_STATEMENT_MAX
    assert len(counts) * 5 < statements.STATEMENTS_CACHED_MAX
    assert all(b - a <= max(1, a // 8) for a, b in itertools.pairwise(counts))


def test_mailbox_posts_once_for_many() -> None:
    """Calls told before the thread goes round share one post, and run in order."""
    posted: list[Callable[[], None]] = []
    heard: list[int] = []
    mailbox = Mailbox(posted.append)
    for number in range(3):
        mailbox.tell(lambda number=number: heard.append(number))
    assert len(posted) == 1
    posted.pop()()
    assert heard == [0, 1, 2]
    mailbox.tell(lambda: heard.append(3))
    assert len(posted) == 1


def test_mailbox_goes_on_after_a_call_that_raises() -> None:
    """A call that raises is reported by the thread; the ones behind it run in a later turn."""
    posted: list[Callable[[], None]] = []
    heard: list[int] = []
    mailbox = Mailbox(posted.append)
    mailbox.tell(lambda: heard.append(1 // 0))
    mailbox.tell(lambda: heard.append(2))
    with pytest.raises(ZeroDivisionError):
        posted.pop()()
    posted.pop()()
    assert heard == [2]


def test_mailbox_survives_a_closed_loop() -> None:
    """When the loop takes nothing more, `deliver` still runs what was told."""

    def post(call: Callable[[], None]) -> None:
        raise RuntimeError("Event loop is closed")

    heard: list[int] = []
    mailbox = Mailbox(post)
    mailbox.tell(lambda: heard.append(1))
    mailbox.tell(lambda: heard.append(2))
    mailbox.deliver()
    assert heard == [1, 2]


@pytest.mark.parametrize("is_stepwise", [False, True])
@pytest.mark.parametrize(
    ("refusal", "begin"),
    [
        (apsw.FullError("no room"), "the disk is full; writing resumes by itself"),
        (apsw.ReadOnlyError("ro"), "the disk is read-only; writing resumes by itself"),
        (apsw.IOError("broken"), "the disk failed; writing resumes by itself"),
    ],
)
@pytest.mark.parametrize("is_sync", [False, True])
def test_failing_disk_stops_writes_and_loses_nothing(
    tmp_path: Path, refusal: Exception, begin: str, is_sync: bool, is_stepwise: bool
) -> None:
    """Full, read-only or broken, in a write or a sync: withdrawn, said why, resumed, durable."""
    world = EmbeddedWorld(tmp_path)
    world.open()
    world.put("a", k="1")
    if is_sync:
        world.disk.sync_refusal = refusal
    else:
        world.disk.refusal = refusal
    answers = Answers()
    writes = {("a", "k"): b"lost"}
    if is_stepwise:
        writes["a", "gone"] = None
    world.store.submit(Commit(0, writes=writes), answers.add)
    world.settle()
    (error,) = answers.errors
    if not is_sync or isinstance(refusal, apsw.IOError):
        assert str(error).startswith(begin)
    with pytest.raises(StoreUnavailable):
        world.store.submit(Commit(0, writes=writes), answers.add)
    assert world.store.open_snapshot().find("a", "k").value == b"1"
    world.disk.sync_refusal = world.disk.refusal = None
    world.wait_writable()
    world.put("b", k="2")
    # Not even what a power cut leaves shows the withdrawn commit.
    for keep_share in (0.0, 0.5, 1.0):
        image = tmp_path / f"image-{keep_share}"
        image.mkdir()
        world.disk.write_image(image, random=Random(1), keep_share=keep_share)
        store = EmbeddedStore.open(image / "state.db", post=lambda call: None)
        snapshot = store.open_snapshot()
        assert snapshot.find("a", "k").value == b"1"
        assert snapshot.find("b", "k").value == b"2"
        store.close()
    world.end()


def test_full_disk_at_opening_serves_reads(tmp_path: Path) -> None:
    """A database whose disk is full opens, reads, refuses commits, and resumes by itself."""
    world = EmbeddedWorld(tmp_path)
    world.open()
    version = world.put("a", k="1")
    world.store.close()
    world.go_round()
    world.disk.refusal = apsw.FullError("no room")
    world.open()
    assert world.store.open_snapshot().find("a", "k") == (b"1", version)
    with pytest.raises(StoreUnavailable):
        world.store.submit(Commit(0, writes={("a", "k"): b"2"}), Answers().add)
    world.disk.refusal = None
    world.wait_writable()
    assert world.put("a", k="2") > version
    world.end()


def test_log_is_copied_and_begun_again(tmp_path: Path) -> None:
    """Many times the log's bound of pages leave a log near its bound, and empty after closing."""
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    store = EmbeddedStore.open(
        tmp_path / "state.db", post=posted.put, options=EmbeddedOptions(log_pages_max=50)
    )
    answers = Answers()
    for n in range(400):
        store.submit(Commit(0, writes={(f"e{n % 40}", "k"): bytes(4_000)}), answers.add)
        while n % 10 == 9 and len(answers.errors) <= n:
            posted.get(timeout=20)()
    assert store.statistics()["checkpoints"] >= 3
    assert (tmp_path / "state.db-wal").stat().st_size < 5 * 50 * 4_200
    store.close()
    assert not (tmp_path / "state.db-wal").exists()


def test_versions_stay_below_the_reserved_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is raised before it is reached, so that a crash cannot bring a version again."""
    monkeypatch.setattr("lithox.store.embedded.writer.VERSION_STEP", 10)
    world = EmbeddedWorld(tmp_path)
    world.open()
    for n in range(25):
        version = world.put("a", k=str(n))
        connection = apsw.Connection(str(world.path))
        limit = connection.execute("SELECT value FROM meta WHERE name = 'version_limit'").get
        connection.close()
        assert limit > version
    world.end()


def test_large_batches_span_statements(tmp_path: Path) -> None:
    """More rows than a statement takes are still one transaction with every row."""
    disk = LossyDisk(f"large-{next(_numbers)}")
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    store = EmbeddedStore.open(
        tmp_path / "state.db", post=posted.put, options=EmbeddedOptions(vfs=disk.name)
    )
    before = disk.syncs["-wal"]
    answers = Answers()
    writes = {("a", f"k{n:05}"): b"v" for n in range(5_000)}
    store.submit(Commit(0, writes=writes), answers.add)
    posted.get(timeout=20)()
    assert disk.syncs["-wal"] - before <= 2
    deletes = dict.fromkeys(list(writes)[:4999])
    store.submit(Commit(0, writes=deletes), answers.add)
    posted.get(timeout=20)()
    assert answers.errors == [None, None]
    store.close()
    store = EmbeddedStore.open(tmp_path / "state.db", post=posted.put)
    assert store.measure_entity("a") == (1, 7)
    store.close()
    disk.unregister()

"""What a failed sync leaves."""

from __future__ import annotations

import pytest

from lithox.errors import StoreUnavailable
from lithox.store.contract import AuditRecord, Commit, Range, ResultRecord
from tests.conformance.store.worlds import Answers, World


def submit(world: World, value: str, *, snapshot_version: int | None = None) -> Answers:
    answers = Answers()
    version = world.store.visible_version if snapshot_version is None else snapshot_version
    world.store.submit(Commit(version, writes={("a", "k"): value.encode()}), answers.add)
    return answers


def test_failed_sync_withdraws_all_that_wait(world: World) -> None:
    """Every version that is not durable is withdrawn, its waiters told, older values shown."""
    kept = world.put("a", k="kept")
    world.hold()
    first, second = submit(world, "lost 1"), submit(world, "lost 2")
    reader = Answers()
    world.store.submit(Commit(world.store.visible_version, reads=[("a", "k")]), reader.add)
    world.fail()
    world.release()
    world.settle()
    for answers in (first, second, reader):
        assert [type(error) for error in answers.errors] == [StoreUnavailable]
    assert world.store.open_snapshot().find("a", "k") == (b"kept", kept)
    assert world.store.open_snapshot().load("a", 100).items["k"].value == b"kept"


def test_reader_of_withdrawn_value_cannot_commit(world: World) -> None:
    """A run that read a withdrawn value conflicts; its own snapshot stays as it was."""
    world.put("a", k="kept")
    assert world.store.withdrawn_version == 0
    world.hold()
    submit(world, "lost")
    snapshot = world.store.open_snapshot()
    assert snapshot.find("a", "k").value == b"lost"
    world.fail()
    world.release()
    world.settle()
    assert snapshot.find("a", "k").value == b"lost"
    assert snapshot.load("a", 100).items["k"].value == b"lost"
    assert snapshot.scan(Range("a", "", None), 9).items[0][1].value == b"lost"
    assert not world.store.is_current(snapshot.version, [("a", "k")], [])
    assert not world.store.is_current(snapshot.version, [], [Range("a", "", None)])
    assert world.store.is_current(snapshot.version, [("a", "other")], [])
    assert snapshot.version < world.store.withdrawn_version
    assert world.store.open_snapshot().version == world.store.withdrawn_version
    world.mend()
    world.wait_writable()
    commit = Commit(snapshot.version, reads=[("a", "k")], writes={("a", "l"): b"x"})
    assert world.store.submit(commit, Answers().add) is None


def test_snapshot_before_withdrawn_value_is_current(world: World) -> None:
    """A withdrawal counts as a change of the cell, so even an older snapshot of it conflicts."""
    world.put("a", k="kept")
    snapshot = world.store.open_snapshot()
    world.hold()
    submit(world, "lost")
    world.fail()
    world.release()
    world.settle()
    assert snapshot.find("a", "k").value == b"kept"
    assert not world.store.is_current(snapshot.version, [("a", "k")], [])


def test_writes_stop_reads_go_on_and_writing_resumes(world: World) -> None:
    """While the disk fails commits are refused and reads answered; then all works again."""
    world.put("a", k="1")
    world.put("cold", k="1")
    world.fail()
    assert submit(world, "lost").errors == []
    world.settle()
    snapshot = world.store.open_snapshot()
    assert snapshot.find("a", "k").value == b"1"
    assert snapshot.find("cold", "k").value == b"1"
    with pytest.raises(StoreUnavailable) as caught:
        submit(world, "refused")
    assert caught.value.retry_after_ms is not None
    answers = Answers()
    assert world.store.submit(Commit(snapshot.version, reads=[("a", "k")]), answers.add)
    world.go_round()
    assert answers.errors == [None]
    world.mend()
    world.wait_writable()
    version = world.put("a", k="2")
    assert version > snapshot.version
    world.reopen()
    assert world.store.open_snapshot().find("a", "k").value == b"2"


def test_versions_are_not_reused_after_withdrawal(world: World) -> None:
    """The versions of withdrawn commits never come again."""
    world.put("a", k="1")
    world.hold()
    submit(world, "lost")
    lost = world.store.visible_version
    world.fail()
    world.release()
    world.settle()
    world.mend()
    world.wait_writable()
    assert world.put("a", k="2") > lost
    world.reopen()
    assert world.put("a", k="3") > lost + 1


def test_withdrawn_deletion_and_creation(world: World) -> None:
    """A withdrawn deletion shows the key again, a withdrawn creation hides it."""
    world.put("a", k="1")
    world.hold()
    world.store.submit(Commit(0, writes={("a", "k"): None, ("b", "k"): b"new"}), Answers().add)
    assert world.store.list_entities("", "", 9) == ["b"]
    world.fail()
    world.release()
    world.settle()
    assert world.store.list_entities("", "", 9) == ["a"]
    assert world.store.open_snapshot().find("b", "k") is None


def test_withdrawn_result_is_forgotten(world: World) -> None:
    """The recorded answer of a withdrawn commit is not found and not counted."""
    record = ResultRecord(
        identity="i", entity="a", request_id="r", account="acc",
        asked_digest=b"", answer=b"", expires_ns=1,
    )  # fmt: skip
    assert world.store.count_results("acc") == 0
    world.hold()
    world.store.submit(Commit(0, result=record), Answers().add)
    assert world.store.find_result("i", "a", "r") == record
    assert world.store.count_results("acc") == 1
    world.fail()
    world.release()
    world.settle()
    assert world.store.find_result("i", "a", "r") is None
    assert world.store.count_results("acc") == 0
    assert world.store.drop_expired_results(9, 9) == 0


def test_audit_survives_a_failed_sync(world: World) -> None:
    """Audit records that wait while the disk fails are written when it works again."""
    world.fail()
    world.store.record_audit(
        AuditRecord(at_ns=1, identity="i", act="call", entity="a", outcome="refused")
    )
    submit(world, "lost")
    world.settle()
    world.store.record_audit(
        AuditRecord(at_ns=2, identity="i", act="call", entity="a", outcome="refused")
    )
    world.mend()
    world.wait_writable()
    world.put("a", k="1")
    world.reopen()
    assert [record.at_ns for record in world.store.read_audit(9)] == [2, 1]


def test_closing_a_failed_store_answers_everyone(world: World) -> None:
    """Who waits when a failing store is closed is told that nothing happened."""
    world.put("a", k="1")
    world.fail()
    answers = submit(world, "lost")
    world.store.close()
    assert [type(error) for error in answers.errors] == [StoreUnavailable]
    world.mend()
    world.open()
    assert world.store.open_snapshot().find("a", "k").value == b"1"


def test_bad_waiter_does_not_stop_recovery(world: World) -> None:
    """A call-back that raises when told of the failure keeps nobody else from going on."""

    def fall(error: object) -> None:
        raise RuntimeError("a waiter's bug")

    world.hold()
    world.store.submit(Commit(0, writes={("a", "k"): b"1"}), fall)
    lost = submit(world, "lost")
    world.fail()
    world.release()
    with pytest.raises(RuntimeError):
        world.wait_until(lambda: False)
    assert len(lost.errors) == 1
    world.mend()
    world.wait_writable()
    world.put("a", k="2")

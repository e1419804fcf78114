"""Results of requests and audit records."""

from __future__ import annotations

import pytest

from lithox.errors import BadArguments
from lithox.store.contract import AuditRecord, Commit, ResultRecord
from tests.conformance.store.worlds import Answers, World


def make_result(request_id: str, *, account: str = "acc", expires_ns: int = 100) -> ResultRecord:
    return ResultRecord(
        identity="alice", entity="a", request_id=request_id, account=account,
        asked_digest=b"\x01", answer=request_id.encode("utf-8", "replace"), expires_ns=expires_ns,
    )  # fmt: skip


def submit(world: World, *records: ResultRecord) -> None:
    for record in records:
        assert world.store.submit(Commit(0, result=record), Answers().add) is not None


def make_audit(at_ns: int) -> AuditRecord:
    return AuditRecord(at_ns=at_ns, identity="i", act="call", entity="a", outcome="ok", detail="d")


def test_result_is_found_when_visible_and_after_reopening(world: World) -> None:
    """A recorded answer is found at once, when durable, and after opening again."""
    world.hold()
    submit(world, make_result("r1"))
    assert world.store.find_result("alice", "a", "r1") == make_result("r1")
    assert world.store.find_result("bob", "a", "r1") is None
    world.release()
    world.settle()
    assert world.store.find_result("alice", "a", "r1") == make_result("r1")
    world.reopen()
    assert world.store.find_result("alice", "a", "r1") == make_result("r1")
    assert world.store.find_result("alice", "b", "r1") is None


def test_an_answer_that_counts_is_not_replaced(world: World) -> None:
    """A commit that says what time it is gives way to an answer that has not expired by then."""
    submit(world, make_result("r", expires_ns=100))
    world.settle()
    late = make_result("r", expires_ns=300)
    early = Commit(0, writes={("a", "k"): b"1"}, result=late, now_ns=99)
    assert world.store.submit(early, Answers().add) is None
    assert world.store.find_result("alice", "a", "r") == make_result("r", expires_ns=100)
    assert world.store.submit(Commit(0, result=late, now_ns=100), Answers().add) is not None
    world.settle()
    assert world.store.find_result("alice", "a", "r") == late


def test_results_are_counted_by_account(world: World) -> None:
    """The count of an account is exact: pending, durable, replaced and dropped ones."""
    submit(world, make_result("r1"), make_result("r2"), make_result("x", account="other"))
    world.settle()
    world.hold()
    submit(world, make_result("r3"))
    assert world.store.count_results("acc") == 3
    submit(world, make_result("r1"), make_result("r4"))
    assert world.store.count_results("acc") == 4
    submit(world, make_result("r4", account="other"))
    assert (world.store.count_results("acc"), world.store.count_results("other")) == (3, 2)
    world.release()
    world.settle()
    assert (world.store.count_results("acc"), world.store.count_results("other")) == (3, 2)
    world.reopen()
    assert (world.store.count_results("acc"), world.store.count_results("other")) == (3, 2)
    assert world.store.count_results("nobody") == 0


def test_expired_results_are_dropped_within_the_limit(world: World) -> None:
    """Only expired results are dropped, at most the limit at a time, also those not durable."""
    submit(world, *(make_result(f"r{i}", expires_ns=i) for i in range(6)))
    world.settle()
    assert world.store.count_results("acc") == 6
    assert world.store.drop_expired_results(3, 2) == 2
    assert world.store.find_result("alice", "a", "r0") is None
    assert world.store.drop_expired_results(3, 9) == 2
    assert world.store.drop_expired_results(3, 9) == 0
    assert world.store.count_results("acc") == 2
    world.hold()
    submit(world, make_result("r9", expires_ns=1))
    assert world.store.drop_expired_results(3, 9) == 1
    world.release()
    world.settle()
    world.reopen()
    assert world.store.find_result("alice", "a", "r3") is None
    assert world.store.find_result("alice", "a", "r9") is None
    assert world.store.find_result("alice", "a", "r4") == make_result("r4", expires_ns=4)
    assert world.store.count_results("acc") == 2


def test_result_and_writes_are_one_commit(world: World) -> None:
    """A conflict records no answer."""
    snapshot = world.store.open_snapshot()
    world.put("a", k="1")
    commit = Commit(snapshot.version, reads=[("a", "k")], result=make_result("r"))
    assert world.store.submit(commit, Answers().add) is None
    assert world.store.find_result("alice", "a", "r") is None


def test_audit_is_read_newest_first(world: World) -> None:
    """Audit records are read newest first, waiting and durable ones together, each once."""
    for at_ns in range(5):
        world.store.record_audit(make_audit(at_ns))
    world.put("a", k="1")
    world.hold()
    for at_ns in range(5, 8):
        world.store.record_audit(make_audit(at_ns))
    assert [record.at_ns for record in world.store.read_audit(100)] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert [record.at_ns for record in world.store.read_audit(4)] == [7, 6, 5, 4]
    assert world.store.read_audit(1) == [make_audit(7)]
    world.release()
    world.reopen()
    assert [record.at_ns for record in world.store.read_audit(4)] == [7, 6, 5, 4]


def test_audit_alone_becomes_durable(world: World) -> None:
    """Audit records are written soon, though no commit comes after them."""
    world.store.record_audit(make_audit(1))
    world.wait_until(lambda: world.store.statistics()["audit_pending"] == 0)
    assert world.store.read_audit(9) == [make_audit(1)]


def test_audit_of_unstorable_text_is_escaped(world: World) -> None:
    """A lone surrogate that a stranger sent is kept as an escape, and harms no commit."""
    world.store.record_audit(
        AuditRecord(at_ns=1, identity="i", act="call", entity="ü\ud800", outcome="refused")
    )
    world.put("a", k="1")
    world.reopen()
    assert [record.entity for record in world.store.read_audit(9)] == ["ü\\ud800"]


def test_unstorable_result_is_refused_alone(world: World) -> None:
    """A result whose id cannot be stored is refused, and nothing of its commit is visible."""
    world.hold()
    submit(world, make_result("good"))
    commit = Commit(0, writes={("a", "k"): b"1"}, result=make_result("bad\ud800"))
    with pytest.raises(BadArguments):
        world.store.submit(commit, Answers().add)
    assert world.store.open_snapshot().find("a", "k") is None
    world.release()
    world.settle()
    assert world.store.find_result("alice", "a", "good") is not None

"""A message that fails holds back its pair only, dies after its tries, and can be sent again."""

from __future__ import annotations

import pytest

from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.records import DEAD
from lithox.errors import Conflict, StoreUnavailable
from lithox.model.request import Answer
from tests.unit.dispatch.house import BOB
from tests.unit.dispatch.messages.post import SECOND_NS, PostHouse

BOUNDS = MessageBounds(tries_max=3, pause_first_ms=100, pause_last_ms=1_000)


def test_what_fails_is_tried_again_until_it_succeeds() -> None:
    """Mended before its tries are used up, the receiver gets the message, once."""
    house = PostHouse(bounds=BOUNDS)
    house.call("box/a", "send", "box/b", "fail_until", "late")
    assert house.seen("box/b") == []
    assert len(house.tries_rows) == 1
    house.call("box/b", "mend")
    house.wait(SECOND_NS)
    assert house.seen("box/b") == ["late"]
    assert (house.waiting_rows, house.tries_rows) == (0, [])


def test_rests_double_from_the_first_to_the_last() -> None:
    """100 ms, 200, 400 ... and never more than the longest."""
    bounds = MessageBounds(pause_first_ms=100, pause_last_ms=1_000)
    assert [bounds.pause_ms(n) for n in (1, 2, 3, 4, 5, 100)] == [100, 200, 400, 800, 1000, 1000]


def test_a_failing_message_holds_back_its_own_pair_only() -> None:
    """What follows it in the pair waits; other pairs of the same sender do not."""
    house = PostHouse(bounds=BOUNDS)
    house.call("box/a", "send", "box/b", "fail_until", "first")
    house.call("box/a", "send", "box/b", "note", "second")
    house.call("box/a", "send", "box/c", "note", "other")
    house.call("box/d", "send", "box/b", "note", "of another sender")
    assert house.seen("box/c") == ["other"]
    assert house.seen("box/b") == ["of another sender"]
    house.call("box/b", "mend")
    house.wait(SECOND_NS)
    assert house.seen("box/b") == ["of another sender", "first", "second"]


def test_after_its_tries_a_message_is_dead_and_its_pair_goes_on() -> None:
    """It stands among the dead, with no row left elsewhere; the next one is delivered."""
    house = PostHouse(bounds=BOUNDS)
    message_id = house.call("box/a", "send", "box/b", "fail_until", "x")
    house.call("box/a", "send", "box/b", "note", "next")
    house.wait(10 * SECOND_NS)
    assert house.dead_rows == [message_id]
    assert house.seen("box/b") == ["next"]
    assert (house.waiting_rows, house.tries_rows) == (0, [])
    assert house.dispatcher.mail.statistics()["dead"] == 1


def test_while_the_dead_are_as_many_as_may_no_message_dies() -> None:
    """It is tried on, at the longest rest, rather than be dropped or push another out."""
    house = PostHouse(bounds=MessageBounds(tries_max=2, pause_last_ms=1_000, dead_max=1))
    for word in ("x", "y"):
        house.call("box/a", "send", "box/b", "fail_until", word)
    house.wait(20 * SECOND_NS)
    assert (len(house.dead_rows), house.waiting_rows) == (1, 1)
    house.call("box/b", "mend")
    house.wait(2 * SECOND_NS)
    assert house.seen("box/b") == ["y"]


def test_a_receiver_that_is_not_there_or_forbids_is_a_failure_like_any_other() -> None:
    """Nobody is told more than that the message is dead, and why."""
    house = PostHouse(bounds=BOUNDS)
    house.publish("private/*", {}, access=[])
    house.call("box/a", "send", "nowhere/x", "note", "a")
    house.call("box/a", "send", "private/x", "note", "b")
    house.call("box/a", "send", "box/b", "no_such_handler")
    house.wait(10 * SECOND_NS)
    assert len(house.dead_rows) == 3
    assert house.waiting_rows == 0


def test_failures_of_the_node_itself_do_not_count() -> None:
    """A disk that takes no writes for long kills no message."""
    house = PostHouse(bounds=BOUNDS)
    house.hold()
    house.call("box/a", "send", "box/b", "note", "y")
    real = house.store.submit

    def refuse(*_: object) -> None:
        raise StoreUnavailable("the disk is full")

    house.store.submit = refuse  # type: ignore[method-assign,assignment]
    house.let_go()
    house.wait(60 * SECOND_NS)
    house.store.submit = real  # type: ignore[method-assign]
    house.wait(2 * SECOND_NS)
    assert house.seen("box/b") == ["y"]
    assert house.dead_rows == []
    assert house.dispatcher.mail.statistics()["failed_total"] > BOUNDS.tries_max


def test_losing_every_race_does_not_count() -> None:
    """That others were faster, as often as a run may try, says nothing about the message."""
    house = PostHouse(bounds=BOUNDS)
    house.hold()
    house.call("box/a", "send", "box/b", "note", "y")
    submit = house.dispatcher.mail.delivery._submit
    house.dispatcher.mail.delivery._submit = lambda _, on_answer: on_answer(
        Answer(error=Conflict("others were faster"))
    )
    house.let_go()
    house.wait(60 * SECOND_NS)
    assert (house.dead_rows, house.tries_rows, house.waiting_rows) == ([], [], 1)
    house.dispatcher.mail.delivery._submit = submit
    house.wait(60 * SECOND_NS)
    assert house.seen("box/b") == ["y"]


@pytest.mark.parametrize(
    ("bounds", "bound"),
    [
        (MessageBounds(pair_max=2), "pair"),
        (MessageBounds(account_max=2), "account"),
        (MessageBounds(node_max=2), "node"),
        (MessageBounds(account_bytes_max=250), "account_bytes"),
        (MessageBounds(node_bytes_max=250), "node_bytes"),
    ],
)
def test_a_sender_is_told_when_as_many_wait_as_may(bounds: MessageBounds, bound: str) -> None:
    """With a status, the bound that is reached and when to try again; nothing is sent."""
    house = PostHouse(bounds=bounds)
    house.hold()
    for word in ("1", "2"):
        house.call("box/a", "send", "box/b", "note", word)
    answers = house.send("box/a", "send", "box/b", "note", "3")
    house.run()
    error = answers[0].error
    assert error is not None
    assert getattr(error, "code", "") == "app.message.queue_full"
    assert house.waiting_rows == 2
    assert error.fields["data"]["bound"] == bound  # type: ignore[attr-defined]
    assert error.fields["data"]["retry_after_ms"] == 1_000  # type: ignore[attr-defined]


def test_bytes_of_one_account_leave_room_for_another() -> None:
    """An account at its bound is refused alone; what one run sends counts, too."""
    house = PostHouse(bounds=MessageBounds(account_bytes_max=400))
    house.hold()
    answers = house.send("box/a", "send_many", ["box/b", "box/c"], ["x" * 60, "y" * 60])
    house.run()
    assert answers[0].error.fields["data"]["bound"] == "account_bytes"  # type: ignore[union-attr]
    house.call("box/a", "send_many", ["box/b", "box/c"], ["x" * 60])
    answers = house.send("box/a", "send", "box/b", "note", "z" * 60)
    house.run()
    assert getattr(answers[0].error, "code", "") == "app.message.queue_full"
    house.call("box/d", "send", "box/b", "note", "z" * 60, caller=BOB)
    assert house.waiting_rows == 3
    house.let_go()
    assert house.dispatcher.mail.waiting.bytes_of_account("alice") == 0
    house.call("box/a", "send", "box/b", "note", "z" * 60)


def test_while_the_dead_have_as_many_bytes_as_may_no_message_dies() -> None:
    """A large letter waits for room among them; its bytes are counted until it is gone."""
    house = PostHouse(bounds=MessageBounds(tries_max=1, pause_last_ms=1_000, dead_bytes_max=8_000))
    for word in ("x" * 4_000, "y" * 4_000):
        house.call("box/a", "send", "box/b", "fail_until", word)
    house.wait(20 * SECOND_NS)
    assert (len(house.dead_rows), house.waiting_rows) == (1, 1)
    delivery = house.dispatcher.mail.delivery
    assert (delivery.dead_count, delivery.dead_bytes) == house.store.measure_entity(DEAD)


def test_what_one_run_sends_counts_for_its_own_bounds() -> None:
    """Two to each of two receivers pass where a pair may hold two; a third to one does not."""
    house = PostHouse(bounds=MessageBounds(pair_max=2))
    house.call("box/a", "send_many", ["box/b", "box/c"], ["1", "2"])
    assert house.seen("box/c") == ["1", "2"]
    answers = house.send("box/a", "send_many", ["box/b", "box/c"], ["1", "2", "3"])
    house.run()
    assert getattr(answers[0].error, "code", "") == "app.message.queue_full"
    assert house.seen("box/c") == ["1", "2"]


def test_a_loop_of_messages_ends() -> None:
    """Two entities that answer each other for ever stop at the bound of hops, as a dead letter."""
    house = PostHouse(bounds=MessageBounds(hops_max=6, tries_max=2, pause_last_ms=200))
    house.call("box/a", "pass_on", "box/b")
    house.wait(SECOND_NS)
    passed = [house.get(name, "passed") for name in ("box/a", "box/b")]
    # The seventh run asks for a seventh hop, is refused, and leaves nothing.
    assert passed == [3, 3]
    assert len(house.dead_rows) == 1


def test_a_withdrawn_commit_takes_its_message_with_it() -> None:
    """A sync fails after the message was visible: neither sender nor receiver has done anything."""
    house = PostHouse(bounds=BOUNDS)
    house.call("box/a", "note", "before")
    house.disk.fail(StoreUnavailable("no disk"))
    answers = house.send("box/a", "send", "box/b", "note", "never")
    house.run()
    assert isinstance(answers[0].error, StoreUnavailable)
    house.disk.mend()
    house.wait(60 * SECOND_NS)
    assert house.seen("box/b") == []
    assert house.dispatcher.mail.waiting.count == 0
    house.call("box/a", "send", "box/b", "note", "after")
    assert house.seen("box/b") == ["after"]


def test_what_a_failed_callee_sent_counts_for_no_bound() -> None:
    """The caller, who goes on, may send as many as it could have without the callee."""
    house = PostHouse(bounds=MessageBounds(account_max=1))
    house.hold()
    house.call("box/a", "call_and_catch", "box/b", "send_and_fail", "box/c")
    assert house.waiting_rows == 1
    house.let_go()
    assert house.seen("box/c") == ["own"]

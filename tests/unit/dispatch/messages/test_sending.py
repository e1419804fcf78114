"""A message leaves with its sender's commit and takes effect once, in the order of its pair."""

from __future__ import annotations

import pytest

from lithox.errors import GuestRaised
from tests.unit.dispatch.house import ALICE, BOB
from tests.unit.dispatch.messages.post import PostHouse


def test_a_message_takes_effect_after_the_commit_that_sent_it() -> None:
    """The receiver runs it, and nothing of the message is left."""
    house = PostHouse()
    message_id = house.call("box/a", "send", "box/b", "note", "hello")
    assert message_id.startswith("m.")
    assert house.seen("box/b") == ["hello"]
    assert house.waiting_rows == 0
    assert house.dispatcher.mail.waiting.count == 0


def test_a_run_that_fails_has_sent_nothing() -> None:
    """What it put into the outbox goes with the rest of what it wrote."""
    house = PostHouse()
    with pytest.raises(GuestRaised):
        house.call("box/a", "send_and_fail", "box/b")
    assert house.seen("box/b") == []
    assert house.waiting_rows == 0


def test_a_callee_that_failed_leaves_no_message() -> None:
    """Its caller goes on and what the caller sends leaves alone."""
    house = PostHouse()
    house.call("box/a", "call_and_catch", "box/c", "send_and_fail", "box/b")
    assert house.seen("box/b") == ["own"]


def test_messages_of_a_pair_arrive_in_the_order_they_were_sent() -> None:
    """Commit order first, position within a commit second, to two receivers at once."""
    house = PostHouse()
    receivers = ["box/b", "box/c"]
    for part in (["1", "2", "3"], ["4"], ["5", "6"]):
        house.send("box/a", "send_many", receivers, part)
    house.run()
    assert [house.seen(name) for name in receivers] == [["1", "2", "3", "4", "5", "6"]] * 2


def test_an_entity_may_send_to_itself() -> None:
    """Sender and receiver being one, the message runs after the run that sent it."""
    house = PostHouse()
    house.call("box/a", "send", "box/a", "note", "me")
    assert house.seen("box/a") == ["me"]


def test_the_receiver_is_called_as_the_sender_under_the_id_of_the_message() -> None:
    """`self.caller` is the sending entity; `self.request_id` the message's own id."""
    house = PostHouse()
    message_id = house.call("box/a", "send", "box/b", "tell", "x")
    assert house.get("box/b", "told") == ["x", "entity:box/a", message_id]


def test_two_callers_with_one_request_id_send_two_messages() -> None:
    """Ids of messages are told apart by the run, not only by the id its caller chose."""
    house = PostHouse()
    for caller in (ALICE, BOB):
        house.call("box/a", "send", "box/b", "note", caller.identity, caller=caller, request_id="r")
    assert house.seen("box/b") == ["alice", "bob"]


def test_a_run_that_is_run_again_sends_once() -> None:
    """Only the attempt that commits has sent."""
    house = PostHouse()
    for _ in range(8):
        house.send("box/a", "send", "box/b", "note", "x")
    for _ in range(8):
        house.send("box/a", "note", "y")
    house.run()
    assert house.seen("box/b") == ["x"] * 8

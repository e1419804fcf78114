"""Whose message is next: pairs in order, accounts by turns, each within its share."""

from __future__ import annotations

from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.records import PairKey
from lithox.dispatch.messages.waiting import Entry, Waiting


def fill(waiting: Waiting, account: str, count: int) -> None:
    """Adds one message to each of `count` pairs of an account."""
    for number in range(count):
        key = PairKey(f"{account}/{number}", "box", "")
        entry = Entry(id=f"m.{account}{number}", account=account, size_bytes=10, sent_ms=0)
        waiting.add(key, entry)


def take(waiting: Waiting, count: int) -> list[str]:
    """Returns the accounts of the next messages."""
    found: list[str] = []
    for _ in range(count):
        pair = waiting.take_next()
        if pair is None:
            break
        found.append(pair.entries[0].account)
    return found


def test_accounts_take_turns() -> None:
    """A burst of one account does not come before the one message of another."""
    waiting = Waiting(MessageBounds())
    fill(waiting, "a", 5)
    fill(waiting, "b", 1)
    fill(waiting, "c", 2)
    assert take(waiting, 9) == ["a", "b", "c", "a", "c", "a", "a", "a"]


def test_an_account_with_its_share_under_way_is_passed_over() -> None:
    """It goes on when one of its deliveries ends."""
    waiting = Waiting(MessageBounds(delivering_account_max=2))
    fill(waiting, "a", 4)
    assert take(waiting, 9) == ["a", "a"]
    fill(waiting, "b", 1)
    assert take(waiting, 9) == ["b"]
    waiting.end_delivery(Entry(id="", account="a", size_bytes=0, sent_ms=0))
    assert take(waiting, 9) == ["a"]


def test_no_more_are_under_way_than_may_be() -> None:
    """Whatever accounts they are of."""
    waiting = Waiting(MessageBounds(delivering_max=3))
    for account in "abcde":
        fill(waiting, account, 2)
    assert len(take(waiting, 9)) == 3
    assert waiting.delivering == 3


def test_nothing_is_left_of_what_was_delivered() -> None:
    """Counts are those of the messages held, and come back to nothing."""
    waiting = Waiting(MessageBounds())
    fill(waiting, "a", 3)
    assert (waiting.count, waiting.bytes_waiting, waiting.count_of_account("a")) == (3, 30, 3)
    while (pair := waiting.take_next()) is not None:
        waiting.end_delivery(pair.entries[0])
        waiting.drop_first(pair)
    assert (waiting.count, waiting.bytes_waiting, waiting.count_of_account("a")) == (0, 0, 0)
    assert waiting.delivering == 0
    assert list(waiting.entries()) == []


def test_a_rest_ends_at_its_time() -> None:
    """A pair that rests is not next before."""
    waiting = Waiting(MessageBounds())
    fill(waiting, "a", 1)
    pair = waiting.take_next()
    assert pair is not None
    waiting.end_delivery(pair.entries[0])
    waiting.rest(pair, 100)
    waiting.wake_rested(99)
    assert (waiting.take_next(), waiting.next_wake_ns) == (None, 100)
    waiting.wake_rested(100)
    assert (waiting.take_next(), waiting.next_wake_ns) == (pair, None)

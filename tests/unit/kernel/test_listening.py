"""Queues by example: who hears a message, and what a slow listener loses."""

from __future__ import annotations

import pytest

from lithox.errors import (
    BadArguments,
    NotFound,
    TooManyContexts,
)
from lithox.kernel.events import (
    EVENT_BYTES,
    MessageEvent,
)
from tests.unit.kernel.talking import ARGS, make_pair


def test_a_push_goes_to_the_other_side() -> None:
    """From the owner to every holder that listens, from a holder to the owner."""
    talk, owner, client, ctx, number = make_pair()
    second = talk.it.grant(owner, ctx, client)
    for pid, one in ((client, number), (client, second), (owner, ctx)):
        talk.it.listen(pid, one, "q")
    assert talk.it.push(owner, ctx, "q", ARGS, 0) == (2, 0)
    assert talk.events(client) == [
        MessageEvent(one, "q", owner, ARGS, 0) for one in (number, second)
    ]
    assert talk.it.push(client, number, "q", ARGS, 0) == (1, 0)
    assert talk.it.push(client, number, "other", ARGS, 0) == (0, 0)
    assert talk.events(owner) == [MessageEvent(ctx, "q", client, ARGS, 0)]


@pytest.mark.parametrize(
    ("overflow", "kept"), [("drop_oldest", [2, 3]), ("drop_newest", [0, 1]), (None, [2, 3])]
)
def test_a_slow_listener_loses_messages_and_is_told(overflow: str | None, kept: list[int]) -> None:
    """The pusher hears how many were lost, the listener how many it missed."""
    talk, owner, client, ctx, number = make_pair()
    talk.it.listen(client, number, "q", limit=2, overflow=overflow)
    pushed = [talk.it.push(owner, ctx, "q", bytes([index]), 0) for index in range(4)]
    assert [lost for _, lost in pushed] == [0, 0, 1, 1]
    events = talk.events(client)
    assert [event.args[0] for event in events] == kept
    assert [event.missed for event in events] == [2, 0]


def test_a_message_too_big_for_the_mailbox_is_lost_not_waited_for() -> None:
    """Older messages of the same queue make room first; others' events never do."""
    talk, owner, client, ctx, number = make_pair(mailbox_bytes_max=3 * EVENT_BYTES)
    talk.it.listen(client, number, "q")
    assert talk.it.push(owner, ctx, "q", b"x" * EVENT_BYTES, 0) == (1, 0)
    assert talk.it.push(owner, ctx, "q", b"x" * 2 * EVENT_BYTES, 0) == (1, 1)
    assert talk.it.push(owner, ctx, "q", b"x" * 3 * EVENT_BYTES, 0) == (0, 2)
    assert talk.events(client) == []
    assert talk.it.push(owner, ctx, "q", b"", 0) == (1, 0)
    assert talk.pull(client).missed == 3


@pytest.mark.parametrize("limit", [0, -1, 1025])
def test_a_listeners_limit_has_bounds(limit: int) -> None:
    """Limit and overflow are checked by word and number."""
    talk, _, client, _, number = make_pair()
    with pytest.raises(BadArguments, match="1 to 1024"):
        talk.it.listen(client, number, "q", limit=limit)
    with pytest.raises(BadArguments, match="'drop_oldest' or 'drop_newest'"):
        talk.it.listen(client, number, "q", overflow="drop_all")


def test_listening_again_changes_the_limit_and_drops_what_is_too_much() -> None:
    """Nothing is listened to twice."""
    talk, owner, client, ctx, number = make_pair(listens_max=1)
    talk.it.listen(client, number, "q", limit=5)
    for index in range(5):
        talk.it.push(owner, ctx, "q", bytes([index]), 0)
    talk.it.listen(client, number, "q", limit=2)
    assert [event.args[0] for event in talk.events(client)] == [3, 4]
    with pytest.raises(TooManyContexts, match="listens to 1 queues"):
        talk.it.listen(client, number, "r")


def test_who_stops_listening_hears_nothing_more() -> None:
    """Queued messages go with `unlisten`; a second one finds nothing."""
    talk, owner, client, ctx, number = make_pair()
    talk.it.listen(client, number, "q")
    talk.it.push(owner, ctx, "q", ARGS, 0)
    talk.it.unlisten(client, number, "q")
    assert talk.it.push(owner, ctx, "q", ARGS, 0) == (0, 0)
    assert talk.events(client) == []
    with pytest.raises(NotFound):
        talk.it.unlisten(client, number, "q")


def test_messages_that_arrived_outlive_their_context() -> None:
    """What stood in the mailbox before the owner closed the context can still be pulled."""
    talk, owner, client, ctx, number = make_pair()
    talk.it.listen(client, number, "q")
    talk.it.push(owner, ctx, "q", ARGS, 0)
    talk.close(owner, ctx)
    assert talk.events(client) == [MessageEvent(number, "q", owner, ARGS, 0)]
    assert talk.it.counts(client).listens == 0


def test_a_flood_of_dropped_messages_leaves_no_trail() -> None:
    """Dropped entries of a mailbox are bounded, however many are pushed."""
    talk, owner, client, ctx, number = make_pair()
    talk.it.listen(client, number, "q", limit=1)
    for _ in range(5_000):
        talk.it.push(owner, ctx, "q", ARGS, 0)
        assert len(talk.it._table[client].events) <= 1_000
    assert talk.it.counts(client).events == 1

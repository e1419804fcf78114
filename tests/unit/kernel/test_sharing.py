"""Contexts by example: who holds what, who hears of it, and what each misuse is told."""

from __future__ import annotations

import pytest

from lithox.errors import (
    BadArguments,
    ContextClosed,
    ContextInvalid,
    NotFound,
    Overloaded,
    TooManyContexts,
)
from lithox.kernel.events import (
    ABANDONED,
    EVENT_BYTES,
    NO_ROOM_FOR_CONTEXTS,
    AnswerEvent,
    CloseEvent,
    OpenEvent,
)
from tests.unit.kernel.talking import ARGS, Talk, make_pair


def test_contexts_travel_in_answers_as_new_numbers() -> None:
    """An open file: a context of its own, whose owner surely hears of its closing."""
    talk, owner, client, _, number = make_pair()
    cid = talk.call(client, number)
    talk.pull(owner)
    file = talk.serve(owner, "read")
    talk.answer(owner, cid, file, file)
    answer = talk.pull(client)
    assert answer.contexts == [number + 1, number + 2]
    assert talk.events(owner) == []
    talk.kill(client)
    assert [e for e in talk.events(owner) if e.ctx == file] == [CloseEvent(file, client)] * 2


def test_a_holder_shares_on_and_the_owner_hears_of_it() -> None:
    """`open` names the third process; the holder and the third hear nothing."""
    talk, owner, client, ctx, number = make_pair()
    third = talk.start()
    theirs = talk.it.grant(client, number, third)
    assert talk.events(owner) == [OpenEvent(ctx, third)]
    talk.call(third, theirs)
    assert talk.pull(owner).pid == third
    talk.close(third, theirs)
    assert talk.events(owner) == [CloseEvent(ctx, third)]
    assert talk.events(client) == talk.events(third) == []


def test_a_context_that_comes_back_to_its_owner_makes_no_event() -> None:
    """Its owner may hold several numbers; only the first one ends the context."""
    talk, owner, client, ctx, number = make_pair()
    second = talk.it.grant(client, number, owner)
    talk.it.bind(owner, second, "g")
    talk.close(owner, second)
    talk.call(client, number, "g")
    assert talk.it.owns(owner, ctx)
    assert not talk.it.owns(client, number)
    assert [event.kind for event in talk.events(owner)] == ["call"]


def test_sharing_with_the_dead_is_refused() -> None:
    """There is no number to give."""
    talk, owner, client, ctx, _ = make_pair()
    talk.kill(client)
    with pytest.raises(NotFound, match=f"process {client} has ended"):
        talk.it.grant(owner, ctx, client)


def test_contexts_in_an_answer_to_the_dead_are_closed_and_owners_told() -> None:
    """The answerer's own context: close. A third party's: open, then close."""
    talk, owner, client, ctx, number = make_pair()
    third = talk.start()
    lent = talk.serve(third)
    borrowed = talk.it.grant(third, lent, owner)
    cid = talk.call(client, number)
    talk.pull(owner)
    talk.kill(client)
    talk.events(owner)
    talk.answer(owner, cid, ctx, borrowed)
    assert talk.events(owner) == [CloseEvent(ctx, client)]
    assert talk.events(third) == [OpenEvent(lent, client), CloseEvent(lent, client)]


def test_an_answer_with_a_bad_context_leaves_the_call_open() -> None:
    """The answerer is told which number is wrong and may answer again."""
    talk, owner, client, ctx, number = make_pair()
    cid = talk.call(client, number)
    talk.pull(owner)
    with pytest.raises(ContextInvalid):
        talk.answer(owner, cid, ctx, 99)
    with pytest.raises(BadArguments, match="at most 1024 contexts"):
        talk.answer(owner, cid, *[ctx] * 1025)
    talk.answer(owner, cid)
    assert talk.pull(client) == AnswerEvent(cid, 0, ARGS, [])


def test_contexts_a_caller_has_no_numbers_for_become_a_status() -> None:
    """The caller hears `context.too_many`, and the owner of the contexts that they are closed."""
    talk, owner, client, ctx, number = make_pair(contexts_max=2)
    talk.it.make_context(client)
    cid = talk.call(client, number)
    talk.pull(owner)
    talk.answer(owner, cid, ctx)
    assert talk.pull(client) == AnswerEvent(cid, *NO_ROOM_FOR_CONTEXTS, [])
    assert talk.events(owner) == [CloseEvent(ctx, client)]


def test_revoking_takes_all_numbers_of_one_holder() -> None:
    """The others keep theirs; the holder's open calls are abandoned; nobody hears an event."""
    talk, owner, client, ctx, number = make_pair()
    other = talk.start()
    kept = talk.it.grant(owner, ctx, other)
    second = talk.it.grant(owner, ctx, client)
    cid = talk.call(client, number)
    assert talk.it.revoke(owner, ctx, client, 0) == 2
    assert talk.it.revoke(owner, ctx, client, 0) == 0
    for lost in (number, second):
        with pytest.raises(ContextClosed, match="took it back"):
            talk.call(client, lost)
    assert talk.events(client) == [AnswerEvent(cid, *ABANDONED, [])]
    talk.call(other, kept)
    assert [event.pid for event in talk.events(owner)] == [other]


def test_revoking_from_everybody_leaves_the_owner_its_own() -> None:
    """A new grant after that leads to the same context again."""
    talk, owner, client, ctx, number = make_pair()
    assert talk.it.revoke(owner, ctx, None, 0) == 1
    with pytest.raises(ContextClosed):
        talk.call(client, number)
    again = talk.it.grant(owner, ctx, client)
    talk.call(client, again)
    talk.call(owner, ctx)
    assert [event.pid for event in talk.events(owner)] == [client, owner]
    assert talk.it.revoke(owner, ctx, owner, 0) == 0


def test_revoking_costs_the_same_for_ten_thousand_holders() -> None:
    """No holder is visited: their numbers are older than the context's generation."""
    talk = Talk(contexts_max=20_000, mailbox_bytes_max=1 << 40,
                mailbox_bytes_per_account_max=1 << 40)  # fmt: skip
    owner, client = talk.start(), talk.start()
    ctx = talk.serve(owner, "f")
    for _ in range(10_000):
        talk.it.grant(owner, ctx, client)
    assert talk.it.counts(owner).mailbox_bytes == 10_000 * EVENT_BYTES
    assert talk.it.revoke(owner, ctx, None, 0) == 10_000
    assert talk.it.counts(owner).mailbox_bytes == 0


def test_a_flood_of_sharing_is_refused_when_the_owner_cannot_hear_it() -> None:
    """Room for every open and close event is there before the number is given."""
    talk, owner, client, _, number = make_pair(mailbox_bytes_max=8 * EVENT_BYTES)
    third = talk.start()
    given = [talk.it.grant(client, number, third) for _ in range(3)]
    with pytest.raises(Overloaded, match="full mailbox"):
        talk.it.grant(client, number, third)
    for one in given:
        talk.close(third, one)
    assert [event.kind for event in talk.events(owner)] == ["open"] * 3 + ["close"] * 3
    talk.it.grant(client, number, third)


def test_an_owner_that_gives_away_more_than_it_can_hear_of_is_stopped() -> None:
    """Its own bound has its own code."""
    talk, owner, client, ctx, _ = make_pair(mailbox_bytes_max=2 * EVENT_BYTES)
    talk.it.grant(owner, ctx, client)
    with pytest.raises(TooManyContexts, match="close events"):
        talk.it.grant(owner, ctx, client)


def test_bindings_are_bounded_and_come_back() -> None:
    """Unbinding and ending a context free what they held."""
    talk = Talk(bindings_max=2)
    pid = talk.start()
    ctx = talk.serve(pid, "a", "b*", "a")
    with pytest.raises(TooManyContexts, match="bound 2 names"):
        talk.it.bind(pid, ctx, "c")
    talk.it.unbind(pid, ctx, "b*")
    talk.it.bind(pid, ctx, "c")
    talk.close(pid, ctx)
    talk.serve(pid, "x", "y")

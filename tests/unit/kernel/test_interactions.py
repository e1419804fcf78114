"""Interactions by example: every misuse has its own status, and nobody is left waiting."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lithox.errors import (
    BadArguments,
    CallDeadlock,
    CallNotFound,
    ContextClosed,
    ContextInvalid,
    InternalError,
    LithoxError,
    NoSuchName,
    NotFound,
    NotOwner,
    Overloaded,
    TooLarge,
    TooManyContexts,
)
from lithox.kernel import Mode, NativeContext, NodeAnswered, Policy, SliceEnd, Spawn, WaitKind
from lithox.kernel.events import (
    ABANDONED,
    DEADLINE_PASSED,
    EVENT_BYTES,
    NO_ROOM_FOR_ANSWER,
    NO_ROOM_FOR_CONTEXTS,
    NO_ROOM_FOR_EXIT,
    Answered,
    AnswerEvent,
    CallEvent,
    CloseEvent,
    ExitEvent,
    MessageEvent,
    OpenEvent,
)
from lithox.kernel.timers import NEVER_NS
from lithox.model.ids import AccountName, Pid
from tests.unit.kernel.talking import ARGS, NONE, Talk


def make_pair(**policy: int) -> tuple[Talk, Pid, Pid, int, int]:
    """Returns (talk, owner, client, the owner's number, the client's): `f` is bound."""
    talk = Talk(**policy)
    owner, client = talk.start(), talk.start("b")
    ctx = talk.serve(owner, "f")
    return talk, owner, client, ctx, talk.it.grant(owner, ctx, client)


# Calls.


def test_a_call_goes_to_the_owner_and_its_answer_to_the_caller() -> None:
    """Name, arguments, who called and the owner's own number arrive; so do status and values."""
    talk, owner, client, ctx, number = make_pair()
    cid = talk.call(client, number)
    assert talk.pull(owner) == CallEvent(cid, ctx, "f", client, ARGS)
    talk.it.answer(owner, cid, 1_000, NONE, [], 0)
    assert talk.pull(client) == AnswerEvent(cid, 1_000, NONE, [])
    assert talk.pull(client) is None


def test_a_request_wakes_its_caller_with_the_answer() -> None:
    """A blocked caller gets no event: the answer is what its wait came to."""
    talk, owner, client, _, number = make_pair()
    cid = talk.block(client, number)
    talk.answer(owner, talk.pull(owner).cid)
    assert talk.resume(client) == Answered(0, ARGS, [])
    assert talk.pull(client) is None
    assert cid > 0


def test_an_answer_before_the_slice_is_back_is_not_lost() -> None:
    """The owner runs on another processor and answers between the wait and ASKED."""
    talk, owner, client, _, number = make_pair()
    talk.request(client, number)
    assert talk.it.wait(client, WaitKind.ANSWER)
    talk.answer(owner, talk.pull(owner).cid)
    talk.ask(client)
    assert talk.resume(client) == Answered(0, ARGS, [])


def test_an_answer_that_is_there_already_needs_no_wait() -> None:
    """The node may answer at once; the caller goes on in the same slice."""
    talk = Talk()
    pid = talk.start()
    cid = talk.it.call_native(pid, None, 0, is_blocking=True)
    assert talk.it.is_open(cid)
    assert talk.it.answer_native(cid, 0, ARGS, ["a grant"], 0)
    assert not talk.it.is_open(cid)
    assert not talk.it.wait(pid, WaitKind.ANSWER, cid=cid)
    assert talk.it.take_outcome(pid) == Answered(0, ARGS, [0])
    assert talk.it.find_grant(pid, 0) == "a grant"
    assert not talk.it.answer_native(cid, 0, ARGS, [], 0)


@pytest.mark.parametrize("act", ["call", "bind", "close", "push", "listen", "grant", "revoke"])
@pytest.mark.parametrize("number", [-1, 7, 1 << 80])
def test_a_number_never_given_is_invalid_for_every_act(act: str, number: int) -> None:
    """Guessing numbers leads nowhere, however it is tried."""
    talk, owner, client, _, _ = make_pair()
    acts: dict[str, Callable[[], object]] = {
        "call": lambda: talk.call(client, number),
        "bind": lambda: talk.it.bind(client, number, "x"),
        "close": lambda: talk.close(client, number),
        "push": lambda: talk.it.push(client, number, "q", ARGS, 0),
        "listen": lambda: talk.it.listen(client, number, "q"),
        "grant": lambda: talk.it.grant(client, number, owner),
        "revoke": lambda: talk.it.revoke(client, number, None, 0),
    }
    with pytest.raises(ContextInvalid, match=f"never given a context {number}"):
        acts[act]()


def test_a_number_of_another_process_means_nothing() -> None:
    """Numbers are per process: the owner's third context is not the client's."""
    talk, owner, client, _, _ = make_pair()
    talk.serve(owner, "secret")
    foreign = talk.serve(owner, "secret")
    with pytest.raises(ContextInvalid):
        talk.call(client, foreign, "secret")


def test_a_closed_number_says_so_and_is_never_given_again() -> None:
    """Closing twice is refused; the next number is a new one."""
    talk, _, client, _, number = make_pair()
    talk.close(client, number)
    with pytest.raises(ContextClosed, match="was closed by this process"):
        talk.call(client, number)
    with pytest.raises(ContextClosed):
        talk.close(client, number)
    assert talk.it.make_context(client) == number + 1


def test_the_owners_close_ends_the_context_for_all() -> None:
    """Holders keep a number that says `context.closed`, and may still give it up silently."""
    talk, owner, client, ctx, number = make_pair()
    talk.close(owner, ctx)
    with pytest.raises(ContextClosed, match="its owner closed it"):
        talk.call(client, number)
    talk.close(client, number)
    assert talk.events(owner) == []


def test_an_unbound_name_is_refused_at_once() -> None:
    """The owner does not even hear of it; unbinding makes a name unbound again."""
    talk, owner, client, ctx, number = make_pair()
    with pytest.raises(NoSuchName, match="'g'"):
        talk.call(client, number, "g")
    talk.it.unbind(owner, ctx, "f")
    with pytest.raises(NoSuchName):
        talk.call(client, number)
    with pytest.raises(NoSuchName):
        talk.it.unbind(owner, ctx, "f")
    assert talk.events(owner) == []


@pytest.mark.parametrize("name", ["file.read", "file.", "\x00\n", "ü" * 100, "a b"])
def test_names_with_odd_characters_are_names(name: str) -> None:
    """Any text of 1 to 255 bytes may be bound and called; a star at the end takes a prefix."""
    talk, owner, client, ctx, number = make_pair()
    talk.it.bind(owner, ctx, name)
    talk.call(client, number, name)
    assert talk.pull(owner).name == name
    talk.it.bind(owner, ctx, "file.*")
    talk.call(client, number, "file.write")
    assert talk.pull(owner).name == "file.write"


@pytest.mark.parametrize("name", ["", "x" * 256, "ü" * 128])
def test_a_name_out_of_bounds_is_refused(name: str) -> None:
    """Names are bounded in bytes, for bindings and queues alike."""
    talk, owner, _, ctx, _ = make_pair()
    with pytest.raises(BadArguments, match="1 to 255 bytes"):
        talk.it.bind(owner, ctx, name)
    with pytest.raises(BadArguments, match="1 to 255 bytes"):
        talk.it.listen(owner, ctx, name)
    with pytest.raises(BadArguments, match="1 to 255 bytes"):
        talk.it.push(owner, ctx, name, ARGS, 0)


def test_only_the_owner_binds_and_revokes() -> None:
    """A holder of a context cannot make itself its server, nor throw others out."""
    talk, _, client, _, number = make_pair()
    for act in (
        lambda: talk.it.bind(client, number, "f"),
        lambda: talk.it.unbind(client, number, "f"),
        lambda: talk.it.revoke(client, number, None, 0),
    ):
        with pytest.raises(NotOwner):
            act()


def test_a_call_is_answered_once() -> None:
    """The second answer, an answer before the pull and one to another's call find no call."""
    talk, owner, client, _, number = make_pair()
    cid = talk.call(client, number)
    with pytest.raises(CallNotFound):
        talk.answer(owner, cid)
    talk.pull(owner)
    with pytest.raises(CallNotFound):
        talk.answer(client, cid)
    talk.answer(owner, cid)
    with pytest.raises(CallNotFound, match=f"no call {cid} waits"):
        talk.answer(owner, cid)
    with pytest.raises(CallNotFound):
        talk.answer(owner, 1 << 70)
    assert len(talk.events(client)) == 1


def test_a_deadline_answers_and_a_late_answer_finds_no_call() -> None:
    """The caller hears `request.deadline_passed`; a call not pulled yet is heard of no more."""
    talk, owner, client, _, number = make_pair()
    pulled = talk.it.call(client, number, "f", ARGS, 10, 0)
    talk.pull(owner)
    queued = talk.it.call(client, number, "f", ARGS, 10, 0)
    talk.pass_time(9)
    assert talk.events(client) == []
    talk.pass_time(1)
    assert talk.events(client) == [
        AnswerEvent(cid, *DEADLINE_PASSED, []) for cid in (pulled, queued)
    ]
    assert talk.pull(owner) is None
    with pytest.raises(CallNotFound):
        talk.answer(owner, pulled)
    assert talk.it.counts(owner).mailbox_bytes == EVENT_BYTES


def test_every_call_has_a_deadline() -> None:
    """None is the policy's, and nobody may say more than the policy's most."""
    talk, _, client, _, number = make_pair(call_timeout_ns=50, call_timeout_max_ns=80)
    talk.call(client, number)
    talk.it.call(client, number, "f", ARGS, NEVER_NS, 0)
    talk.pass_time(50)
    assert len(talk.events(client)) == 1
    talk.pass_time(30)
    assert len(talk.events(client)) == 1


def test_a_fact_makes_due_deadlines_happen_first() -> None:
    """An answer at its deadline is too late though no timer has fired."""
    talk, owner, client, _, number = make_pair()
    cid = talk.it.call(client, number, "f", ARGS, 10, 0)
    talk.pull(owner)
    with pytest.raises(CallNotFound):
        talk.it.answer(owner, cid, 0, ARGS, [], 10)


def test_a_native_call_may_have_no_deadline() -> None:
    """What waits for a terminal waits until the node or the process's end ends it."""
    talk = Talk()
    pid = talk.start()
    cid = talk.it.call_native(pid, NEVER_NS, 0)
    assert talk.kernel.next_deadline_ns() is None
    talk.kill(pid)
    assert not talk.it.is_open(cid)
    assert not talk.it.answer_native(cid, 0, ARGS, ["g"], 0)


@pytest.mark.parametrize("dies_first", ["owner", "client"])
@pytest.mark.parametrize("is_pulled", [True, False])
def test_either_side_may_die_in_any_order(dies_first: str, is_pulled: bool) -> None:
    """The caller of a dead owner is told; the answer to a dead caller goes nowhere."""
    talk, owner, client, ctx, number = make_pair()
    cid = talk.call(client, number)
    if is_pulled:
        talk.pull(owner)
    if dies_first == "owner":
        talk.kill(owner)
        assert talk.events(client) == [AnswerEvent(cid, *ABANDONED, [])]
        with pytest.raises(ContextClosed):
            talk.call(client, number)
        talk.kill(client)
    else:
        talk.kill(client)
        if not is_pulled:
            assert talk.pull(owner).pid == client
        assert talk.pull(owner) == CloseEvent(ctx, client)
        talk.answer(owner, cid)
        with pytest.raises(CallNotFound):
            talk.answer(owner, cid)
        talk.kill(owner)
    assert talk.it.statistics() == {
        "parties": 0, "accounts": 0, "contexts": 0, "mailbox_bytes": 0, "native_calls": 0,
    }  # fmt: skip


def test_a_blocked_caller_of_a_dead_owner_goes_on() -> None:
    """A request whose owner ends is answered `call.abandoned`."""
    talk, owner, client, _, number = make_pair()
    talk.block(client, number)
    talk.finish(owner)
    assert talk.resume(client) == Answered(*ABANDONED, [])


def test_a_request_to_oneself_is_a_deadlock_and_a_call_is_not() -> None:
    """A process can serve its own calls, but it cannot wait for itself."""
    talk = Talk()
    pid = talk.start()
    ctx = talk.serve(pid, "f")
    with pytest.raises(CallDeadlock):
        talk.request(pid, ctx)
    cid = talk.call(pid, ctx)
    assert talk.pull(pid) == CallEvent(cid, ctx, "f", pid, ARGS)
    talk.answer(pid, cid)
    assert talk.pull(pid) == AnswerEvent(cid, 0, ARGS, [])


def test_a_cycle_of_requests_is_refused_where_it_would_close() -> None:
    """The last of three gets `call.deadlock`; once it answers, the others go on."""
    talk = Talk()
    pids = [talk.start() for _ in range(3)]
    numbers = [
        talk.it.grant(pid, talk.serve(pid, "f"), pids[index - 1]) for index, pid in enumerate(pids)
    ]
    talk.block(pids[0], numbers[1])
    talk.block(pids[1], numbers[2])
    with pytest.raises(CallDeadlock):
        talk.request(pids[2], numbers[0])
    talk.answer(pids[2], talk.pull(pids[2]).cid)
    assert talk.resume(pids[1]) == Answered(0, ARGS, [])


def test_a_long_chain_of_requests_is_refused() -> None:
    """The walk along a chain is bounded, so that a request costs little however long chains are."""
    talk = Talk(chain_max=3)
    pids = [talk.start() for _ in range(6)]
    numbers = [talk.it.grant(pid, talk.serve(pid, "f"), pids[i - 1]) for i, pid in enumerate(pids)]
    for index in (4, 3, 2):
        talk.block(pids[index], numbers[index + 1])
    with pytest.raises(Overloaded, match="chain of 3"):
        talk.request(pids[1], numbers[2])


def test_arguments_that_are_too_long_are_refused() -> None:
    """Calls, answers and messages carry at most `message_bytes_max`."""
    talk, owner, client, _, number = make_pair(message_bytes_max=4)
    with pytest.raises(TooLarge):
        talk.call(client, number, args=b"12345")
    with pytest.raises(TooLarge):
        talk.it.push(client, number, "q", b"12345", 0)
    cid = talk.call(client, number, args=b"1234")
    talk.pull(owner)
    with pytest.raises(TooLarge):
        talk.answer(owner, cid, args=b"12345")
    talk.answer(owner, cid, args=b"1234")


def test_a_million_pending_calls_meet_a_bound_on_each_side() -> None:
    """The caller's own bound is `context.too_many`, the owner's is `request.overloaded`."""
    talk, owner, client, _, number = make_pair(calls_out_max=5, calls_in_max=3)
    for _ in range(3):
        talk.call(client, number)
    with pytest.raises(Overloaded, match="3 calls to answer"):
        talk.call(client, number)
    for _ in range(2):
        talk.it.call_native(client, None, 0)
    with pytest.raises(TooManyContexts, match="5 calls whose answers"):
        talk.it.call_native(client, None, 0)
    talk.answer(owner, talk.pull(owner).cid)
    with pytest.raises(TooManyContexts):
        talk.call(client, number)
    talk.pull(client)
    talk.call(client, number)


def test_a_million_contexts_meet_a_bound() -> None:
    """Each process and each account has so many numbers, closed ones included until given up."""
    talk = Talk(contexts_max=4, contexts_per_account_max=6)
    first, second = talk.start(), talk.start()
    made = [talk.it.make_context(first) for _ in range(4)]
    with pytest.raises(TooManyContexts, match="has 4 contexts"):
        talk.it.make_context(first)
    for _ in range(2):
        talk.it.make_native(second, "g")
    with pytest.raises(TooManyContexts, match=r"its account 6 \(at most 6\)"):
        talk.it.make_native(second, "g")
    with pytest.raises(TooManyContexts):
        talk.it.grant(first, made[0], second)
    talk.close(first, made[0])
    talk.it.make_closed(second)


def test_a_full_mailbox_refuses_whoever_acts() -> None:
    """Bytes of queued calls are bounded per process; pulling makes room."""
    talk, owner, client, _, number = make_pair(mailbox_bytes_max=4 * EVENT_BYTES)
    body = b"x" * EVENT_BYTES
    talk.call(client, number, args=body)
    with pytest.raises(Overloaded):
        talk.call(client, number, args=body)
    talk.pull(owner)
    talk.call(client, number, args=body)


def test_an_account_has_so_many_bytes_of_mailboxes() -> None:
    """Two processes of one account share its bound; another account has its own."""
    talk = Talk(mailbox_bytes_per_account_max=6 * EVENT_BYTES)
    owner, client = talk.start(), talk.start()
    number = talk.it.grant(owner, talk.serve(owner, "f"), client)
    talk.call(client, number)
    talk.call(client, number)
    with pytest.raises(Overloaded, match="mailboxes of this account"):
        talk.call(client, number)


def test_both_ends_of_a_call_in_one_account_are_counted_together() -> None:
    """What the caller's answer and the owner's event need must fit at once."""
    talk = Talk(mailbox_bytes_per_account_max=3 * EVENT_BYTES)
    pid = talk.start()
    ctx = talk.serve(pid, "f")
    with pytest.raises(Overloaded, match="takes no more"):
        talk.call(pid, ctx, args=b"x" * EVENT_BYTES)
    talk.call(pid, ctx)
    assert talk.it.statistics()["mailbox_bytes"] == 2 * EVENT_BYTES + len("f") + len(ARGS)


def test_an_answer_the_callers_account_cannot_take_becomes_a_status() -> None:
    """The answerer is none the wiser, the caller hears `request.overloaded`, no byte is kept."""
    talk, owner, client, _, number = make_pair(mailbox_bytes_per_account_max=8 * EVENT_BYTES)
    first, second = talk.call(client, number), talk.call(client, number)
    assert [event.cid for event in talk.events(owner)] == [first, second]
    talk.answer(owner, first, args=b"x" * 6 * EVENT_BYTES)
    talk.answer(owner, second, args=b"x")
    assert talk.pull(client).status == 0
    assert talk.pull(client) == AnswerEvent(second, *NO_ROOM_FOR_ANSWER, [])


# Contexts.


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


# Queues.


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


# The node's side.


def test_a_native_context_is_shared_like_any_other() -> None:
    """Its grant is behind every number; the node pushes to all who listen and may end it."""
    talk = Talk()
    first, second = talk.start(), talk.start()
    native = NativeContext("log")
    number = talk.it.make_native(first, native)
    theirs = talk.it.grant(first, number, second)
    assert talk.it.find_native(second, theirs) is native
    assert talk.it.find_grant(second, theirs) == "log"
    talk.it.listen(second, theirs, "q")
    assert talk.it.push_from_node(native, "q", ARGS, 0) == (1, 0)
    assert talk.events(second) == [MessageEvent(theirs, "q", 0, ARGS, 0)]
    assert talk.it.push(first, number, "q", ARGS, 0) == (0, 0)
    assert native.foreign_count == 2
    talk.close(first, number)
    assert native.foreign_count == 1
    talk.it.close_native(native)
    with pytest.raises(ContextClosed):
        talk.it.find_grant(second, theirs)


def test_the_node_calls_into_a_process_and_hears_one_answer() -> None:
    """An answer, an abandoned call and a deadline all come as the same effect."""
    talk, owner, _, ctx, _ = make_pair()
    cids = [talk.it.call_from_node(owner, ctx, "f", ARGS, 10, 0) for _ in range(3)]
    assert talk.pull(owner) == CallEvent(cids[0], ctx, "f", 0, ARGS)
    talk.answer(owner, cids[0], ctx)
    assert talk.kernel.take_effects() == [NodeAnswered(cids[0], 0, ARGS)]
    assert CloseEvent(ctx, 0) in talk.events(owner)
    talk.pass_time(10)
    assert talk.kernel.take_effects() == [NodeAnswered(c, *DEADLINE_PASSED) for c in cids[1:]]
    last = talk.it.call_from_node(owner, ctx, "f", ARGS, None, 10)
    talk.finish(owner)
    assert talk.kernel.take_effects() == [NodeAnswered(last, *ABANDONED)]


def test_the_node_calls_only_contexts_their_process_owns() -> None:
    """A number that leads to another's context, or a name that is not bound, is refused."""
    talk, owner, client, ctx, number = make_pair()
    with pytest.raises(NotOwner):
        talk.it.call_from_node(client, number, "f", ARGS, None, 0)
    with pytest.raises(NoSuchName):
        talk.it.call_from_node(owner, ctx, "g", ARGS, None, 0)


# Waiting, entering, leaving.


def test_a_pull_ends_with_the_next_event_or_with_time() -> None:
    """What comes first counts; None says that the time was up."""
    talk, owner, client, _, number = make_pair()
    assert talk.it.wait(owner, WaitKind.PULL, 10)
    talk.ask(owner)
    cid = talk.call(client, number)
    assert talk.resume(owner).cid == cid
    assert talk.it.wait(owner, WaitKind.PULL, 20)
    talk.ask(owner)
    talk.pass_time(20)
    assert talk.resume(owner) is None


def test_the_time_of_a_wait_that_is_over_ends_no_later_one() -> None:
    """A pull with a time that an event has ended leaves no timer behind."""
    talk, owner, client, _, number = make_pair()
    assert talk.it.wait(owner, WaitKind.PULL, 10)
    talk.ask(owner)
    talk.call(client, number)
    assert talk.resume(owner) is not None
    assert talk.it.wait(owner, WaitKind.PULL)
    talk.ask(owner)
    talk.pass_time(10)
    with pytest.raises(AssertionError, match="was not woken"):
        talk.resume(owner)


def test_a_sleeper_keeps_its_events_for_later() -> None:
    """Nothing but its time wakes a sleeper."""
    talk, owner, client, _, number = make_pair()
    assert talk.it.wait(owner, WaitKind.SLEEP, 10)
    talk.ask(owner)
    cid = talk.call(client, number)
    with pytest.raises(AssertionError, match="was not woken"):
        talk.resume(owner)
    talk.pass_time(10)
    assert talk.resume(owner) is None
    assert talk.pull(owner).cid == cid


def test_who_really_waited_starts_again_at_the_top() -> None:
    """A woken process is on level 0 with nothing charged there."""
    talk = Talk(quanta_fuel=(10, 20))
    pid = talk.start()
    talk.it.wait(pid, WaitKind.SLEEP, 5)
    talk.kernel.notify_sliced(pid, SliceEnd.ASKED, 15, 0, 0)
    assert talk.kernel.find(pid).level == 1
    talk.pass_time(5)
    assert talk.kernel.find(pid).level == 0


def test_a_child_that_ends_is_heard_of_once() -> None:
    """The driver tells values; a second word about the same child goes nowhere."""
    talk = Talk()
    parent = talk.start()
    child = talk.start(parent=parent)
    talk.finish(child)
    event = ExitEvent(child, 3, "process.exited", "exit status 3", b"\x91\x07")
    assert talk.it.post_exit(parent, *event)
    assert not talk.it.post_exit(parent, *event)
    assert talk.events(parent) == [event]
    assert talk.it.counts(parent).mailbox_bytes == 0


def test_an_exit_that_does_not_fit_still_tells_its_status() -> None:
    """Values and message are left out, and the message says so."""
    talk = Talk(mailbox_bytes_max=2 * EVENT_BYTES)
    parent = talk.start()
    child = talk.start(parent=parent)
    talk.finish(child)
    assert talk.it.post_exit(parent, child, 1, "x", "why", b"v" * 2 * EVENT_BYTES)
    assert talk.pull(parent) == ExitEvent(child, 1, "x", NO_ROOM_FOR_EXIT, NONE)


def test_a_parent_that_hears_nothing_gets_no_more_children() -> None:
    """Exit events cannot pile up beyond the mailbox: the next child does not enter."""
    talk = Talk(mailbox_bytes_max=3 * EVENT_BYTES)
    parent = talk.start()
    for _ in range(2):
        child = talk.start(parent=parent)
        talk.finish(child)
        talk.it.post_exit(parent, child, 0, "", "", NONE)
    with pytest.raises(TooManyContexts, match="exit of one more child"):
        talk.start(parent=parent)
    talk.events(parent)
    talk.start(parent=parent)


def test_a_child_given_up_before_it_ran_leaves_no_room_set_aside() -> None:
    """A start that fails half way, however often, costs the parent's mailbox nothing."""
    talk = Talk()
    parent = talk.start()
    name = AccountName("a")
    for _ in range(10):
        spec = Spawn(account=name, name="n", parent=parent, mode=Mode.PREEMPTIVE)
        child = talk.kernel.notify_spawned(spec, 0)
        assert child is not None
        talk.it.enter(child, name)
        talk.kernel.notify_ended(child, 0)
    assert talk.it.counts(parent).mailbox_bytes == 0
    assert not talk.it.post_exit(parent, child, 0, "", "", NONE)


def test_counts_of_a_stranger_are_none() -> None:
    """A process that has not entered, or is gone, is no party."""
    talk, owner, _, _, _ = make_pair()
    assert talk.it.is_party(owner)
    talk.kill(owner)
    assert not talk.it.is_party(owner)
    assert talk.it.counts(owner) is None
    talk.it.leave(owner)
    assert not talk.it.post_exit(owner, Pid(2), 0, "", "", NONE)


@pytest.mark.parametrize(
    "act",
    [
        lambda talk, pid: talk.it.enter(pid, AccountName("a")),
        lambda talk, pid: talk.it.pull(99),
        lambda talk, pid: talk.it.wait(pid, WaitKind.ANSWER),
        lambda talk, pid: talk.it.call(pid, talk.it.make_native(pid, "g"), "f", ARGS, None, 0),
        lambda talk, pid: [talk.it.wait(pid, WaitKind.SLEEP, 9), talk.it.take_outcome(pid)],
        lambda talk, pid: [talk.it.call_native(pid, None, 0, is_blocking=True) for _ in "ab"],
    ],
)
def test_impossible_facts_are_our_bug(act: Callable[[Talk, Pid], object]) -> None:
    """What no guest can cause raises InternalError, which no guest's status hides."""
    talk = Talk()
    pid = talk.start()
    with pytest.raises(InternalError):
        act(talk, pid)


def test_every_refusal_is_one_a_guest_may_see() -> None:
    """The kernel's own answers carry code and summary of the one table."""
    assert issubclass(TooManyContexts, LithoxError)
    assert ABANDONED.status == 58
    assert b"call.abandoned" in ABANDONED.args
    assert Policy().calls_out_max * len(ABANDONED.args) < Policy().mailbox_bytes_max

"""Calls by example: each is answered once, and nobody is left waiting."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lithox.errors import (
    BadArguments,
    CallDeadlock,
    CallNotFound,
    ContextClosed,
    ContextInvalid,
    NoSuchName,
    NotOwner,
    Overloaded,
    TooLarge,
    TooManyContexts,
)
from lithox.kernel import WaitKind
from lithox.kernel.events import (
    ABANDONED,
    DEADLINE_PASSED,
    EVENT_BYTES,
    NO_ROOM_FOR_ANSWER,
    Answered,
    AnswerEvent,
    CallEvent,
    CloseEvent,
)
from lithox.kernel.timers import NEVER_NS
from tests.unit.kernel.talking import ARGS, NONE, Talk, make_pair


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


@pytest.mark.parametrize("is_pulled", [True, False])
def test_calls_of_the_dead_do_not_keep_others_out_for_long(is_pulled: bool) -> None:
    """An owner that never answers them owes them for `call_timeout_ns` more, or what was left."""
    talk, owner, client, _, number = make_pair(
        call_timeout_ns=50, call_timeout_max_ns=900, calls_in_max=2
    )
    other = talk.start("c")
    other_number = talk.it.grant(owner, 0, other)
    talk.it.call(client, number, "f", ARGS, 900, 0)
    talk.it.call(client, number, "f", ARGS, 30, 0)
    if is_pulled:
        talk.events(owner)
    talk.pass_time(10)
    talk.kill(client)
    with pytest.raises(Overloaded):
        talk.call(other, other_number)
    talk.pass_time(20)
    assert talk.it.counts(owner).calls_in == 1
    talk.pass_time(29)
    assert talk.it.counts(owner).calls_in == 1
    talk.pass_time(1)
    assert talk.it.counts(owner).calls_in == 0
    talk.call(other, other_number)
    assert talk.events(other) == []


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
    talk.it.make_native(second, "g")


def test_a_full_mailbox_refuses_whoever_acts() -> None:
    """Bytes of queued calls are bounded per process; pulling makes room."""
    talk = Talk(mailbox_bytes_max=4 * EVENT_BYTES)
    owner, client = talk.start(), talk.start()
    number = talk.it.grant(owner, talk.serve(owner, "f"), client)
    body = b"x" * EVENT_BYTES
    talk.call(client, number, args=body)
    with pytest.raises(Overloaded, match="has no room for"):
        talk.call(client, number, args=body)
    talk.pull(owner)
    talk.call(client, number, args=body)


def test_one_account_does_not_keep_the_others_out() -> None:
    """Whoever fills its share of an owner, dead processes' calls included, fills only that."""
    talk, owner, client, ctx, number = make_pair(calls_in_max=9, calls_in_per_account_max=3)
    sibling, other, own = talk.start("b"), talk.start("c"), talk.start("a")
    numbers = {pid: talk.it.grant(owner, ctx, pid) for pid in (sibling, other, own)}
    for _ in range(3):
        talk.call(client, number)
    talk.kill(client)
    talk.pull(owner)
    with pytest.raises(Overloaded, match="3 calls of this account"):
        talk.call(sibling, numbers[sibling])
    talk.call(other, numbers[other])
    for _ in range(4):
        talk.call(own, numbers[own])
    talk.it.call_from_node(owner, ctx, "f", ARGS, None, 0)
    with pytest.raises(Overloaded, match="9 calls to answer"):
        talk.call(own, numbers[own])
    for event in talk.events(owner)[:1]:
        talk.answer(owner, event.cid)
    talk.call(sibling, numbers[sibling])


def test_a_share_is_given_back_however_a_call_ends() -> None:
    """Answered, expired, abandoned: each makes room for one more, and nothing is kept."""
    talk, owner, client, ctx, number = make_pair(calls_in_per_account_max=1, call_timeout_ns=50)
    talk.answer(owner, talk.call(client, number) and talk.pull(owner).cid)
    talk.call(client, number)
    talk.pass_time(50)
    talk.call(client, number)
    talk.it.unbind(owner, ctx, "f")
    talk.it.revoke(owner, ctx, client, 50)
    number = talk.it.grant(owner, ctx, client)
    talk.it.bind(owner, ctx, "f")
    talk.call(client, number)
    talk.close(owner, ctx)
    assert talk.it._table[owner].call_shares == {}


def test_one_accounts_calls_fill_half_a_mailbox() -> None:
    """The other half is for others' calls; what was pulled counts no more."""
    talk, owner, client, ctx, number = make_pair(mailbox_bytes_max=10 * EVENT_BYTES)
    other = talk.start("c")
    other_number = talk.it.grant(owner, ctx, other)
    body = b"x" * (EVENT_BYTES * 2)
    talk.call(client, number, args=body)
    with pytest.raises(Overloaded, match="fill half of the mailbox"):
        talk.call(client, number, args=body)
    talk.call(other, other_number, args=body)
    talk.pull(owner)
    talk.pull(owner)
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

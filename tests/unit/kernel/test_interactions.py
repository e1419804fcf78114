"""Interactions by example: the node's side of them, waits, and how processes come and go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lithox.errors import (
    InternalError,
    LithoxError,
    NoSuchName,
    NotOwner,
    TooManyContexts,
)
from lithox.kernel import Mode, NativeContext, NodeAnswered, Policy, SliceEnd, Spawn, WaitKind
from lithox.kernel.events import (
    ABANDONED,
    DEADLINE_PASSED,
    EVENT_BYTES,
    NO_ROOM_FOR_EXIT,
    CallEvent,
    CloseEvent,
    ExitEvent,
    MessageEvent,
)
from lithox.model.ids import AccountName, Pid
from tests.unit.kernel.talking import ARGS, NONE, Talk, make_pair


def test_a_native_context_is_shared_like_any_other() -> None:
    """Its grant is behind every number; the node pushes to all who listen."""
    talk = Talk()
    first, second = talk.start(), talk.start()
    native = NativeContext("log")
    number = talk.it.make_native(first, native)
    theirs = talk.it.grant(first, number, second)
    assert talk.it.find_grant(second, theirs) == "log"
    talk.it.listen(second, theirs, "q")
    assert talk.it.push_from_node(native, "q", ARGS, 0) == (1, 0)
    assert talk.events(second) == [MessageEvent(theirs, "q", 0, ARGS, 0)]
    assert talk.it.push(first, number, "q", ARGS, 0) == (0, 0)
    assert native.foreign_count == 2
    talk.close(first, number)
    assert native.foreign_count == 1


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

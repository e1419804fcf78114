"""Messages between two volumes: an effect once, in order, whatever dies and however late."""

from __future__ import annotations

import pytest

from lithox.dispatch.elsewhere import decode_origin, encode_origin
from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.forwarding import EPOCHS
from lithox.dispatch.messages.marks import SentElsewhere
from lithox.dispatch.messages.records import DEAD, OUTBOX
from lithox.dispatch.schedules.direct import DueCall
from lithox.errors import InternalError, PeerProtocolError, StoreCorrupt, StoreUnavailable
from lithox.model.request import Request
from lithox.store.memory import MemoryDisk
from tests.unit.dispatch.elsewhere.street import Street

BOUNDS = MessageBounds(tries_max=3, pause_first_ms=100, pause_last_ms=1_000)


def words(count: int) -> list[str]:
    return [str(one) for one in range(count)]


def step_until(street: Street, is_reached: object) -> None:
    """Runs both houses turn by turn until `is_reached()` says so."""
    assert callable(is_reached)
    for _ in range(10_000):
        if is_reached():
            return
        for house in street.houses:
            if house.queue:
                house.queue.popleft()()
    raise AssertionError("never reached")


def test_a_message_takes_effect_in_the_other_volume_and_its_row_goes() -> None:
    """As its sender's, under its own id, and the mark of the pair says so."""
    street = Street()
    message_id = street.call("box/a", "send", "far/b", "tell", "hello")
    assert street.far.get("far/b", "told") == ["hello", "entity:box/a", message_id]
    assert street.near.waiting_rows == 0
    mark = street.mark("box/a", "far/b")
    assert mark is not None
    assert mark.id == message_id
    assert street.near.dispatcher.mail.statistics()["waiting"] == 0


def test_what_the_handler_of_a_message_returns_stays_where_it_is() -> None:
    """Nobody asks for it, and it may be large."""
    street = Street()
    street.call("box/a", "send", "far/b", "add", 7)
    assert street.far.get("far/b", "count") == 7
    assert [(one.error, one.value) for one in street.line.answers] == [(None, None)]


def test_the_messages_of_a_pair_keep_their_order() -> None:
    """Those to two receivers mixed, and one mark for each pair is all that stays."""
    street = Street()
    street.call("box/a", "send_many", ["far/b", "far/c", "box/d"], words(20))
    for house, entity in ((street.far, "far/b"), (street.far, "far/c"), (street.near, "box/d")):
        assert house.seen(entity) == words(20)
    assert len(street.far.rows("~lithox/q/marks")) == 2
    assert not street.near.rows("~lithox/q/marks")


def test_nothing_is_sent_before_its_row_is_durable() -> None:
    """A sender that is withdrawn has told nobody anything."""
    street = Street()
    street.near.disk.hold()
    street.near.send("box/a", "send", "far/b", "note", "x")
    street.run()
    assert street.line.sent == 0
    street.near.disk.fail(StoreUnavailable("the disk is gone", retry_after_ms=1))
    street.near.disk.release()
    street.run()
    street.near.disk.mend()
    street.wait()
    assert street.line.sent == 0
    assert street.far.seen("far/b") == []


@pytest.mark.parametrize("times", [1, 5])
def test_an_answer_that_is_lost_has_the_message_sent_again_and_done_once(times: int) -> None:
    """The mark says that it is done, and the pair goes on."""
    street = Street(bounds=BOUNDS)
    street.line.loses_answers = True
    street.near.send("box/a", "send_many", ["far/b"], words(3))
    street.run()
    while street.line.sent < times:
        street.wait(0.1)
    assert street.far.seen("far/b") == ["0"]
    street.line.loses_answers = False
    street.wait()
    assert street.far.seen("far/b") == words(3)
    assert street.near.waiting_rows == 0


def test_a_link_that_is_cut_kills_no_message() -> None:
    """That the other side cannot be reached is no try."""
    street = Street(bounds=BOUNDS)
    street.line.is_cut = True
    street.call("box/a", "send", "far/b", "note", "x")
    street.wait(30)
    assert street.near.dead_rows == []
    assert street.line.sent > BOUNDS.tries_max
    street.line.is_cut = False
    street.wait(5)
    assert street.far.seen("far/b") == ["x"]


def test_a_sender_that_dies_after_the_effect_does_not_repeat_it() -> None:
    """Its row is there after the crash; the mark over there knows its id."""
    street = Street()
    street.near.send("box/a", "send_many", ["far/b"], words(3))
    step_until(street, lambda: street.far.seen("far/b") == ["0"])
    street.crash(0)
    street.run()
    assert street.far.seen("far/b") == words(3)
    assert street.near.waiting_rows == 0


def test_a_sender_that_dies_before_the_end_of_a_row_is_durable_repeats_nothing() -> None:
    """The next message of the pair waits for that end, so one id is all there is to know."""
    street = Street()
    street.near.send("box/a", "send_many", ["far/b"], words(3))
    step_until(street, lambda: street.far.seen("far/b") == ["0"])
    street.near.disk.hold()
    street.run()
    assert street.far.seen("far/b") == ["0"]
    assert street.near.waiting_rows == 2
    street.crash(0)
    street.run()
    assert street.far.seen("far/b") == words(3)


def test_a_receiver_that_dies_before_its_commit_is_durable_gets_it_again() -> None:
    """Effect and mark are gone together."""
    street = Street(bounds=BOUNDS)
    street.far.disk.hold()
    street.near.send("box/a", "send_many", ["far/b"], words(2))
    step_until(street, lambda: street.far.seen("far/b") == ["0"])
    street.crash(1)
    assert street.far.seen("far/b") == []
    street.wait()
    assert street.far.seen("far/b") == words(2)


def test_a_copy_that_comes_late_has_no_effect() -> None:
    """However many of its pair have gone since: it is behind the mark."""
    street = Street()
    street.call("box/a", "send_many", ["far/b"], words(5))
    for copy in list(street.line.copies):
        copy()
        street.run()
    assert street.far.seen("far/b") == words(5)


def test_a_copy_from_before_a_crash_has_no_effect_after_it() -> None:
    """Its process is older than the one whose message made the mark."""
    street = Street(bounds=BOUNDS)
    street.line.is_held = True
    street.call("box/a", "send_many", ["far/b"], words(1))
    late = street.line.held.pop()
    street.line.is_held = False
    street.crash(0)
    street.run()
    street.call("box/a", "send_many", ["far/b"], ["1", "2"])
    late()
    street.run()
    assert street.far.seen("far/b") == words(3)


def test_a_process_that_counts_anew_is_heard() -> None:
    """A volume from a backup may begin with smaller versions; its messages are new all the same."""
    street = Street(bounds=BOUNDS)
    street.call("box/a", "send_many", ["far/b"], words(4))
    street.crash(0, disk=MemoryDisk())
    street.run()
    street.call("box/a", "send_many", ["far/b"], ["4", "5"])
    assert street.far.seen("far/b") == words(6)


def test_a_clock_that_was_set_back_stops_no_pair() -> None:
    """The other volume tells the epoch it has seen, and a greater one is taken."""
    street = Street(bounds=BOUNDS)
    street.call("box/a", "send_many", ["far/b"], words(1))
    street.near.put({(EPOCHS, "newest"): None})
    street.crash(0, shift_s=-3_600)
    street.run()
    street.near.send("box/a", "send_many", ["far/b"], ["1", "2"])
    street.wait(5)
    assert street.far.seen("far/b") == words(3)


def test_a_receiver_that_fails_makes_a_dead_letter_after_as_many_tries() -> None:
    """The pair goes on behind it; put back it takes effect, also after a restart of its sender."""
    street = Street(bounds=BOUNDS)
    street.call("box/a", "send", "far/b", "fail_until", "late")
    street.call("box/a", "send", "far/b", "note", "next")
    street.wait(10)
    assert street.far.seen("far/b") == ["next"]
    assert len(street.near.dead_rows) == 1
    assert street.near.waiting_rows == 0


def test_a_dead_letter_takes_no_effect_by_a_copy_that_comes_late() -> None:
    """It was given up over there before it died here, so it is never both."""
    street = Street(bounds=BOUNDS)
    street.call("box/a", "send", "far/b", "fail_until", "late")
    street.wait(10)
    assert len(street.near.dead_rows) == 1
    street.call("far/b", "mend")
    for copy in list(street.line.copies):
        copy()
        street.run()
    assert street.far.seen("far/b") == []


def test_a_dead_letter_that_is_put_back_takes_effect() -> None:
    """Though the mark is behind it: it has a new place in the order, and its id was never done."""
    street = Street(bounds=BOUNDS)
    message_id = street.call("box/a", "send", "far/b", "fail_until", "late")
    row = street.near.item(OUTBOX, message_id)
    street.wait(10)
    street.call("far/b", "mend")
    street.near.put({(DEAD, message_id): None, (OUTBOX, message_id): row})
    street.crash(0)
    street.wait(5)
    assert street.far.seen("far/b") == ["late"]
    assert street.near.waiting_rows == 0


def test_a_message_that_took_effect_while_it_was_given_up_does_not_die() -> None:
    """The other side says so, and its row goes as that of any other."""
    street = Street(bounds=BOUNDS)

    def let_copy_pass(request: Request) -> None:
        if request.origin.is_void and not is_passed:
            is_passed.append(True)
            street.far.send("far/b", "mend")
            street.far.run()
            street.line.copies[0]()
            street.far.run()

    is_passed: list[bool] = []
    street.line.before = let_copy_pass
    street.call("box/a", "send", "far/b", "fail_until", "late")
    street.wait(10)
    assert is_passed
    assert street.far.seen("far/b") == ["late"]
    assert street.near.dead_rows == []
    assert street.near.waiting_rows == 0


def test_nothing_dies_while_the_other_side_cannot_be_asked() -> None:
    """It waits with its pair until giving it up is certain."""
    street = Street(bounds=BOUNDS)

    given_up = 0

    def lose_when_given_up(request: Request) -> None:
        nonlocal given_up
        given_up += request.origin.is_void
        street.line.loses_answers = request.origin.is_void

    street.line.before = lose_when_given_up
    street.call("box/a", "send_many", ["far/b"], ["x"])
    street.call("box/a", "send", "far/b", "fail_until", "late")
    street.wait(5)
    assert given_up > 1
    assert street.near.dead_rows == []
    assert street.near.waiting_rows == 1
    street.line.before = lambda _: None
    street.line.loses_answers = False
    street.wait(5)
    assert len(street.near.dead_rows) == 1
    assert street.near.waiting_rows == 0


def test_a_volume_that_hangs_holds_up_only_what_is_meant_for_it() -> None:
    """Deliveries at home have places of their own, also those of the same account."""
    bounds = MessageBounds(delivering_max=4, delivering_account_max=2)
    street = Street(bounds=bounds)
    street.line.is_held = True
    receivers = [f"far/{one}" for one in range(50)]
    street.call("box/a", "send_many", receivers, ["x"])
    assert street.line.sent == 1
    street.call("box/a", "send_many", ["box/b", "box/c"], words(10))
    assert street.near.seen("box/b") == street.near.seen("box/c") == words(10)
    street.line.is_held = False
    for held in street.line.held:
        street.far.queue.append(held)
    street.run()
    assert all(street.far.seen(one) == ["x"] for one in receivers)


def test_hops_and_accounts_are_those_of_the_chain() -> None:
    """A loop over two volumes ends as one at home does."""
    street = Street(bounds=MessageBounds(hops_max=10, tries_max=1))
    street.call("box/a", "pass_on", "far/b")
    street.wait(60)
    passed = street.near.get("box/a", "passed") + street.far.get("far/b", "passed")
    assert passed == 10
    assert len(street.near.dead_rows) + len(street.far.dead_rows) == 1


@pytest.mark.patches_source
def test_only_two_kinds_of_origin_cross_a_link() -> None:
    """What belongs to this process is a bug there, and what cannot be read is the other side's."""
    assert encode_origin(None) is None
    assert decode_origin(None) is None
    with pytest.raises(InternalError):
        encode_origin(object.__new__(DueCall))
    for data in (b"", b"\xc0", b"\x92\xa4sent\x01", b"\x91\xa5asked"):
        with pytest.raises(PeerProtocolError):
            decode_origin(data)


def test_a_mark_that_cannot_be_read_is_no_mark_that_is_missing() -> None:
    """Nothing takes effect on a guess."""
    sent = SentElsewhere("box/a", "far/b", "m.1", 1, 1, 1)
    with pytest.raises(StoreCorrupt):
        sent.is_behind(b"\xc1")
    assert not sent.is_behind(None)
    assert sent.is_behind(sent.to_mark())

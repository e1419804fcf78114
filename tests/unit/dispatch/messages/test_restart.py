"""What waits at a crash is there after it: in order, with its tries, and takes effect once."""

from __future__ import annotations

import pytest

from lithox.dispatch.messages import delivery as delivery_module
from lithox.dispatch.messages import reading
from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.mail import Mail
from lithox.dispatch.messages.records import OUTBOX, TRIES
from lithox.errors import StoreUnavailable
from lithox.store.contract import Commit
from lithox.store.memory import MemoryDisk
from tests.unit.dispatch.messages.post import SECOND_NS, PostHouse


def reopen(house: PostHouse, bounds: MessageBounds | None = None) -> PostHouse:
    """Returns a new house over what is durable in the old one, at the same wall time."""
    return PostHouse(bounds=bounds, disk=house.disk, wall_ns=house.clock.wall_ns())


def crash(house: PostHouse) -> MemoryDisk:
    house.disk.cut_power()
    return house.disk


def test_messages_wait_in_the_store_and_keep_their_order() -> None:
    """Commit order first, position second, though ids are in no order at all."""
    house = PostHouse()
    house.hold()
    for part in (["1", "2", "3"], ["4", "5"], ["6"]):
        house.call("box/a", "send_many", ["box/b", "box/c"], part)
    crash(house)
    again = reopen(house)
    again.run()
    for name in ("box/b", "box/c"):
        assert again.seen(name) == ["1", "2", "3", "4", "5", "6"]
    assert again.waiting_rows == 0


def test_what_is_sent_while_the_outbox_is_read_comes_after_it() -> None:
    """No message overtakes one of its pair from before the restart."""
    house = PostHouse()
    house.hold()
    house.call("box/a", "send_many", ["box/b"], [str(n) for n in range(600)])
    crash(house)
    again = reopen(house)
    again.send("box/a", "send", "box/b", "note", "new")
    again.run()
    assert again.seen("box/b") == [*(str(n) for n in range(600)), "new"]


def test_an_outbox_that_is_read_while_others_commit_is_read_whole() -> None:
    """No page is too old, however little history the store keeps; order and number are kept."""
    house = PostHouse()
    house.hold()
    house.call("box/a", "send_many", ["box/b"], [str(n) for n in range(1_100)])
    crash(house)
    again = reopen(house)
    again.store._cells.recent._cells_max = 1
    for number in range(4):
        # Between two pages: what they are of is older than the history then.
        for key in ("x", "y"):
            noise = Commit(again.store.visible_version, (), (), {("noise", key): b"\x01"})
            again.store.submit(noise, lambda _: None)
        again.send("box/a", "send", "box/b", "note", f"new {number}")
        for _ in range(2):
            again.queue.popleft()()
    again.run()
    news = [f"new {number}" for number in range(4)]
    assert again.seen("box/b") == [*(str(n) for n in range(1_100)), *news]
    assert again.waiting_rows == 0


def test_a_message_that_was_delivered_is_not_delivered_again() -> None:
    """Its row went with the commit that was its effect."""
    house = PostHouse()
    house.call("box/a", "send", "box/b", "note", "once")
    crash(house)
    again = reopen(house)
    again.wait(SECOND_NS)
    assert again.seen("box/b") == ["once"]


def test_an_effect_that_was_not_durable_is_made_again() -> None:
    """Of the receiver's commit nothing is left after the crash, the row of the message is."""
    house = PostHouse()
    house.hold()
    house.call("box/a", "send", "box/b", "note", "x")
    house.disk.hold()
    house.let_go()
    assert house.seen("box/b") == ["x"]
    crash(house)
    house.disk.release()
    again = reopen(house)
    assert again.rows(OUTBOX)
    again.run()
    assert again.seen("box/b") == ["x"]


def test_tries_and_rests_outlast_a_restart() -> None:
    """The try after the restart is the third, and comes when its rest is over, not before."""
    bounds = MessageBounds(tries_max=3, pause_first_ms=1_000, pause_last_ms=10_000)
    house = PostHouse(bounds=bounds)
    house.call("box/a", "send", "box/b", "fail_until", "x")
    house.wait(SECOND_NS)
    crash(house)
    again = reopen(house, bounds)
    again.wait(SECOND_NS)
    assert (again.waiting_rows, again.dead_rows) == (1, [])
    again.wait(2 * SECOND_NS)
    assert (again.waiting_rows, len(again.dead_rows)) == (0, 1)


def test_a_node_that_stops_delivers_nothing_more_and_loses_nothing() -> None:
    """What is sent after the stop waits for the next start."""
    house = PostHouse()
    house.dispatcher.mail.delivery.stop()
    house.call("box/a", "send", "box/b", "note", "x")
    assert (house.seen("box/b"), house.waiting_rows) == ([], 1)
    crash(house)
    again = reopen(house)
    again.run()
    assert again.seen("box/b") == ["x"]


def test_old_messages_of_another_node_are_taken_over() -> None:
    """Rows nobody here knows are delivered once they are a minute old, each once."""
    house = PostHouse()
    house.hold()
    house.call("box/a", "send_many", ["box/b"], ["1", "2"])
    crash(house)
    again = reopen(house)
    delivery = again.dispatcher.mail.delivery
    again.queue.clear()
    delivery._end_loading()  # As if they had come after the start.
    delivery.adopt_old()
    again.run()
    assert (again.dispatcher.mail.waiting.count, again.seen("box/b")) == (0, [])
    again.clock.shift_wall(61 * SECOND_NS)
    delivery.adopt_old()
    delivery.adopt_old()
    again.run()
    assert again.seen("box/b") == ["1", "2"]
    assert again.dispatcher.mail.statistics()["delivered_total"] == 2


def test_taking_over_reads_a_page_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work goes on between pages, and a sweep that is not through is not begun again."""
    monkeypatch.setattr(reading, "PAGE_MAX", 2)
    house = PostHouse()
    house.hold()
    house.call("box/a", "send_many", ["box/b"], [str(n) for n in range(7)])
    crash(house)
    again = reopen(house)
    again.queue.clear()
    delivery = again.dispatcher.mail.delivery
    delivery._end_loading()
    again.clock.shift_wall(61 * SECOND_NS)
    again.run()
    delivery.adopt_old()
    turns = 0
    while delivery._is_adopting:
        turns += 1
        delivery.adopt_old()
        assert len(again.queue) == 1
        again.queue.popleft()()
    assert turns == 4
    again.run()
    assert again.seen("box/b") == [str(n) for n in range(7)]


def test_an_outbox_that_cannot_be_read_is_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors at the start, of any page, delay delivery and timers and end neither."""
    monkeypatch.setattr(reading, "PAGE_MAX", 2)
    house = PostHouse()
    house.hold()
    house.call("box/a", "send_many", ["box/b"], [str(n) for n in range(5)])
    crash(house)
    failures = 3
    read_page = reading.read_page

    def fail_often(open_snapshot: object, entity: object, start: str) -> object:
        nonlocal failures
        if start and failures:
            failures -= 1
            raise StoreUnavailable("not now")
        return read_page(open_snapshot, entity, start)  # type: ignore[arg-type]

    monkeypatch.setattr(delivery_module, "read_page", fail_often)
    again = reopen(house)
    again.run()
    assert again.seen("box/b") == []
    again.send("box/a", "send", "box/b", "note", "new")
    again.wait(5 * SECOND_NS)
    assert failures == 0
    assert again.seen("box/b") == [*(str(n) for n in range(5)), "new"]
    assert again.dispatcher.timers._is_running


def test_a_row_that_cannot_be_read_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """Those before and behind it are delivered, it stays, and the log names it."""
    house = PostHouse()
    house.hold()
    house.call("box/a", "send_many", ["box/b"], ["1", "2"])
    house.put({(OUTBOX, "m.0"): b"\xc1", (TRIES, "m.1"): b"\xc1"})
    crash(house)
    again = reopen(house)
    again.run()
    assert again.seen("box/b") == ["1", "2"]
    assert again.rows(OUTBOX) == ["m.0"]
    assert "row 'm.0' is passed over" in caplog.text
    assert "row 'm.1' is passed over" in caplog.text


def test_a_message_that_two_deliver_takes_effect_once() -> None:
    """The one who comes second finds no row in its own transaction, and does nothing."""
    house = PostHouse()
    house.hold()
    house.call("box/a", "send_many", ["box/b", "box/c"], ["1", "2"])
    other = Mail(
        store=house.store,
        clock=house.clock,
        submit=house.dispatcher.submit,
        schedule=house.queue.append,
        bounds=MessageBounds(),
    )
    other.delivery._is_pump_planned = True
    other.delivery.start()
    house.run()
    other.delivery._is_pump_planned = False
    other.delivery.wake()
    house.let_go()
    for name in ("box/b", "box/c"):
        assert house.seen(name) == ["1", "2"]
    assert house.dispatcher.counters.succeeded == 1 + 2 * 4, "both have tried"
    assert house.waiting_rows == 0

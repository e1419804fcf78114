"""Tests of `lithox.sandbox.component.state`: what a run is shown, and what the node is told."""

from __future__ import annotations

import msgspec

from lithox.sandbox.component.state import UNKNOWN, StateView
from lithox.sandbox.messages import NIL, RunMessage

ONE, TWO = b"\x01", b"\x02"


def make_view(*, complete: bool = True, **state: bytes) -> StateView:
    """Returns the view of a run that was sent `state`."""
    return StateView(
        RunMessage(
            handler="h",
            args=msgspec.Raw(b"\x90"),
            entity="e",
            caller="c",
            request_id=None,
            attempt=1,
            now_ms=0,
            seed=0,
            state={key: msgspec.Raw(value) for key, value in state.items()},
            complete=complete,
        )
    )


def test_state_shown_is_read() -> None:
    """A key whose value or absence was shown is in the read set; another is not."""
    view = make_view(a=ONE, b=TWO)
    assert (view.find("a"), view.find("c")) == (ONE, NIL)
    assert view.reads == {"a", "c"}


def test_state_sent_in_part_is_asked_for() -> None:
    """Of a state that was not sent whole, an unknown key is the node's to tell, once."""
    view = make_view(complete=False, a=ONE)
    assert view.find("x") is UNKNOWN
    view.learn("x", TWO)
    assert view.find("x") == TWO
    assert view.reads == set(), "the node has counted its own answer"


def test_state_written_is_seen_and_told_once() -> None:
    """What was written is seen at once, and told the node the next time, then never again."""
    view = make_view()
    view.put("a", ONE)
    assert view.find("a") == ONE
    assert {key: bytes(raw) for key, raw in view.take_pending().items()} == {"a": ONE}
    assert view.take_pending() == {}
    assert view.find("a") == ONE


def test_state_written_blindly_is_no_read() -> None:
    """A key that is written without a look at it is in no read set, so it cannot conflict."""
    view = make_view(a=ONE)
    view.put("a", TWO)
    view.find("a")
    assert view.reads == set()


def test_state_put_back_is_no_write() -> None:
    """A value that was read and is put back as it was is not written."""
    view = make_view(a=ONE)
    view.find("a")
    view.put("a", TWO)
    view.put("a", ONE)
    assert view.pending == {}


def test_state_put_back_after_it_was_told_is_a_write() -> None:
    """Once the node was told of another value, the old one is a change again."""
    view = make_view(a=ONE)
    view.find("a")
    view.put("a", TWO)
    view.take_pending()
    view.put("a", ONE)
    assert view.pending == {"a": ONE}


def test_state_put_blindly_is_written_though_equal() -> None:
    """Without a read nobody guards that the value is still there, so it is written."""
    view = make_view(a=ONE)
    view.put("a", ONE)
    assert view.pending == {"a": ONE}


def test_state_deleted_is_absent() -> None:
    """A deleted key is absent to the run, and a nil to the node."""
    view = make_view(a=ONE)
    view.put("a", NIL)
    assert view.find("a") == NIL
    assert view.pending == {"a": NIL}


def test_state_changed_by_others_is_asked_for_again() -> None:
    """After others have written, nothing that was known counts, and the number tells it."""
    view = make_view(a=ONE)
    view.put("b", TWO)
    view.take_pending()
    view.forget()
    assert (view.find("a"), view.find("b"), view.generation) == (UNKNOWN, UNKNOWN, 1)


def test_state_dropped_is_not_told() -> None:
    """What was put under a key that a big value takes is forgotten."""
    view = make_view()
    view.put("a", ONE)
    view.drop("a")
    assert view.pending == {}

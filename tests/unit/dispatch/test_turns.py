"""Turn-taking by itself: order, hand-over, withdrawal."""

from __future__ import annotations

from lithox.dispatch.turns import Turn, Turns


def claim(turns: Turns, granted: list[str], name: str, *entities: str) -> Turn:
    """Asks for a turn that notes its name when it is granted."""
    turn = Turn(entities, lambda: granted.append(name))
    assert turns.ask(turn)
    return turn


def test_turns_are_granted_in_order_of_asking() -> None:
    """Each entity serves one holder at a time, first come first served."""
    turns, granted = Turns(), []
    first = claim(turns, granted, "first", "a")
    second = claim(turns, granted, "second", "a")
    claim(turns, granted, "third", "a")
    assert granted == ["first"]
    turns.give_back(first)
    assert granted == ["first", "second"]
    turns.give_back(second)
    assert granted == ["first", "second", "third"]


def test_two_that_want_the_same_pair_cannot_deadlock() -> None:
    """Turns are taken in one fixed order whatever order they are named in."""
    turns, granted = Turns(), []
    one = claim(turns, granted, "one", "b", "a")
    two = claim(turns, granted, "two", "a", "b")
    assert granted == ["one"]
    turns.give_back(one)
    assert granted == ["one", "two"]
    turns.give_back(two)
    assert not turns


def test_giving_back_while_waiting_leaves_no_trace() -> None:
    """A run that is killed while it waits lets the others pass."""
    turns, granted = Turns(), []
    holder = claim(turns, granted, "holder", "b")
    waiter = claim(turns, granted, "waiter", "a", "b")
    third = claim(turns, granted, "third", "a")
    turns.give_back(waiter)
    turns.give_back(waiter)
    assert granted == ["holder", "third"]
    turns.give_back(holder)
    turns.give_back(third)
    assert not turns


def test_others_are_told_apart_from_the_holder() -> None:
    """An entity is taken for everybody but the one that holds it."""
    turns, granted = Turns(), []
    holder = claim(turns, granted, "holder", "a")
    assert turns.is_taken_by_other("a", None)
    assert not turns.is_taken_by_other("a", holder)
    assert turns.is_free_for({"a", "b"}, holder)
    assert not turns.is_free_for({"a", "b"}, None)

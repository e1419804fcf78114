"""Who needs an entity that a server must send first waits for that, and nobody else does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lithox.testing.script import Refused, Script, ScriptedSelf
from tests.unit.dispatch.house import House
from tests.unit.dispatch.test_atomic import send as send_group


def get(self: ScriptedSelf) -> Script:
    """Returns the entity's name."""
    yield ("get", "x")
    return self.id


def ask(self: ScriptedSelf, entity: str, handler: str) -> Script:
    """Returns what a joined callee says, or why it says nothing."""
    yield ("set", "asked", entity)
    try:
        return (yield ("call", entity, handler))
    except Refused as refused:
        return refused.code


class Fetches:
    """Entities whose data must be fetched, until `arrive`."""

    def __init__(self, house: House, cold: set[str]) -> None:
        self.cold = cold
        self.asked: list[tuple[str, Callable[[], None]]] = []
        house.store.prefetch = self.prefetch  # type: ignore[method-assign]

    def prefetch(self, entity: str, on_ready: Callable[[], None]) -> bool:
        if entity not in self.cold:
            return True
        self.asked.append((entity, on_ready))
        return False

    def arrive(self, *, is_kept: bool = True) -> None:
        """All that was asked for is there; `is_kept` False: and is not at hand next time."""
        if is_kept:
            self.cold.clear()
        asked, self.asked = self.asked, []
        for _, on_ready in asked:
            on_ready()


def make_house() -> tuple[House, Fetches]:
    house = House()
    house.publish("c/*", {"get": get, "ask": ask}, access=["alice", "bob", "entity:c/*"])
    return house, Fetches(house, {"c/cold"})


def test_others_go_on_while_a_cold_entity_is_fetched() -> None:
    """The request to the cold entity is answered once it has arrived, one to another before."""
    house, fetches = make_house()
    cold = house.send("c/cold", "get")
    assert house.call("c/warm", "get") == "c/warm"
    assert cold == []
    fetches.arrive()
    house.run()
    assert [answer.value for answer in cold] == ["c/cold"]


def test_a_node_that_closes_meanwhile_refuses_it() -> None:
    """What arrives after the node has begun to close is answered, not run."""
    house, fetches = make_house()
    cold = house.send("c/cold", "get")
    house.dispatcher.is_closing = True
    fetches.arrive()
    house.run()
    assert [getattr(answer.error, "code", "") for answer in cold] == ["store.unavailable"]
    assert house.dispatcher.open_count == 0


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_joined_callee_waits_for_its_entity(is_kept: bool) -> None:
    """Its caller waits meanwhile, once, and others are answered; then both go on as usual."""
    house, fetches = make_house()
    answers = house.send("c/warm", "ask", "c/cold", "get")
    house.run()
    assert [entity for entity, _ in fetches.asked] == ["c/cold"]
    assert house.call("c/other", "get") == "c/other"
    assert answers == []
    fetches.arrive(is_kept=is_kept)
    house.run()
    assert [answer.value for answer in answers] == ["c/cold"]
    assert fetches.asked == []
    assert house.get("c/warm", "asked") == "c/cold"


def test_a_callee_that_is_refused_after_the_wait_is_told_to_its_caller() -> None:
    """Why a call is refused is looked at when its entity is there; its caller goes on."""
    house, fetches = make_house()
    answers = house.send("c/warm", "ask", "c/cold", "no_such")
    house.run()
    fetches.arrive()
    house.run()
    assert [answer.value for answer in answers] == ["request.not_found"]


def test_a_run_that_is_ended_while_it_waits_stays_ended() -> None:
    """What arrives for a run that was killed meanwhile wakes nobody."""
    house, fetches = make_house()
    answers = house.send("c/warm", "ask", "c/cold", "get")
    house.run()
    for view in house.dispatcher.processes():
        assert house.dispatcher.kill(view.pid)
    house.run()
    fetches.arrive()
    house.run()
    assert [getattr(answer.error, "code", "") for answer in answers] == ["request.cancelled"]
    assert house.dispatcher.processes() == []
    assert house.bugs == []


def test_a_run_whose_entity_has_gone_cold_waits_before_it_begins() -> None:
    """Admitted while it was at hand, forgotten since: it is fetched again, once."""
    house, fetches = make_house()
    fetches.cold.clear()
    answers = house.send("c/cold", "get")
    fetches.cold.add("c/cold")
    house.run()
    assert answers == []
    fetches.arrive(is_kept=False)
    house.run()
    assert [answer.value for answer in answers] == ["c/cold"]


def test_a_group_waits_for_all_its_entities() -> None:
    """It is let in when the last of them has arrived, each asked for once."""
    house, fetches = make_house()
    fetches.cold.add("c/colder")
    names = ["c/cold", "c/warm", "c/colder", "c/cold"]
    answers = send_group(house, *((name, "get") for name in names))
    house.run()
    assert [entity for entity, _ in fetches.asked] == ["c/cold", "c/colder"]
    assert answers == []
    fetches.arrive()
    house.run()
    assert [answer.value for answer in answers] == [names]

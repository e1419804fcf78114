"""A request to an entity that a server must send first waits for that, and nobody else does."""

from __future__ import annotations

from collections.abc import Callable

from lithox.testing.script import Script, ScriptedSelf
from tests.unit.dispatch.house import House


def get(self: ScriptedSelf) -> Script:
    """Returns the entity's name."""
    yield ("get", "x")
    return self.id


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

    def arrive(self) -> None:
        self.cold.clear()
        asked, self.asked = self.asked, []
        for _, on_ready in asked:
            on_ready()


def make_house() -> tuple[House, Fetches]:
    house = House()
    house.publish("c/*", {"get": get})
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

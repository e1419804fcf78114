"""Whoever may not call an entity is told so, and an entity is told who can change that."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.errors import LithoxError, NotPermitted
from lithox.testing.script import ScriptedSelf
from tests.unit.dispatch.house import BOB, House


def add(_self: ScriptedSelf) -> Any:
    yield ("burn", 1)
    return 1


def ask(_self: ScriptedSelf, how: str, entity: str) -> Any:
    if how == "call":
        return (yield ("call", entity, "add"))
    return (yield ("ask", "request", entity, "add", []))


@pytest.mark.parametrize("how", ["call", "request"])
def test_an_entity_that_may_not_call_is_told_what_lets_it_in(how: str) -> None:
    """Its author may be a tenant: the access list that decides stands in a template of others."""
    house = House()
    house.publish("shut/*", {"add": add})
    house.publish("asks/*", {"ask": ask}, access=["bob"])
    with pytest.raises(LithoxError) as raised:
        house.call("asks/a", "ask", how, "shut/b", caller=BOB)
    assert raised.value.code == "app.request.not_permitted"
    assert raised.value.message == (
        "entity:asks/a may not call shut/b; who deploys the template of shut/b lets it in there "
        'with access = ["entity:asks/a"], or with a pattern such as "entity:shop/*"'
    )


def test_a_caller_from_outside_is_told_no_more_than_that() -> None:
    """Whose access list it is, and how it is written, is nothing to a stranger."""
    house = House()
    house.publish("shut/*", {"add": add})
    with pytest.raises(NotPermitted) as raised:
        house.call("shut/b", "add", caller=BOB)
    assert raised.value.message == "bob may not call shut/b"

"""A run whose snapshot can no longer be read begins again; no guest and no caller hears of it."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.dispatch.job import ATOMIC_PLACE
from lithox.errors import Conflict
from lithox.kernel.retry import DEFAULT_RETRY
from lithox.model.ids import AccountName, EntityPath, HandlerName, Identity
from lithox.model.request import Answer, Call, Caller, Request
from lithox.store.contract import Commit
from lithox.testing.script import Refused, Script, ScriptedSelf
from tests.unit.dispatch.house import House

BURN = 5_000_000
"""More than a first slice: what was committed meanwhile becomes durable before the next read."""


class World:
    """A house whose store remembers next to nothing, and who disturbs runs in it how often."""

    def __init__(self, disturbances: int) -> None:
        self.house = House()
        handlers = {"get": self.get, "call": self.call, "walk": self.walk}
        self.house.publish("e/*", handlers, access=["alice", "entity:e/*"])
        self.left = disturbances
        self.refused: list[str] = []
        # Long entities are read key by key, as the run goes.
        self.house.put({("e/far", f"k{n:03}"): b"\xc4\xff" + bytes(255) for n in range(80)})
        self.house.store._cells.recent._cells_max = 2

    def disturb(self) -> None:
        """Commits so much that no older snapshot can be read."""
        if self.left:
            self.left -= 1
            store = self.house.store
            for number in range(5):
                noise = {("noise", str(number)): b"\x01"}
                store.submit(Commit(store.visible_version, (), (), noise), lambda _: None)

    def get(self, _self: ScriptedSelf, key: str) -> Script:
        yield ("get", "k000")
        self.disturb()
        yield ("burn", BURN)
        try:
            yield ("get", key)
        except Refused as refused:
            self.refused.append(refused.code)
        yield ("set", "done", key)
        return "read"

    def walk(self, _self: ScriptedSelf) -> Script:
        self.disturb()
        yield ("burn", BURN)
        try:
            found = yield ("scan", "k")
        except Refused as refused:
            self.refused.append(refused.code)
            return 0
        return len(found)

    def call(self, _self: ScriptedSelf, entity: str, handler: str, *args: Any) -> Script:
        yield ("set", "asked", handler)
        try:
            return (yield ("call", entity, handler, *args))
        except Refused as refused:
            self.refused.append(refused.code)
            return "refused"

    def ask(self, request: Request) -> Answer:
        answers: list[Answer] = []
        self.house.dispatcher.submit(request, answers.append)
        self.house.run()
        assert len(answers) == 1
        assert self.house.bugs == []
        assert self.refused == []
        assert self.house.dispatcher.processes() == []
        return answers[0]


def to(entity: str, handler: str, *args: Any) -> Request:
    caller = Caller(identity=Identity("alice"), account=AccountName("alice"))
    return Request(
        entity=EntityPath(entity), handler=HandlerName(handler), args=list(args), caller=caller
    )


@pytest.mark.parametrize(
    ("request_", "value"),
    [
        (to("e/far", "get", "k077"), "read"),
        (to("e/far", "walk"), 80),
        (to("e/near", "call", "e/far", "get", "k077"), "read"),
        (to("e/near", "call", "e/far", "walk"), 80),
        (to("e/near", "call", "e/mid", "call", "e/far", "get", "k077"), "read"),
    ],
)
def test_a_read_that_comes_too_late_begins_the_run_again(request_: Request, value: object) -> None:
    """Read by the run itself or by a callee however deep: the whole run is made once more."""
    answer = World(1).ask(request_)
    assert answer.error is None
    assert answer.value == value
    assert answer.usage.attempts == 2


def test_a_group_begins_again_with_its_first_call() -> None:
    """The second call of a group reads too late: both are made again, and commit together."""
    world = World(0)
    request = to(ATOMIC_PLACE, "")
    request.calls = tuple(
        Call(entity=EntityPath("e/far"), handler=HandlerName("get"), args=[f"k00{number}"])
        for number in (1, 2)
    )
    world.left = 1
    answer = world.ask(request)
    assert answer.error is None
    assert answer.value == ["read", "read"]
    assert answer.usage.attempts == 2


@pytest.mark.parametrize(
    "request_", [to("e/far", "get", "k077"), to("e/near", "call", "e/far", "get", "k077")]
)
def test_runs_that_come_too_late_are_bounded(request_: Request) -> None:
    """Whoever reads too late each time is answered `transaction.conflict` in the end."""
    world = World(1_000)
    answer = world.ask(request_)
    assert isinstance(answer.error, Conflict)
    assert answer.usage.attempts == DEFAULT_RETRY.runs_max
    assert world.house.get("e/far", "done") is None
    assert not world.house.dispatcher.runs.table.turns

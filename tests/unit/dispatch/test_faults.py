"""A fault of the node ends the whole run with its own code: no guest can catch it."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.dispatch.job import Frame, OnAnswer
from lithox.errors import (
    Conflict,
    InternalError,
    LithoxError,
    Overloaded,
    ResultsFull,
    StoreCorrupt,
    StoreUnavailable,
)
from lithox.model.limits import Limits
from lithox.model.request import Answer, Request
from lithox.store.contract import Commit, Item, OnDone
from lithox.store.snapshot import StableView
from lithox.testing.script import Refused, Script, ScriptedSelf
from tests.unit.dispatch.house import House

BURN = 5_000_000
"""More than a first slice: the run suspends where it burns this."""


class World:
    """A house whose guests catch whatever they are told; `refused` lists it."""

    def __init__(self) -> None:
        self.house = House()
        self.refused: list[str] = []
        handlers = {
            "get": self.get, "set": self.set, "call": self.call, "ask": self.ask, "walk": self.walk,
        }  # fmt: skip
        self.house.publish("e/*", handlers, access=["alice", "entity:e/*"])
        # Long entities are read key by key, as the run goes.
        self.house.put({("e/far", f"k{n:03}"): b"\xc4\xff" + bytes(255) for n in range(80)})

    def get(self, _self: ScriptedSelf) -> Script:
        try:
            yield ("get", "k070")
        except Refused as refused:
            self.refused.append(refused.code)
        yield ("set", "wrong", True)

    def walk(self, _self: ScriptedSelf) -> Script:
        try:
            yield ("scan", "k")
        except Refused as refused:
            self.refused.append(refused.code)

    def set(self, _self: ScriptedSelf) -> Script:
        yield ("burn", BURN)
        yield ("set", "count", 1)

    def call(self, _self: ScriptedSelf, entity: str, handler: str, *args: Any) -> Script:
        yield ("set", "asked", handler)
        try:
            return (yield ("call", entity, handler, *args))
        except Refused as refused:
            self.refused.append(refused.code)
        yield ("set", "wrong", True)
        return "caught"

    def ask(self, _self: ScriptedSelf, entity: str, handler: str, *args: Any) -> Script:
        try:
            return (yield ("ask", "request", entity, handler, list(args)))
        except Refused as refused:
            self.refused.append(refused.code)
        yield ("set", "wrong", True)
        return "caught"

    def send(self, handler: str, *args: Any) -> Answer:
        """Asks `e/near`, or `e/far` if it is to read itself; nothing of the run may remain."""
        answers = self.house.send("e/near" if args else "e/far", handler, *args)
        self.house.run()
        (answer,) = answers
        assert self.refused == []
        assert self.house.dispatcher.processes() == []
        assert not self.house.dispatcher.runs.table.turns
        for entity in ("e/near", "e/mid", "e/far"):
            assert self.house.get(entity, "asked") is None
            assert self.house.get(entity, "wrong") is None
        return answer


@pytest.mark.parametrize("fault", [StoreUnavailable("no server"), StoreCorrupt("damaged")])
@pytest.mark.parametrize(
    "request_",
    [
        ("get",),
        ("walk",),
        ("call", "e/far", "get"),
        ("call", "e/far", "walk"),
        ("call", "e/mid", "call", "e/far", "get"),
        ("ask", "e/far", "get"),
        ("call", "e/mid", "ask", "e/far", "get"),
        ("ask", "e/mid", "call", "e/far", "get"),
    ],
)
def test_a_read_that_fails_ends_the_whole_run(
    request_: tuple[str, ...], fault: LithoxError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by the run, by a callee or by a request however deep: the caller is told that code."""
    world = World()

    def fail(*_: Any) -> Any:
        raise fault

    real_find = StableView.find

    def find(self: StableView, entity: str, key: str) -> Item | None:
        return fail() if key == "k070" else real_find(self, entity, key)

    monkeypatch.setattr(StableView, "find", find)
    monkeypatch.setattr(StableView, "scan", fail)
    answer = world.send(*request_)
    assert answer.error is fault
    assert world.house.bugs == []


@pytest.mark.parametrize(
    "fault",
    [
        Overloaded("full"),
        StoreUnavailable("disk full"),
        ResultsFull("full"),
        Conflict("lost"),
        StoreCorrupt("damaged"),
    ],
)
@pytest.mark.parametrize("is_held", [False, True])
@pytest.mark.parametrize(
    "request_", [("ask", "e/far", "set"), ("call", "e/mid", "ask", "e/far", "set")]
)
def test_a_fault_of_a_request_ends_its_parent(
    request_: tuple[str, ...], is_held: bool, fault: LithoxError
) -> None:
    """Told at once or later, after which runs of its own however many: the parent ends so too."""
    world = World()
    real = world.house.store.submit

    def submit(commit: Commit, on_done: OnDone) -> int | None:
        if ("e/far", "count") not in commit.writes:
            return real(commit, on_done)
        if not is_held:
            raise fault
        world.house.queue.append(lambda: on_done(fault))  # type: ignore[arg-type]
        return commit.snapshot_version + 1

    world.house.store.submit = submit  # type: ignore[method-assign]
    answer = world.send(*request_)
    assert answer.error is not None
    assert getattr(answer.error, "code", None) == fault.code
    assert answer.usage.attempts == 1


@pytest.mark.parametrize("fault", [Overloaded("full"), Conflict("lost"), InternalError("a bug")])
def test_a_request_that_is_refused_at_once_ends_its_parent(fault: Exception) -> None:
    """A child that has not even begun: the same, and a bug is counted once."""
    world = World()

    def refuse(_request: Request, on_answer: OnAnswer, _frame: Frame, _bound: Limits) -> None:
        on_answer(Answer(error=fault))

    world.house.dispatcher.runs.requesting.submit = refuse
    answer = world.send("ask", "e/far", "set")
    assert getattr(answer.error, "code", None) == fault.code  # type: ignore[attr-defined]
    assert answer.usage.attempts == 1


def test_a_bug_while_a_request_runs_ends_its_parent_as_internal() -> None:
    """Our bug in the child is reported once; the parent cannot take it for an answer."""
    world = World()

    def break_off(_commit: Commit, _on_done: OnDone) -> int | None:
        raise RuntimeError("a bug")

    world.house.store.submit = break_off  # type: ignore[method-assign]
    answer = world.send("ask", "e/far", "set")
    assert isinstance(answer.error, InternalError)
    assert len(world.house.bugs) == 1

"""A house that accepts requests and answers them later."""

from __future__ import annotations

from typing import Any

from lithox.dispatch.accepted_records import (
    ACCEPTED,
)
from lithox.model.ids import EntityPath, HandlerName, RequestId
from lithox.model.limits import Limits
from lithox.model.request import Answer, Call, Caller, Request
from lithox.store.memory import MemoryDisk
from lithox.testing.script import ScriptedSelf, ScriptError
from tests.unit.dispatch.house import ALICE, House

SECOND_NS = 1_000_000_000


def add(_self: ScriptedSelf, by: int) -> Any:
    count = ((yield ("get", "count")) or 0) + by
    yield ("set", "count", count)
    return count


def fail(_self: ScriptedSelf) -> Any:
    yield ("set", "count", 1000)
    raise ScriptError("no", code="refused", data={"why": "so"})


def slow(_self: ScriptedSelf) -> Any:
    yield ("burn", 5_000_000)
    yield ("set", "slow", True)
    return "slow"


def spin(_self: ScriptedSelf) -> Any:
    yield ("spin",)


MODULE = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__
}


class Office(House):
    """A house that takes accepted requests; `accept` gives what whoever asked is told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.publish("job/*", MODULE, access=["bob"])
        self.publish("shut/*", MODULE)
        self.dispatcher.accepted.start()
        self.run()

    def accept(  # noqa: PLR0913 - a test's request, all by keyword
        self,
        entity: str,
        handler: str,
        *args: Any,
        request_id: str = "r-1",
        caller: Caller = ALICE,
        calls: tuple[Call, ...] = (),
        limits: Limits | None = None,
        deadline_ns: int | None = None,
    ) -> list[Exception | None]:
        told: list[Exception | None] = []
        self.dispatcher.accepted.accept(
            Request(
                entity=EntityPath(entity),
                handler=HandlerName(handler),
                args=list(args),
                caller=caller,
                request_id=RequestId(request_id),
                calls=calls,
                limits=limits,
                deadline_ns=deadline_ns,
            ),
            told.append,
            callback=None,
        )
        return told

    def outcome(self, request_id: str = "r-1", identity: str = "alice") -> Answer | None:
        return self.dispatcher.results.find_accepted(identity, request_id)

    @property
    def rows(self) -> int:
        return self.store.measure_entity(ACCEPTED)[0]

    def pass_ms(self, duration_ms: int) -> None:
        self.clock.advance(duration_ms * 1_000_000)
        self.dispatcher.accepted.notify_time()
        self.dispatcher.notify_time()
        self.run()


def reopen(office: Office) -> Office:
    """A node that finds what is durable after the other one died at once."""
    disk: MemoryDisk = office.disk
    office.store.close()
    return Office(disk=disk)

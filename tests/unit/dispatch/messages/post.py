"""A house whose messages are delivered, and the scripts that send and receive them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.records import DEAD, OUTBOX, TRIES
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.store.contract import Range
from lithox.testing.script import Module, Script, ScriptedSelf, ScriptError
from tests.unit.dispatch.house import House

SECOND_NS = 1_000_000_000
OPEN_TO_ENTITIES = ["entity:**", "alice", "bob"]


def note(self: ScriptedSelf, word: str) -> Script:
    """Adds `word` to the list `seen`; returns it."""
    seen = (yield ("get", "seen")) or []
    yield ("set", "seen", [*seen, word])
    return seen


def send(self: ScriptedSelf, receiver: str, handler: str, *args: Any) -> Script:
    """Sends one message; returns its id."""
    (message_id,) = yield ("ask", "send", receiver, handler, list(args))
    return message_id


def send_many(self: ScriptedSelf, receivers: list[str], words: list[str]) -> Script:
    """Sends every word to every receiver, word by word."""
    for word in words:
        for receiver in receivers:
            yield ("ask", "send", receiver, "note", [word])
    return None


def send_and_fail(self: ScriptedSelf, receiver: str) -> Script:
    """Sends, then raises."""
    yield ("ask", "send", receiver, "note", ["never"])
    raise ScriptError("after sending")


def call_and_catch(self: ScriptedSelf, entity: str, handler: str, *args: Any) -> Script:
    """Calls, lets a failure go, and sends a message of its own."""
    with suppress(ScriptError):
        yield ("call", entity, handler, *args)
    yield ("ask", "send", args[0], "note", ["own"])
    return None


def fail_until(self: ScriptedSelf, word: str) -> Script:
    """Raises until the state says it is mended; then notes `word`."""
    if not (yield ("get", "mended")):
        raise ScriptError("not mended")
    seen = (yield ("get", "seen")) or []
    yield ("set", "seen", [*seen, word])
    return None


def mend(self: ScriptedSelf) -> Script:
    """Lets `fail_until` succeed from now on."""
    yield ("set", "mended", True)
    return None


def tell(self: ScriptedSelf, word: str) -> Script:
    """Notes who called and under which id."""
    yield ("set", "told", [word, self.caller, self.request_id])
    return None


def pass_on(self: ScriptedSelf, receiver: str) -> Script:
    """Sends itself on to `receiver`, which sends it back, for ever."""
    count = ((yield ("get", "passed")) or 0) + 1
    yield ("set", "passed", count)
    yield ("ask", "send", receiver, "pass_on", [self.id])
    return None


MODULE = {
    "note": note,
    "send": send,
    "send_many": send_many,
    "send_and_fail": send_and_fail,
    "call_and_catch": call_and_catch,
    "fail_until": fail_until,
    "mend": mend,
    "tell": tell,
    "pass_on": pass_on,
}


class PostHouse(House):
    """A house with running messages and timers; its clock is moved by `wait`.

    Attributes:
        modules: what is published at the start, by template.
        wakes: how often a wake-up was asked for.
    """

    modules: ClassVar[dict[str, Module]] = {"box/**": MODULE}
    wakes = 0

    def __init__(
        self,
        *,
        bounds: MessageBounds | None = None,
        timers: TimerBounds | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            messages=bounds or MessageBounds(), timers=timers or TimerBounds(), **options
        )
        # Before what waits is delivered, as a node does with its templates.
        for match, module in self.modules.items():
            self.publish(match, module, access=OPEN_TO_ENTITIES)
        self.open()

    def open(self) -> None:
        """Starts messages and timers, as a node does once its store is open."""
        delivery, timers = self.dispatcher.mail.delivery, self.dispatcher.timers
        delivery.on_deadline = lambda at_ns: self._arm(at_ns, delivery.notify_time)
        timers.on_deadline = lambda at_ns: self._arm(at_ns, timers.notify_time)
        delivery.on_started = timers.start
        delivery.start()

    def _arm(self, at_ns: int, action: Callable[[], None]) -> None:
        self.wakes += 1
        self.clock.call_at(at_ns, action)

    def hold(self) -> None:
        """Lets messages be sent, but none be delivered, until `let_go`."""
        self.dispatcher.mail.delivery._is_pump_planned = True

    def let_go(self) -> None:
        """Ends `hold`."""
        self.dispatcher.mail.delivery._is_pump_planned = False
        self.dispatcher.mail.delivery.wake()
        self.run()

    def wait(self, duration_ns: int) -> None:
        """Lets time pass; whatever is due on the way is done when it is due."""
        until_ns = self.clock.monotonic_ns() + duration_ns
        self.run()
        while (next_ns := self.clock.next_timer_ns()) is not None and next_ns <= until_ns:
            self.clock.run_next()
            self.run()
        self.clock.advance_to(until_ns)
        self.run()

    def rows(self, entity: str) -> list[str]:
        """Returns the keys of a queue."""
        snapshot = self.store.open_snapshot()
        try:
            return [key for key, _ in snapshot.scan(Range(entity, "", None), 10_000).items]
        finally:
            snapshot.release()

    def seen(self, entity: str) -> list[str]:
        """Returns what `note` has put together."""
        return self.get(entity, "seen") or []

    @property
    def waiting_rows(self) -> int:
        return len(self.rows(OUTBOX))

    @property
    def dead_rows(self) -> list[str]:
        return self.rows(DEAD)

    @property
    def tries_rows(self) -> list[str]:
        return self.rows(TRIES)

"""Two houses, two volumes, and the line between them, which a test may cut, hold or double."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from lithox.dispatch.elsewhere import decode_origin, encode_origin
from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.marks import MARKS, MarkRecord, decode_mark, mark_key
from lithox.errors import StoreUnavailable, rebuild
from lithox.model.request import Answer, Request
from lithox.store.memory import MemoryDisk
from lithox.testing.script import Module, Refused, Script, ScriptedSelf, ScriptError
from tests.unit.dispatch.messages.post import MODULE, SECOND_NS, PostHouse

FAR = "far"
OnAnswer = Callable[[Answer], None]


def volume_of(entity: str) -> int:
    """Entities under `far/` live in volume 1, all others in volume 0."""
    return int(entity.startswith(FAR + "/"))


def add(self: ScriptedSelf, by: int) -> Script:
    """Adds to `count`; returns the sum and who asked."""
    count = ((yield ("get", "count")) or 0) + by
    yield ("set", "count", count)
    return [count, self.caller]


def refuse(self: ScriptedSelf) -> Script:
    """Writes and raises."""
    yield ("set", "count", 1_000)
    raise ScriptError("no", code="refused")


def burn(self: ScriptedSelf, fuel: int) -> Script:
    """Uses `fuel`."""
    yield ("burn", fuel)
    return "burnt"


def join(self: ScriptedSelf, other: str) -> Script:
    """Calls within its own transaction; returns the code of the refusal."""
    yield ("set", "count", 1)
    try:
        found = yield ("call", other, "add", 1)
    except Refused as error:
        return [error.code, error.fields]
    return found


def ask(self: ScriptedSelf, other: str, handler: str, *args: Any) -> Script:
    """Makes a request of its own and notes its answer."""
    (found,) = yield ("ask", "request", other, handler, list(args))
    yield ("set", "found", found)
    return found


def ask_and_burn(self: ScriptedSelf, other: str, fuel: int) -> Script:
    """Has `other` use `fuel`, then uses 900,000 itself."""
    yield ("ask", "request", other, "burn", [fuel])
    yield ("burn", 900_000)
    return None


def ask_slowly(self: ScriptedSelf, other: str) -> Script:
    """Reads, asks, and is suspended before it commits, so that it can lose."""
    seen = (yield ("get", "count")) or 0
    (found,) = yield ("ask", "request", other, "add", [1])
    yield ("burn", 5_000_000)
    yield ("set", "count", seen + 100)
    return [seen, found]


def ask_by_state(self: ScriptedSelf, other: str) -> Script:
    """Asks for what its state says, and is suspended before it commits."""
    count = (yield ("get", "count")) or 0
    yield ("ask", "request", other, "add", [count])
    yield ("burn", 5_000_000)
    yield ("set", "count", count + 100)
    return count


def ask_and_fail(self: ScriptedSelf, other: str) -> Script:
    """Asks, then raises."""
    yield ("ask", "request", other, "add", [1])
    raise ScriptError("after all not", code="changed_mind")


def ask_on(self: ScriptedSelf, path: list[str]) -> Script:
    """Asks the first of `path`, which asks the next."""
    if not path:
        return 0
    (found,) = yield ("ask", "request", path[0], "ask_on", [path[1:]])
    return found + 1


SCRIPTS: Module = {
    **MODULE,
    "add": add,
    "refuse": refuse,
    "burn": burn,
    "join": join,
    "ask": ask,
    "ask_and_burn": ask_and_burn,
    "ask_slowly": ask_slowly,
    "ask_by_state": ask_by_state,
    "ask_and_fail": ask_and_fail,
    "ask_on": ask_on,
}


class Line:
    """One house's way to the other. A request crosses it as it crosses a real one.

    Attributes:
        is_cut: every request is answered at once that the other side cannot be reached.
        loses_answers: what the other side answers is lost, and the asker told that nobody knows.
        is_held: requests wait in `held`; each element runs one of them.
        copies: a copy of each request, to be delivered late by a test.
        before: called with each request before it is delivered.
        sent: how many were handed over.
        answers: all that came back.
    """

    def __init__(self, street: Street, volume: int) -> None:
        self._street = street
        self._volume = volume
        self.is_cut = self.loses_answers = self.is_held = False
        self.held: list[Callable[[], None]] = []
        self.copies: list[Callable[[], None]] = []
        self.before: Callable[[Request], None] = lambda _: None
        self.sent = 0
        self.answers: list[Answer] = []
        self._waiting: dict[object, OnAnswer] = {}

    def is_elsewhere(self, entity: str) -> bool:
        return entity != "~node" and volume_of(entity) != self._volume

    def volume_of(self, entity: str) -> int:
        return volume_of(entity)

    def send(self, request: Request, on_answer: OnAnswer) -> None:
        self.sent += 1
        if self.is_cut:
            on_answer(_unknown())
            return
        crossed = replace(request, origin=decode_origin(encode_origin(request.origin)))
        asker, token = self._street.houses[self._volume], object()
        self._waiting[token] = on_answer

        def answer(found: Answer) -> None:
            self.answers.append(found)
            if self._street.houses[self._volume] is asker:
                self._waiting.pop(token, None)
                asker.queue.append(lambda: on_answer(_crossed(found)))

        def deliver(is_first: bool = True) -> None:
            self.before(request)
            is_lost = is_first and self.loses_answers
            other = self._street.houses[1 - self._volume]
            other.dispatcher.arrive(crossed, lambda found: answer(_unknown() if is_lost else found))

        self.copies.append(lambda: deliver(is_first=False))
        if self.is_held:
            self.held.append(deliver)
        else:
            self._street.houses[1 - self._volume].queue.append(deliver)

    def forget(self) -> None:
        """Forgets whoever waits: their process is gone."""
        self._waiting.clear()

    def break_down(self) -> None:
        """Tells whoever waits for an answer that nobody knows."""
        waiting, self._waiting = list(self._waiting.values()), {}
        for on_answer in waiting:
            on_answer(_unknown())


def _unknown() -> Answer:
    return Answer(error=StoreUnavailable("the link is lost", retry_after_ms=100))


def _crossed(answer: Answer) -> Answer:
    """Returns an answer as the other side of a link makes it anew."""
    error: Any = answer.error
    if error is None:
        return answer
    return replace(answer, error=rebuild(error.code, error.to_fields()))


class StreetHouse(PostHouse):
    """A house of a street; its entities stand under `box/` or under `far/`."""

    modules: ClassVar[dict[str, Module]] = {"box/**": SCRIPTS, "far/**": SCRIPTS}

    def item(self, entity: str, key: str) -> bytes | None:
        """Returns the bytes of a cell, or None."""
        snapshot = self.store.open_snapshot()
        found = snapshot.find(entity, key)
        snapshot.release()
        return None if found is None else found.value


class Street:
    """Two houses; `near` has volume 0, `far` volume 1."""

    def __init__(self, *, bounds: MessageBounds | None = None) -> None:
        self._bounds = bounds
        self.lines = [Line(self, 0), Line(self, 1)]
        self.houses: list[StreetHouse] = []
        for volume in (0, 1):
            self.houses.append(self._open(volume, MemoryDisk()))
        self.run()

    def _open(self, volume: int, disk: MemoryDisk, **options: Any) -> StreetHouse:
        return StreetHouse(bounds=self._bounds, elsewhere=self.lines[volume], disk=disk, **options)

    @property
    def near(self) -> StreetHouse:
        return self.houses[0]

    @property
    def far(self) -> StreetHouse:
        return self.houses[1]

    @property
    def line(self) -> Line:
        """The way from near to far."""
        return self.lines[0]

    def run(self) -> None:
        """Runs both until neither has anything to do."""
        while any(house.queue for house in self.houses):
            for house in self.houses:
                if house.queue:
                    house.queue.popleft()()
        for house in self.houses:
            assert not house.bugs, house.bugs

    def wait(self, seconds: float = 60) -> None:
        """Lets time pass for both, in small steps."""
        for _ in range(int(seconds * 10)):
            for house in self.houses:
                house.clock.advance(SECOND_NS // 10)
            self.run()

    def crash(self, volume: int, *, shift_s: float = 1, disk: MemoryDisk | None = None) -> None:
        """Cuts one house's power and opens another over what is durable.

        Args:
            shift_s: what the wall clock says more than before.
            disk: what the new house stands on instead.
        """
        old = self.houses[volume]
        old.disk.cut_power()
        old.queue.clear()
        wall_ns = old.clock.wall_ns() + int(shift_s * SECOND_NS)
        self.lines[volume].forget()
        self.houses[volume] = self._open(volume, disk or old.disk, wall_ns=wall_ns)
        self.lines[1 - volume].break_down()

    def call(self, entity: str, handler: str, *args: Any, **options: Any) -> Any:
        """Calls from outside, at near."""
        answers = self.near.send(entity, handler, *args, **options)
        self.run()
        assert len(answers) == 1, "one answer for each request"
        if answers[0].error is not None:
            raise answers[0].error
        return answers[0].value

    def mark(self, sender: str, receiver: str) -> MarkRecord | None:
        """Returns the mark of a pair in the receiver's house."""
        house = self.houses[volume_of(receiver)]
        row = house.item(MARKS, mark_key(sender, receiver))
        return None if row is None else decode_mark(row)

"""Whatever fails, withdraws or crashes: what was committed takes effect once and in order."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.schedules.window import Window
from lithox.errors import StoreUnavailable
from lithox.testing.script import Module, Script, ScriptedSelf, ScriptError
from tests.unit.dispatch.messages.post import SECOND_NS, PostHouse

BOUNDS = MessageBounds(tries_max=1_000_000, pause_first_ms=10, pause_last_ms=100)
"""Nothing dies here, so everything must arrive in the end."""


def tell(self: ScriptedSelf, receivers: list[str], after: int | None) -> Script:
    """Notes what it sends, sends it, and perhaps sets a timer to note the same later."""
    count = (yield ("get", "count")) or 0
    for receiver in receivers:
        count += 1
        yield ("ask", "send", receiver, "hear", [self.id, count])
        sent = (yield ("get", f"to {receiver}")) or []
        yield ("set", f"to {receiver}", [*sent, count])
    if after is not None:
        spec = {"handler": "ring", "args": [count], "after": after}
        yield ("ask", "schedule", spec)
        armed = (yield ("get", "armed")) or []
        yield ("set", "armed", [*armed, count])
    yield ("set", "count", count)
    return None


def hear(self: ScriptedSelf, sender: str, number: int) -> Script:
    """Notes a message by its sender; raises while it is ill."""
    if (yield ("get", "ill")):
        raise ScriptError("ill")
    heard = (yield ("get", f"of {sender}")) or []
    yield ("set", f"of {sender}", [*heard, number])
    return None


def ring(self: ScriptedSelf, number: int) -> Script:
    """Notes a timer."""
    rung = (yield ("get", "rung")) or []
    yield ("set", "rung", [*rung, number])
    return None


def fall_ill(self: ScriptedSelf, is_ill: bool) -> Script:
    """Lets `hear` fail from now on, or no more."""
    yield ("set", "ill", is_ill)
    return None


class ModelHouse(PostHouse):
    """A house with entities `m/*`."""

    modules: ClassVar[dict[str, Module]] = {
        "m/**": {"tell": tell, "hear": hear, "ring": ring, "fall_ill": fall_ill}
    }


names = st.sampled_from(["m/a", "m/b", "m/c"])
steps = st.one_of(
    st.tuples(
        st.just("tell"),
        names,
        st.lists(names, max_size=3),
        st.none() | st.integers(min_value=0, max_value=3_000),
    ),
    st.tuples(st.just("ill"), names, st.booleans()),
    st.tuples(st.just("wait"), st.integers(min_value=0, max_value=2_000)),
    st.tuples(st.just("go round"), st.integers(min_value=1, max_value=9)),
    st.tuples(st.just("fail"), st.booleans()),
    st.just(("crash",)),
)


def take(house: ModelHouse, step: tuple[object, ...]) -> ModelHouse:
    """Does one step; returns the house to go on with."""
    match step:
        case ("tell", str(sender), list(receivers), after):
            house.send(sender, "tell", receivers, after)
        case ("ill", str(name), bool(is_ill)):
            house.send(name, "fall_ill", is_ill)
        case ("wait", int(duration_ms)):
            house.wait(duration_ms * 1_000_000)
        case ("go round", int(times)):
            for _ in range(times):
                if house.queue:
                    house.queue.popleft()()
        case ("fail", bool(is_failing)):
            if is_failing:
                house.disk.fail(StoreUnavailable("no disk"))
            else:
                house.disk.mend()
        case _:
            house.disk.cut_power()
            house.disk.mend()
            return ModelHouse(disk=house.disk, wall_ns=house.clock.wall_ns(), bounds=BOUNDS)
    return house


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=14))
def test_what_was_committed_takes_effect_once_and_in_order(
    script: list[tuple[object, ...]],
) -> None:
    """Sync failures, crashes at any moment, failing receivers: senders and receivers agree."""
    house = ModelHouse(bounds=BOUNDS)
    for step in script:
        house = take(house, step)
    house.disk.mend()
    house.run()
    for name in ("m/a", "m/b", "m/c"):
        house.call(name, "fall_ill", False)
    house.wait(130 * SECOND_NS)
    for sender in ("m/a", "m/b", "m/c"):
        for receiver in ("m/a", "m/b", "m/c"):
            heard = house.get(receiver, f"of {sender}") or []
            assert heard == (house.get(sender, f"to {receiver}") or [])
        assert sorted(house.get(sender, "rung") or []) == (house.get(sender, "armed") or [])
    assert house.waiting_rows == house.dispatcher.mail.waiting.count == 0
    assert house.dispatcher.timers.armed.count == 0
    assert house.bugs == []


keys = st.integers(min_value=0, max_value=60).map(lambda number: f"{number:03}")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "take"]), keys), min_size=1, max_size=80),
    st.integers(min_value=1, max_value=6),
)
def test_the_window_always_knows_the_first_key(acts: list[tuple[str, str]], held: int) -> None:
    """However few it holds, against a set of all keys; and it never holds more than it may."""
    store: set[str] = set()

    def load(start: str, limit: int) -> tuple[list[str], bool]:
        found = sorted(key for key in store if key >= start)
        return found[:limit], len(found) > limit

    window = Window(load, held_max=held, page_max=3)
    for act, key in acts:
        if act == "add":
            store.add(key)
            window.add(key)
        elif act == "remove":
            store.discard(key)
            window.remove(key)
        elif (first := window.first()) is not None:
            assert window.take() == first == min(store)
            store.discard(first)
        assert window.first() == min(store, default=None)
        assert len(window) <= held + 1

"""Handlers of whole-node simulations whose effects come later or elsewhere.

mail     messages that send messages, some of them from calls that fail, some of which die
shop     orders that reserve stock by requests of their own, and sometimes fail after that
clocks   timers that are set, replaced, cancelled, and some that repeat until they have enough
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from lithox.testing.drawing import Call, draw_fuel, pick, raise_unless_meant
from lithox.testing.script import Module, Script, ScriptedSelf, ScriptError

BOXES: Final = 3
STOCK: Final = 60


# -- mail ------------------------------------------------------------------------------------


def _post(self: ScriptedSelf, letters: list[list[Any]], fuel: int, how: str) -> Script:
    """Sends [to, kind, hops] each; ends as `how` says, and then nothing was sent."""
    posted = (yield ("get", "posted")) or 0
    for to, kind, hops in letters:
        posted += 1
        yield ("ask", "send", to, kind, [self.id, posted, hops])
    yield ("set", "posted", posted)
    yield ("burn", fuel)
    if how == "raise":
        raise ScriptError("it was not meant", code="wanted")
    return posted


def _post_through(self: ScriptedSelf, to: str, other: str, how: str) -> Script:
    """Sends, lets another send in a call that may fail, and sends again."""
    posted = (yield ("get", "posted")) or 0
    yield ("ask", "send", to, "receive", [self.id, posted + 1, 0])
    if other != self.id:
        try:
            yield ("call", other, "post", [[to, "receive", 1]], 0, how)
        except ScriptError as error:
            raise_unless_meant(error)
    yield ("ask", "send", to, "receive", [self.id, posted + 2, 1])
    yield ("set", "posted", posted + 2)
    return posted + 2


def _receive(self: ScriptedSelf, sender: str, number: int, hops: int) -> Script:
    """Keeps what came from whom in order; passes it on while it has hops left."""
    key = f"from-{sender.replace('/', '-')}"
    found: list[int] = (yield ("get", key)) or []
    yield ("set", key, [*found, number])
    if hops:
        posted = (yield ("get", "posted")) or 0
        yield ("set", "posted", posted + 1)
        yield ("ask", "send", sender, "receive", [self.id, posted + 1, hops - 1])
    return number


def _refuse(self: ScriptedSelf, sender: str, number: int, hops: int) -> Script:
    """Fails each time, after it has written and sent."""
    yield from _receive(self, sender, number, hops)
    raise ScriptError("nobody takes this", code="refused")


def _hesitate(self: ScriptedSelf, sender: str, number: int, hops: int) -> Script:
    """Fails until enough has come from others meanwhile."""
    found = yield ("scan", "from-")
    if sum(len(numbers) for _, numbers in found) < 3:
        raise ScriptError("not yet", code="later")
    return (yield from _receive(self, sender, number, hops))


MAIL: Module = {
    "post": _post,
    "post_through": _post_through,
    "receive": _receive,
    "refuse": _refuse,
    "hesitate": _hesitate,
}
KINDS_OF_LETTERS: Final = ("receive", "receive", "receive", "refuse", "hesitate")


def draw_mail(random: Random, number: int, spread: int) -> Call:
    """Draws a call that sends."""
    del number
    own, to, other = (f"mail/{pick(random, BOXES, spread)}" for _ in range(3))
    how = random.choice(("", "", "raise"))
    if random.randrange(3) == 0:
        return own, "post_through", [to, other, how]
    letters = [
        [
            f"mail/{pick(random, BOXES, spread)}",
            random.choice(KINDS_OF_LETTERS),
            random.randrange(3),
        ]
        for _ in range(random.randrange(1, 4))
    ]
    return own, "post", [letters, draw_fuel(random), how]


# -- shop ------------------------------------------------------------------------------------


def _order(self: ScriptedSelf, stock: str, amounts: list[int], fuel: int, how: str) -> Script:
    """Reserves each amount by a request of its own, then notes the order."""
    del self
    orders = (yield ("get", "orders")) or 0
    yield ("burn", fuel)
    left: list[int] = []
    for amount in amounts:
        left += yield ("ask", "request", stock, "reserve", [amount, fuel])
    if how == "raise":
        raise ScriptError("the customer has gone", code="gone")
    yield ("set", "orders", orders + 1)
    return [orders, *left]


def _order_all(self: ScriptedSelf, stock: str, fuel: int) -> Script:
    """Asks for something that depends on state: run again, it may ask for something else."""
    del self
    orders = (yield ("get", "orders")) or 0
    (left,) = yield ("ask", "request", stock, "reserve", [1 + orders % 3, fuel])
    yield ("burn", fuel)
    yield ("set", "orders", orders + 1)
    return left


def _reserve(self: ScriptedSelf, amount: int, fuel: int) -> Script:
    del self
    found = yield ("get", "left")
    left = STOCK if found is None else found
    yield ("burn", fuel)
    if left < amount:
        raise ScriptError("sold out", code="sold_out")
    yield ("set", "left", left - amount)
    return left - amount


SHOP: Module = {"order": _order, "order_all": _order_all, "reserve": _reserve}


def draw_shop(random: Random, number: int, spread: int) -> Call:
    """Draws an order."""
    del number
    own, stock = f"shop/{pick(random, 2, spread)}", f"shop/stock-{pick(random, 2, spread)}"
    if random.randrange(4) == 0:
        return own, "order_all", [stock, draw_fuel(random)]
    amounts = [random.randrange(1, 9) for _ in range(random.randrange(1, 4))]
    how = random.choice(("", "", "", "raise"))
    return own, "order", [stock, amounts, draw_fuel(random), how]


# -- clocks ----------------------------------------------------------------------------------


def _set_timer(self: ScriptedSelf, name: str, after_ms: int, label: int, how: str) -> Script:
    """Arms a timer of that name in place of an older one; ends as `how` says."""
    del self
    told = (yield ("get", "set")) or 0
    spec = {"handler": "ring", "args": [name, label], "after": after_ms, "name": name}
    yield ("ask", "schedule", spec)
    yield ("set", "set", told + 1)
    if how == "raise":
        raise ScriptError("it was not meant", code="wanted")
    return told


def _repeat(self: ScriptedSelf, name: str, every_ms: int, times: int) -> Script:
    del self
    spec = {"handler": "tick", "args": [name, times], "every": every_ms, "name": name}
    yield ("ask", "schedule", spec)
    yield ("set", f"ticks-{name}", 0)
    return name


def _cancel_timer(self: ScriptedSelf, name: str, fuel: int) -> Script:
    del self
    (was_there,) = yield ("ask", "cancel", name)
    yield ("burn", fuel)
    cancelled = (yield ("get", "cancelled")) or 0
    yield ("set", "cancelled", cancelled + was_there)
    return was_there


def _ring(self: ScriptedSelf, name: str, label: int) -> Script:
    del self
    rung: list[list[Any]] = (yield ("get", "rung")) or []
    yield ("set", "rung", [*rung, [name, label]])
    return len(rung)


def _tick(self: ScriptedSelf, name: str, times: int) -> Script:
    """Counts, and cancels its own timer when it has counted far enough."""
    del self
    ticks = (yield ("get", f"ticks-{name}")) or 0
    yield ("set", f"ticks-{name}", ticks + 1)
    if ticks + 1 >= times:
        yield ("ask", "cancel", name)
    return ticks


CLOCKS: Module = {
    "set_timer": _set_timer,
    "repeat": _repeat,
    "cancel_timer": _cancel_timer,
    "ring": _ring,
    "tick": _tick,
}


def draw_clocks(random: Random, number: int, spread: int) -> Call:
    """Draws a call that sets or cancels timers."""
    own = f"clocks/{pick(random, 2, spread)}"
    kind = random.randrange(6)
    if kind == 0:
        return own, "repeat", [f"beat-{random.randrange(2)}", random.randrange(1, 4), 3]
    name = random.choice(("a", "b", "c", "beat-0"))
    if kind == 1:
        return own, "cancel_timer", [name, draw_fuel(random)]
    how = random.choice(("", "", "raise"))
    return own, "set_timer", [name, random.choice((0, 1, 5)), number, how]

"""What the handlers of whole-node simulations do, and what callers ask of them.

Each workload is a module of scripted handlers, the pattern of its entities, and a function that
draws a call. Handlers burn a drawn amount between their reads and writes, so that runs overlap and
lose races; everything else they do depends on arguments and state alone, as `serial` asks.

    bank     money moves between accounts in joined calls; some fail half way; the sum stays
    lists    appends, reads, registers and compare-and-set over a few keys of a few entities
    claims   numbers are given out by counting what a scan finds; phantoms would give one twice
    mail     messages that send messages, some of them from calls that fail, some of which die
    shop     orders that reserve stock by requests of their own, and sometimes fail after that
    clocks   timers that are set, replaced, cancelled, and some that repeat until they have enough
    hostile  endless loops, errors after writes, traps: nothing of them may stay
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from lithox.testing.script import Module, Script, ScriptedSelf, ScriptError

ACCOUNTS: Final = 5
OPENING_BALANCE: Final = 100
LISTS: Final = 3
DESKS: Final = 2
BOXES: Final = 3
STOCK: Final = 60

Call = tuple[str, str, list[Any]]
"""(entity, handler, args)."""


MEANT: Final = frozenset({"app.closed", "app.wanted", "guest.trapped"})
"""Failures of callees that a caller goes on after; others depend on bounds, and are raised on."""


def _raise_unless_meant(error: ScriptError) -> None:
    if error.code not in MEANT:
        raise error


# -- bank ------------------------------------------------------------------------------------


def _balance(self: ScriptedSelf) -> Script:
    del self
    found = yield ("get", "balance")
    return OPENING_BALANCE if found is None else found


def _deposit(self: ScriptedSelf, amount: int, fuel: int) -> Script:
    found = yield from _balance(self)
    yield ("burn", fuel)
    yield ("set", "balance", found + amount)
    return found + amount


def _deposit_badly(self: ScriptedSelf, amount: int, how: str) -> Script:
    """Writes, then fails: what it wrote must not stay, whatever its caller makes of it."""
    found = yield from _balance(self)
    yield ("set", "balance", found + amount)
    yield ("set", "spoiled", True)
    # A system call hands the writes over, so that there is something to take back.
    yield ("scan", "spoil")
    if how == "trap":
        yield ("trap", "unreachable")
    raise ScriptError("the bank is closed", code="closed")


def _transfer(self: ScriptedSelf, to: str, amount: int, fuel: int) -> Script:
    found = yield from _balance(self)
    yield ("burn", fuel)
    if found < amount:
        raise ScriptError("not enough", code="overdrawn")
    yield ("set", "balance", found - amount)
    if to != self.id:
        received = yield ("call", to, "deposit", amount, fuel)
    else:
        received = yield from _deposit(self, amount, fuel)
    return [found - amount, received]


def _pay_all(self: ScriptedSelf, payments: list[list[Any]], fuel: int) -> Script:
    """Pays each that can be paid; a failed payment leaves the others."""
    done: list[str] = []
    for to, amount, how in payments:
        found = yield from _balance(self)
        yield ("set", "balance", found - amount)
        try:
            if how:
                yield ("call", to, "deposit_badly", amount, how)
            else:
                yield ("call", to, "deposit", amount, fuel)
            done.append(to)
        except ScriptError as error:
            _raise_unless_meant(error)
            found = yield from _balance(self)
            yield ("set", "balance", found + amount)
    return done


def _sum(self: ScriptedSelf, others: list[str], fuel: int) -> Script:
    total = yield from _balance(self)
    for other in others:
        yield ("burn", fuel)
        total += yield ("call", other, "balance")
    return total


def _round_trip(self: ScriptedSelf, through: list[str], amount: int) -> Script:
    """Sends an amount through others in a circle; the last call comes back to the first."""
    found = yield from _balance(self)
    yield ("set", "balance", found - amount)
    if through:
        yield ("call", through[0], "round_trip", through[1:], amount)
    found = yield from _balance(self)
    yield ("set", "balance", found + amount)
    return found


BANK: Module = {
    "balance": _balance,
    "deposit": _deposit,
    "deposit_badly": _deposit_badly,
    "transfer": _transfer,
    "pay_all": _pay_all,
    "sum": _sum,
    "round_trip": _round_trip,
}


def draw_bank(random: Random, number: int, spread: int) -> Call:
    """Draws a call of the bank."""
    del number
    names = [f"bank/{index}" for index in range(max(2, min(spread, ACCOUNTS)))]
    own = random.choice(names)
    others = [name for name in names if name != own]
    fuel = _draw_fuel(random)
    kind = random.randrange(10)
    if kind < 5:
        return own, "transfer", [random.choice(names), random.randrange(1, 60), fuel]
    if kind < 7:
        payments = [
            [other, random.randrange(1, 20), random.choice(("", "", "raise", "trap"))]
            for other in random.sample(others, min(3, len(others)))
        ]
        return own, "pay_all", [payments, fuel]
    if kind < 9:
        return own, "sum", [others, fuel]
    return own, "round_trip", [[random.choice(names), own], random.randrange(1, 20)]


# -- lists -----------------------------------------------------------------------------------


def _mix(self: ScriptedSelf, acts: list[list[Any]], fuel: int) -> Script:
    """Does acts in order: ["append", key, item], ["read", key], ["write", key, value],
    ["swap", key, wanted, value], ["drop", key]; returns what each found.
    """
    del self
    found: list[Any] = []
    for act, key, *rest in acts:
        value = yield ("get", key)
        yield ("burn", fuel)
        if act == "append":
            yield ("set", key, [*(value or []), rest[0]])
        elif act == "write" or (act == "swap" and value == rest[0]):
            yield ("set", key, rest[-1])
        elif act == "drop":
            yield ("set", key, None)
        found.append(value)
    return found


def _mix_with(self: ScriptedSelf, other: str, acts: list[list[Any]], fuel: int) -> Script:
    """Does the first half here and the rest at another, in one transaction."""
    half = len(acts) // 2
    found = yield from _mix(self, acts[:half], fuel)
    found += yield ("call", other, "mix", acts[half:], fuel)
    return found


LISTS_MODULE: Module = {"mix": _mix, "mix_with": _mix_with}


def draw_lists(random: Random, number: int, spread: int) -> Call:
    """Draws a call of the lists; items and values are unique by `number`."""
    acts: list[list[Any]] = []
    is_reading = random.randrange(3) == 0
    for index in range(random.randrange(1, 4)):
        kind = (
            "read"
            if is_reading
            else random.choice(("append", "append", "read", "read", "write", "swap", "drop"))
        )
        key = (
            f"{'list' if kind in {'append', 'read', 'drop'} else 'register'}-{random.randrange(2)}"
        )
        item = 10 * number + index
        rest = {"append": [item], "write": [item], "swap": [random.choice((None, item)), item]}
        acts.append([kind, key, *rest.get(kind, [])])
    own, other = (f"lists/{_pick(random, LISTS, spread)}" for _ in range(2))
    fuel = _draw_fuel(random)
    if own != other and random.randrange(3) == 0:
        return own, "mix_with", [other, acts, fuel]
    return own, "mix", [acts, fuel]


# -- claims ----------------------------------------------------------------------------------


def _claim(self: ScriptedSelf, prefix: str, name: str, fuel: int) -> Script:
    del self
    found = yield ("scan", prefix)
    yield ("burn", fuel)
    yield ("set", f"{prefix}{name}", len(found))
    return len(found)


def _clear(self: ScriptedSelf, prefix: str) -> Script:
    del self
    found = yield ("scan", prefix)
    for key, _ in found:
        yield ("set", key, None)
    return len(found)


def _show(self: ScriptedSelf, prefix: str, fuel: int) -> Script:
    del self
    yield ("burn", fuel)
    found = yield ("scan", prefix)
    return [[key, value] for key, value in found]


CLAIMS: Module = {"claim": _claim, "clear": _clear, "show": _show}


def draw_claims(random: Random, number: int, spread: int) -> Call:
    """Draws a call of a desk that gives out numbers."""
    desk, prefix = f"claims/{_pick(random, DESKS, spread)}", random.choice(("a-", "b-"))
    kind = random.randrange(8)
    if kind == 0:
        return desk, "clear", [prefix]
    if kind < 3:
        return desk, "show", [prefix, _draw_fuel(random)]
    return desk, "claim", [prefix, f"{number:05}", _draw_fuel(random)]


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
            _raise_unless_meant(error)
    yield ("ask", "send", to, "receive", [self.id, posted + 2, 1])
    yield ("set", "posted", posted + 2)
    return posted + 2


def _receive(self: ScriptedSelf, sender: str, number: int, hops: int) -> Script:
    """Keeps what came from whom in order; passes it on while it has hops left."""
    key = f"from-{sender.replace('/', '-')}"
    found = (yield ("get", key)) or []
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
    own, to, other = (f"mail/{_pick(random, BOXES, spread)}" for _ in range(3))
    how = random.choice(("", "", "raise"))
    if random.randrange(3) == 0:
        return own, "post_through", [to, other, how]
    letters = [
        [
            f"mail/{_pick(random, BOXES, spread)}",
            random.choice(KINDS_OF_LETTERS),
            random.randrange(3),
        ]
        for _ in range(random.randrange(1, 4))
    ]
    return own, "post", [letters, _draw_fuel(random), how]


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
    own, stock = f"shop/{_pick(random, 2, spread)}", f"shop/stock-{_pick(random, 2, spread)}"
    if random.randrange(4) == 0:
        return own, "order_all", [stock, _draw_fuel(random)]
    amounts = [random.randrange(1, 9) for _ in range(random.randrange(1, 4))]
    how = random.choice(("", "", "", "raise"))
    return own, "order", [stock, amounts, _draw_fuel(random), how]


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
    rung = (yield ("get", "rung")) or []
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
    own = f"clocks/{_pick(random, 2, spread)}"
    kind = random.randrange(6)
    if kind == 0:
        return own, "repeat", [f"beat-{random.randrange(2)}", random.randrange(1, 4), 3]
    name = random.choice(("a", "b", "c", "beat-0"))
    if kind == 1:
        return own, "cancel_timer", [name, _draw_fuel(random)]
    how = random.choice(("", "", "raise"))
    return own, "set_timer", [name, random.choice((0, 1, 5)), number, how]


# -- hostile ---------------------------------------------------------------------------------


def _loop(self: ScriptedSelf) -> Script:
    del self
    yield ("set", "looped", True)
    yield ("scan", "")
    yield ("spin",)


def _fail(self: ScriptedSelf, how: str, fuel: int) -> Script:
    found = yield ("get", "count")
    yield ("set", "count", (found or 0) + 1000)
    yield ("scan", "count")
    yield ("burn", fuel)
    if how == "trap":
        yield ("trap", "unreachable")
    if how == "nowhere":
        yield ("call", "nowhere/at/all", "handler")
    # The code tells what was read, so that an error about a state that never was is seen.
    raise ScriptError(f"{self.id} failed", code=f"wanted-{found or 0}")


def _count(self: ScriptedSelf, fuel: int) -> Script:
    del self
    found = yield ("get", "count")
    yield ("burn", fuel)
    yield ("set", "count", (found or 0) + 1)
    return found


HOSTILE: Module = {"loop": _loop, "fail": _fail, "count": _count}


def draw_hostile(random: Random, number: int, spread: int) -> Call:
    """Draws a call that fails, or counts beside those that do."""
    del number
    entity = f"hostile/{_pick(random, 2, spread)}"
    kind = random.randrange(8)
    if kind == 0:
        return entity, "loop", []
    if kind < 4:
        how = random.choice(("raise", "raise", "trap", "nowhere"))
        return entity, "fail", [how, _draw_fuel(random)]
    return entity, "count", [_draw_fuel(random)]


# -- all -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Handlers, where they are, and what is asked of them.

    Attributes:
        draw: draws a call, given the number of the wish and over how many entities they spread.
    """

    name: str
    match: str
    module: Module
    draw: Callable[[Random, int, int], Call]


WORKLOADS: Final = (
    Workload(name="bank", match="bank/*", module=BANK, draw=draw_bank),
    Workload(name="lists", match="lists/*", module=LISTS_MODULE, draw=draw_lists),
    Workload(name="claims", match="claims/*", module=CLAIMS, draw=draw_claims),
    Workload(name="mail", match="mail/*", module=MAIL, draw=draw_mail),
    Workload(name="shop", match="shop/*", module=SHOP, draw=draw_shop),
    Workload(name="clocks", match="clocks/*", module=CLOCKS, draw=draw_clocks),
    Workload(name="hostile", match="hostile/*", module=HOSTILE, draw=draw_hostile),
)
MODULES: Final = {workload.match: workload.module for workload in WORKLOADS}


def _pick(random: Random, count: int, spread: int) -> int:
    """Returns an index below `count` and below `spread`, which is 1 or more."""
    return random.randrange(min(count, spread))


def _draw_fuel(random: Random) -> int:
    """Returns nothing for most runs, a little for some, more than a quantum for the rest."""
    return random.choice((0, 0, 500, 3_000, 12_000, 40_000))

"""Handlers of whole-node simulations that read and write state, alone and in joined calls.

    bank     money moves between accounts in joined calls; some fail half way; the sum stays
    lists    appends, reads, registers and compare-and-set over a few keys of a few entities
    claims   numbers are given out by counting what a scan finds; phantoms would give one twice
    hostile  endless loops, errors after writes, traps: nothing of them may stay

It is long because it is a list: each workload has its handlers and a function that draws a call.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from lithox.testing.drawing import Call, draw_fuel, pick, raise_unless_meant
from lithox.testing.script import Module, Script, ScriptedSelf, ScriptError

ACCOUNTS: Final = 5
OPENING_BALANCE: Final = 100
LISTS: Final = 3
DESKS: Final = 2


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
            raise_unless_meant(error)
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
    fuel = draw_fuel(random)
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
    own, other = (f"lists/{pick(random, LISTS, spread)}" for _ in range(2))
    fuel = draw_fuel(random)
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
    desk, prefix = f"claims/{pick(random, DESKS, spread)}", random.choice(("a-", "b-"))
    kind = random.randrange(8)
    if kind == 0:
        return desk, "clear", [prefix]
    if kind < 3:
        return desk, "show", [prefix, draw_fuel(random)]
    return desk, "claim", [prefix, f"{number:05}", draw_fuel(random)]


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
    entity = f"hostile/{pick(random, 2, spread)}"
    kind = random.randrange(8)
    if kind == 0:
        return entity, "loop", []
    if kind < 4:
        how = random.choice(("raise", "raise", "trap", "nowhere"))
        return entity, "fail", [how, draw_fuel(random)]
    return entity, "count", [draw_fuel(random)]

"""Who may wait for locks, on stock Lua, with holders a test makes by hand. Nothing waits."""

from __future__ import annotations

from typing import Any

import lupa.lua54 as lua_54
import pytest

from tests.unit.boot.supervised import require_boot

WORLD = """
local locks = require "storage.locks"
local world = { now = 1000, told = {} }
local token = 0
world.table = locks.new{
  now = function() return world.now end,
  token = function() token = token + 1 return token end,
  tell = function(waiter, status, what)
    world.told[waiter.id] = status == 0 and "given" or what
    return true
  end,
}
local named = { locks = {} }
function world.context() return {} end
function world.holder(space)
  return { space = space, locks = {}, lock_count = 0, waiting = {}, waiting_count = 0 }
end
function world.ask(id, holder, name, timeout_ms)
  world.table:acquire(named, name, { id = id, holder = holder, mode = "exclusive",
    timeout_ms = timeout_ms })
  return world.told[id]
end
function world.release(holder, name) return world.table:release(named, name, holder) end
function world.free(holder) world.table:free(holder) end
function world.pass(ms, ...) world.now = world.now + ms world.table:on_time{...} end
return world
"""
PER_HOLDER, PER_CONTEXT, IN_ALL = 16, 48, 192


@pytest.fixture
def world() -> Any:
    """Locks, and one holder that has the lock `l`."""
    lua: Any = lua_54.LuaRuntime(unpack_returned_tuples=False)
    require_boot(lua, "storage.locks")
    made = lua.execute(WORLD)
    made.owner = made.holder(made.context())
    assert made.ask("owner", made.owner, "l") == "given"
    return made


def fill(world: Any, context: Any, label: str, count: int) -> list[Any]:
    """Lets holders of one context wait for `l`, as many each as may; returns them."""
    holders: list[Any] = []
    for number in range(count):
        if number % PER_HOLDER == 0:
            holders.append(world.holder(context))
        assert world.ask(f"{label}{number}", holders[-1], "l") is None
    return holders


def test_a_holder_has_so_many_waiters(world: Any) -> None:
    """One more is refused, its sibling is not."""
    context = world.context()
    [holder] = fill(world, context, "w", PER_HOLDER)
    assert world.ask("more", holder, "l") == "request.overloaded"
    assert world.ask("sibling", world.holder(context), "l") is None


def test_many_children_leave_room_for_others(world: Any) -> None:
    """Ten holders of one context take its part only; it takes four contexts to take all."""
    contexts = [world.context() for _ in range(IN_ALL // PER_CONTEXT)]
    for number, context in enumerate(contexts):
        fill(world, context, f"c{number}/", PER_CONTEXT)
        assert world.ask(f"more{number}", world.holder(context), "l") == "request.overloaded"
    other = world.holder(world.context())
    assert world.ask("other", other, "l") == "request.overloaded"
    assert world.ask("free", other, "another") == "given"


@pytest.mark.parametrize("how", ["given", "late", "gone"])
def test_every_end_of_a_wait_makes_room(world: Any, how: str) -> None:
    """Given, too late or gone with its holder: the place is free again, in each count."""
    context = world.context()
    holders = fill(world, context, "w", PER_CONTEXT - 1)
    last = world.holder(context)
    assert world.ask("last", last, "l", 50) is None
    assert world.ask("full", world.holder(context), "l") == "request.overloaded"
    if how == "given":
        world.release(world.owner, "l")
        assert world.told["w0"] == "given"
    elif how == "late":
        world["pass"](50, last)
        assert world.told["last"] == "request.deadline_passed"
    else:
        world.free(holders[0])
        assert world.told["w0"] == "context.closed"
    assert world.ask("again", world.holder(context), "l") is None
    assert world.table.waiting == context.waiting_count

"""The supervisor of init on stock Lua, over ports that a test turns by hand. Nothing waits."""

from __future__ import annotations

from importlib import resources
from typing import Any

import lupa.lua54 as lua_54

from lithox.modules.boot import find_boot

PORTS = """
local supervisor = require "init.supervisor"
local world = { now = 1000, launched = {}, asked = {}, killed = {}, released = {}, log = {},
  listeners = 1, is_slow = false, refusal = nil, waiting = {} }
local next_pid = 100
local ports = {}
function ports.now() return world.now end
function ports.wall_ms() return world.now end
function ports.code_of(status) return "code." .. tostring(status) end
function ports.log(level, text) world.log[#world.log + 1] = level .. " " .. text end
function ports.launch(service, done)
  world.launched[#world.launched + 1] = service.name
  if world.refusal then return done(nil, 10, world.refusal) end
  if world.is_slow then
    world.waiting[service.name] = done
  else
    next_pid = next_pid + 1
    done(next_pid)
  end
end
function world.finish_launch(name)
  next_pid = next_pid + 1
  world.waiting[name](next_pid)
  return next_pid
end
function ports.ask(service)
  world.asked[#world.asked + 1] = service.name
  return world.listeners
end
function ports.kill(pid) world.killed[#world.killed + 1] = pid end
function ports.release(service) world.released[#world.released + 1] = service.name end
world.manager = supervisor.new(ports)
function world.reply(slot, key)
  return function(...) slot[key] = { ... } end
end
return world
"""


def require_boot(lua: Any, *names: str) -> None:
    """Makes libraries of the boot copy loadable by `require`."""
    for name in names:
        text = find_boot("library", name)
        assert text is not None, name
        lua.execute(
            "local name, text = ... package.preload[name] = assert(load(text, name))", name, text
        )


def read_entity(name: str) -> str:
    """Returns the text of a built-in entity's handlers."""
    folder = resources.files("lithox.modules") / "boot" / "entities"
    return (folder / f"{name}.lua").read_text(encoding="utf-8")


class Supervised:
    """A supervisor, its fake world, and the answers given so far."""

    def __init__(self) -> None:
        self.lua = lua_54.LuaRuntime(unpack_returned_tuples=True)
        require_boot(self.lua, "init.definitions", "init.supervisor")
        self.world: Any = self.lua.execute(PORTS)
        self.manager: Any = self.world.manager
        self.check: Any = self.lua.eval('require("init.definitions").check')
        self.answers: Any = self.lua.table()
        self._asked = 0

    def define(self, name: str, **more: Any) -> str | None:
        """Defines a service; returns why it is refused, None when it is not."""
        definition = self.lua.table_from({"program": name, **more}, recursive=True)
        found = self.check(name, definition)
        if isinstance(found, tuple):
            return found[1]
        conflict = self.manager.find_conflict(self.manager, name, found)
        if conflict is None:
            self.manager.apply(self.manager, name, found)
        return conflict

    def ask(self, act: str, *args: Any) -> int:
        """Starts an act such as `start`; returns the key of its answer."""
        self._asked += 1
        reply = self.world.reply(self.answers, self._asked)
        getattr(self.manager, act)(self.manager, *args, reply)
        return self._asked

    def answer(self, key: int) -> list[Any] | None:
        """Returns what an act was answered, None while it was not."""
        found = self.answers[key]
        return None if found is None else [found[i] for i in range(1, len(found) + 1)]

    def state(self, name: str) -> str:
        return self.manager.services[name].state

    def reason(self, name: str) -> str | None:
        return self.manager.services[name].reason

    def pid(self, name: str) -> int | None:
        return self.manager.services[name].pid

    def end(self, name: str, status: int = 0, message: str = "") -> None:
        """Lets the process of a service end."""
        self.manager.on_exit(self.manager, self.pid(name), status, "", message)

    def pass_ms(self, duration_ms: int) -> None:
        """Lets time go by."""
        self.world.now += duration_ms
        self.manager.on_time(self.manager)

    def listed(self, field: str) -> list[Any]:
        return list(self.world[field].values())

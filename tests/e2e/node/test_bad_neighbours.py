"""Handlers that loop, grow, recurse and swallow errors end by their limits; others are answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.node.serving import Served, ask, copy_data, make_data, serving

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ANSWERS_MIN = 5
"""So many answers one caller must get, one after the other, while a bad run lasts. If it had to
wait for the end of that run, it would get one."""
BAD = """
local bad = {}
local function spoil(self) self.state.spoiled = true end

function bad.loop(self) spoil(self) while true do end end

function bad.eat_memory(self)
  spoil(self)
  local kept = {}
  while true do kept[#kept + 1] = string.rep("x", 100000) .. #kept end
end

function bad.recurse(self)
  spoil(self)
  local function down(n) return 1 + down(n + 1) end
  return down(1)
end

function bad.repeat_text(self) spoil(self) return #string.rep("x", 1 << 32) end

function bad.match_pattern(self)
  spoil(self)
  return string.find(string.rep("a", 5000), string.rep(".-", 12) .. "b")
end

function bad.protect(self)
  spoil(self)
  while true do pcall(function() while true do error("again") end end) end
end

function bad.swallow(self)
  spoil(self)
  while true do
    local co = coroutine.create(function() while true do coroutine.yield(pcall(error, {})) end end)
    while coroutine.resume(co) do end
  end
end

function bad.call_often(self)
  spoil(self)
  for i = 1, 1000000 do pcall(self.usage, self) end
end

function bad.lie_about_length(self)
  spoil(self)
  local liar = setmetatable({}, { __len = function() return math.maxinteger - 1 end })
  for i = 1, 10 do table.insert(liar, i) end
  return table.concat(liar)
end

function bad.raise_while_told(self)
  spoil(self)
  error(setmetatable({}, { __tostring = function() error("no words") end }))
end

function bad.is_spoiled(self) return self.state.spoiled == true end
return bad
"""
GOOD = """
local good = {}
function good.add(self)
  self.state.count = (self.state.count or 0) + 1
  return self.state.count
end
return good
"""
MANIFEST = (
    '[[template]]\nmatch = "bad/*"\nlanguage = "lua"\nsource = "bad.lua"\n'
    'limits = { fuel = 2_000_000_000, memory = "16MiB", wall = "20s", calls = 1_000 }\n'
    '[[template]]\nmatch = "good/*"\nlanguage = "lua"\nsource = "good.lua"\n'
)
ENDS = {
    "loop": {"guest.out_of_fuel"},
    "eat_memory": {"guest.out_of_memory"},
    "recurse": {"guest.raised", "guest.trapped"},
    "repeat_text": {"guest.raised", "guest.out_of_memory"},
    "match_pattern": {"guest.out_of_fuel"},
    "protect": {"guest.out_of_fuel"},
    "swallow": {"guest.out_of_fuel"},
    "call_often": {"guest.out_of_calls"},
    "lie_about_length": {"guest.raised"},
    "raise_while_told": {"guest.raised"},
}
LASTING = ("loop", "match_pattern", "protect", "swallow")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Gives one node for all of them: it must survive each."""
    folder = tmp_path_factory.mktemp("neighbours")
    deployed = make_data(folder, manifest=MANIFEST, modules={"bad.lua": BAD, "good.lua": GOOD})
    with serving(copy_data(deployed, folder / "data")) as one:
        yield one


@pytest.mark.parametrize("handler", ENDS)
def test_a_bad_run_ends_with_its_code_and_leaves_nothing(handler: str, served: Served) -> None:
    """The end has the right code, nothing it wrote remains, and the next caller is answered."""
    body = served.call(f"bad/{handler}", handler)
    assert body["status"] in ENDS[handler], body
    assert served.call(f"bad/{handler}", "is_spoiled")["value"] is False
    assert served.call("good/after", "add")["status"] == "ok"


@pytest.mark.parametrize("handler", LASTING)
def test_others_are_answered_while_it_runs(handler: str, served: Served) -> None:
    """While a run that does not end goes on, others get their answers, each one right."""
    ends: list[dict[str, Any]] = []
    bad = threading.Thread(target=lambda: ends.append(served.call("bad/beside", handler)))
    connection = served.connect()
    answers: list[int] = []
    bad.start()
    while bad.is_alive():
        answers.append(ask(connection, f"good/{handler}", "add")["value"])
    connection.close()
    assert ends[0]["status"] in ENDS[handler]
    assert answers == list(range(1, len(answers) + 1))
    assert len(answers) >= ANSWERS_MIN

"""SIGKILL anywhere in the commit path while messages are sent and timers are due."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lithox.store.crash_points import COMMIT_POINTS
from tests.e2e.node.serving import (
    SECONDS_MAX,
    Caller,
    Served,
    copy_data,
    make_data,
    run_together,
    serving,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CALLERS = 4
BATCHES_BEFORE = 14
"""Commits the node makes before it dies: some of senders, some of receivers, some of timers."""
REQUESTS_MAX = 200
SENDER = """
local sender = {}
local function add(list, number)
  list = list or lithox.list {}
  list[#list + 1] = number
  return list
end
function sender.add(self, number)
  self.state.sent = add(self.state.sent, number)
  self:send("receiver/" .. string.match(self.id, "/(.*)"), "note", number)
  self:after(1, "tick", number)
  return number
end
function sender.tick(self, number)
  self.state.ticks = add(self.state.ticks, number)
end
function sender.report(self)
  local none = lithox.list {}
  return { sent = self.state.sent or none, ticks = self.state.ticks or none }
end
return sender
"""
RECEIVER = """
local receiver = {}
function receiver.note(self, number)
  local got = self.state.got or lithox.list {}
  got[#got + 1] = number
  self.state.got = got
end
function receiver.report(self)
  return self.state.got or lithox.list {}
end
return receiver
"""
MANIFEST = """
[[template]]
match = "sender/*"
language = "lua"
source = "sender.lua"
[[template]]
match = "receiver/*"
language = "lua"
source = "receiver.lua"
access = ["entity:sender/*"]
"""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a data directory with senders and their receivers."""
    folder = tmp_path_factory.mktemp("messages")
    modules = {"sender.lua": SENDER, "receiver.lua": RECEIVER}
    return make_data(folder, manifest=MANIFEST, modules=modules)


def settled(served: Served, name: str) -> tuple[dict[str, Any], list[int]]:
    """Returns what sender and receiver have once nothing is under way between them any more."""
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        sender = served.call(f"sender/{name}", "report")["value"]
        got = served.call(f"receiver/{name}", "report")["value"]
        count = len(sender["sent"])
        if len(sender["ticks"]) >= count and len(got) >= count:
            return sender, got
        assert time.monotonic() < deadline, (sender, got)


@pytest.mark.parametrize("point", COMMIT_POINTS)
def test_messages_and_timers_of_a_killed_node_take_effect_once(
    point: str, deployed: Path, tmp_path: Path
) -> None:
    """Whatever was committed has sent its message and its timer, in order, none of them twice."""
    data = copy_data(deployed, tmp_path / "data")
    callers = [
        Caller(f"sender/{number}", has_ids=True, last_max=REQUESTS_MAX) for number in range(CALLERS)
    ]
    with serving(data, crash_at=f"{point}:{BATCHES_BEFORE}") as served:
        run_together(callers, served)
        assert served.wait() == -signal.SIGKILL
    with serving(data) as served:
        for number, caller in enumerate(callers):
            sender, got = settled(served, str(number))
            assert set(caller.acknowledged) <= set(sender["sent"]), "acknowledged and lost"
            assert got == sender["sent"], "a message was lost, doubled or overtaken"
            assert sorted(sender["ticks"]) == sender["sent"], "a timer was lost or doubled"
        assert served.call("receiver/0", "report")["status"] == "ok"

"""SIGKILL anywhere in the commit path, under concurrent load, over HTTP."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from lithox.store.crash_points import COMMIT_POINTS, OTHER_POINTS
from tests.e2e.node.serving import Caller, Served, copy_data, make_data, run_together, serving

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CALLERS = 8
BATCHES_BEFORE = 12
"""Commits the node makes before it dies, so that there is something to lose."""
REQUESTS_MAX = 400
LEDGER = """
local ledger = {}
function ledger.add(self, number)
  self.state["number/" .. number] = true
  self.state.count = (self.state.count or 0) + 1
  self:call("mirror/" .. string.match(self.id, "/(.*)"), "add", number)
  return number
end
function ledger.numbers(self)
  local found = lithox.list {}
  for key in pairs(self.state) do
    local number = string.match(key, "^number/(.*)")
    if number then found[#found + 1] = math.tointeger(tonumber(number)) end
  end
  return { count = self.state.count or 0, numbers = found }
end
return ledger
"""
MIRROR = LEDGER.replace(
    '  self:call("mirror/" .. string.match(self.id, "/(.*)"), "add", number)\n', ""
)
MANIFEST = "".join(
    f'[[template]]\nmatch = "{name}/*"\nlanguage = "lua"\nsource = "{name}.lua"\n'
    'access = ["entity:ledger/*"]\n'
    for name in ("ledger", "mirror")
)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a data directory with ledgers, each of which keeps a mirror."""
    folder = tmp_path_factory.mktemp("kills")
    return make_data(
        folder, manifest=MANIFEST, modules={"ledger.lua": LEDGER, "mirror.lua": MIRROR}
    )


def make_callers() -> list[Caller]:
    return [
        Caller(f"ledger/{number}", has_ids=number % 2 == 0, last_max=REQUESTS_MAX)
        for number in range(CALLERS)
    ]


def check_kept(served: Served, callers: list[Caller]) -> None:
    """Fails unless what each caller was told is there, whole, and the rest whole or not at all."""
    for caller in callers:
        assert caller.refusals == []
        found = served.call(caller.entity, "numbers")["value"]
        mirror = served.call(caller.entity.replace("ledger", "mirror"), "numbers")["value"]
        there = set(found["numbers"])
        assert there == set(mirror["numbers"]), "half of a transaction"
        assert found["count"] == mirror["count"] == len(there), "a request ran twice"
        assert set(caller.acknowledged) <= there, "acknowledged and lost"
        assert there <= {*caller.acknowledged, caller.in_flight}, "nobody asked for this"


def repeat_all(served: Served, callers: list[Caller]) -> None:
    """Sends everything that had an id again, the unanswered ones too."""
    for caller in callers:
        if caller.has_ids:
            last = caller.in_flight or 0
            for number in {*caller.acknowledged, *range(last, last + 1)} - {0}:
                body = served.call(caller.entity, "add", number, key=caller.key(number))
                assert (body["status"], body["value"]) == ("ok", number)
            if caller.in_flight is not None:
                caller.acknowledged.append(caller.in_flight)
                caller.in_flight = None


@pytest.mark.parametrize("point", COMMIT_POINTS)
def test_a_kill_in_the_commit_path_loses_nothing(
    point: str, deployed: Path, tmp_path: Path
) -> None:
    """What was acknowledged is there, what was not is whole or absent, an id never runs twice."""
    data = copy_data(deployed, tmp_path / "data")
    callers = make_callers()
    with serving(data, crash_at=f"{point}:{BATCHES_BEFORE}") as served:
        run_together(callers, served)
        assert served.wait() == -signal.SIGKILL
    assert any(caller.in_flight is not None for caller in callers), "nobody was interrupted"
    with serving(data) as served:
        check_kept(served, callers)
        repeat_all(served, callers)
        check_kept(served, callers)


@pytest.mark.parametrize("point", OTHER_POINTS)
def test_a_kill_while_the_log_is_folded_in_loses_nothing(
    point: str, deployed: Path, tmp_path: Path
) -> None:
    """A checkpoint, in the middle or at the end, is no moment at which anything can be lost."""
    data = copy_data(deployed, tmp_path / "data")
    callers = make_callers()[:2]
    for caller in callers:
        caller.last_max = 20
    with serving(data, crash_at=point) as served:
        run_together(callers, served)
        # The log is folded in when the node is idle, which it is now, or when it closes.
        is_idle_enough = point.startswith("checkpoint")
        status = served.wait() if is_idle_enough else served.stop(signal.SIGTERM)
        assert status == -signal.SIGKILL
    with serving(data) as served:
        check_kept(served, callers)
        repeat_all(served, callers)
        check_kept(served, callers)

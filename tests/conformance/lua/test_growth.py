"""What a run costs for each row it walks does not grow with the rows it has walked before.

Fuel is deterministic, so these are claims about work and not about time.
"""

from __future__ import annotations

import bisect
from typing import Any

import msgspec
import pytest

from lithox.sandbox import messages
from tests.conformance.lua.driver import Host, LuaGuest, Outcome, run_source

PAGE_ROWS = 128
MEMORY_BYTES = 256 << 20
FACTOR_MAX = 1.5
_encode = msgspec.msgpack.Encoder(order="deterministic").encode

WALKS = {
    "read": "local n = 0 for _, v in self:scan('') do n = n + v.n end return n",
    "pairs": "local n = 0 for _, v in pairs(self.state) do n = n + v.n end return n",
    "range": "local n = 0 for _, v in self:range(nil, nil) do n = n + v.n end return n",
    "change": "for _, v in self:scan('') do v.n = v.n + 1 end",
    "keep": "local t = {} for _, v in self:scan('') do t[#t + 1] = v end",
    "delete": "for k in self:scan('') do self.state[k] = nil end",
    "add behind": "for k in self:scan('') do self.state[k .. '/'] = 1 end",
    "add before": "for k in self:scan('') do self.state['a' .. k] = 1 end",
    "ask for each": "for i = 1, ROWS do local v = self.state[('k%06d'):format(i)] end",
    "add to another area": "for _, v in self:scan('k') do self.state[v.name] = v.n end",
}


class Paging(Host):
    """A host whose pages cost it only what they show."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__(state=state)
        self._keys = sorted(state)
        self.answers = {
            "scan": self._scan,
            "range": self._range,
            "call": messages.encode_answer(None, False),
        }

    def _scan(self, prefix: str, after: str | None, limit: int, writes: dict[str, Any]) -> bytes:
        assert prefix in {"", "k"}
        return self._rows(after, limit, writes)

    def _range(
        self, start: str, end: str | None, after: str | None, limit: int, writes: dict[str, Any]
    ) -> bytes:
        assert (start or None, end) == (None, None)
        return self._rows(after, limit, writes)

    def _rows(self, after: str | None, limit: int, writes: dict[str, Any]) -> bytes:
        assert writes == {}, "a page needs none of the run's own changes"
        start = bisect.bisect_right(self._keys, after) if after else 0
        page = self._keys[start : start + min(limit, PAGE_ROWS)]
        rows = [[key, self.state[key]] for key in page]
        return _encode([0, rows, start + len(page) < len(self._keys)])


def walk(body: str, rows: int) -> tuple[int, Outcome]:
    """Returns the fuel a run took, and its outcome."""
    state = {f"k{i:06}": {"n": i, "name": f"row {i}", "tags": ["a", "b"]} for i in range(rows)}
    guest = LuaGuest(Paging(state), memory_bytes=MEMORY_BYTES)
    code = body.replace("ROWS", str(rows))
    guest.load(f"local M = {{}}\nfunction M.f(self)\n{code}\nend\nreturn M")
    outcome = guest.run("f")
    assert outcome.error is None, outcome.error
    return guest.fuel_used, outcome


@pytest.mark.parametrize("name", WALKS)
def test_a_row_costs_the_same_however_many_there_are(name: str) -> None:
    """100, 1,000 and 10,000 rows cost the same for each row; so many changed are two runs' work."""
    most = 5_000 if name == "change" else 10_000
    fuel = [walk(WALKS[name], rows)[0] / rows for rows in (100, 1_000, most)]
    assert max(fuel) < min(fuel) * FACTOR_MAX, fuel


def test_changes_under_rows_of_all_pages_are_written() -> None:
    """Rows of pages left long ago are followed: through the value, and through a part of it."""
    _, outcome = walk(
        """local whole, parts = {}, {}
        for k, v in self:scan('') do whole[k], parts[k] = v, v.tags end
        whole.k000003.n = -1 parts.k000500[1] = 'x' whole.k000700.tags = lithox.list{}""",
        1_000,
    )
    assert {key: (value["n"], value["tags"]) for key, value in outcome.writes.items()} == {
        "k000003": (-1, ["a", "b"]),
        "k000500": (500, ["x", "b"]),
        "k000700": (700, []),
    }


@pytest.mark.parametrize("page_rows", [1, 2, 3, 100])
def test_writes_ahead_of_the_cursor_are_met_and_those_behind_are_not(page_rows: int) -> None:
    """Keys written before the walk began and rows changed ahead of it show what they are now."""
    host = Host(state={f"k{i}": {"n": i} for i in range(8)}, page_rows=page_rows)
    outcome = run_source(
        """self.state.k00 = {n = 100} self.state.k41 = {n = 141} self.state.k7 = nil
        rawset(self.state, 'k42', {n = 142}) rawset(self.state, 'k5', nil)
        local seen = lithox.list{}
        for k, v in self:scan('k') do
          seen[#seen + 1] = k .. '=' .. v.n
          if k == 'k2' then
            self.state.k1 = {n = 11} self.state.k3 = nil self.state.k6 = {n = 16}
            self.state.k41.n = 241
          end
          v.n = v.n + 1
        end
        return seen""",
        host=host,
    )
    assert outcome.error is None, outcome.error
    shown = "k0=0 k00=100 k1=1 k2=2 k4=4 k41=241 k42=142 k6=16"
    assert outcome.value == shown.split()
    gone = ["k3", "k5", "k7"]
    assert {key for key, value in outcome.writes.items() if value is None} == set(gone)
    left = {key: value["n"] for key, value in outcome.writes.items() if key not in gone}
    now = "k0=1 k00=101 k1=11 k2=3 k4=5 k41=242 k42=143 k6=17"
    assert {f"{key}={n}" for key, n in left.items()} == set(now.split())


@pytest.mark.parametrize("complete", [False, True])
def test_a_walk_goes_on_after_a_call_has_changed_the_state(complete: bool) -> None:
    """Rows that were on the page are shown as the call has left them, and none twice."""
    state = {"a": {"n": 1}, "b": {"n": 2}, "c": 3, "d": {"n": 4}, "f": 6}
    host = Host(state=dict(state), page_rows=10)

    def change(*_: Any) -> bytes:
        host.state = {"a": {"n": 1}, "c": 30, "d": {"n": 40}, "e": 5, "f": 6}
        return messages.encode_answer(None, True)

    host.answers["call"] = change
    outcome = run_source(
        """local seen = lithox.list{}
        for k, v in pairs(self.state) do
          seen[#seen + 1] = k .. (type(v) == 'table' and v.n or v)
          if k == 'a' then self:call('o', 'h') end
        end
        return seen""",
        host=host,
        state=state if complete else None,
        complete=complete,
    )
    assert outcome.error is None, outcome.error
    assert outcome.value == ["a1", "c30", "d40", "e5", "f6"]


def test_what_a_call_has_told_is_not_told_again() -> None:
    """Each call brings what has changed and was read since the last one that was not refused."""
    refusal = messages.encode_refusal(10, "request.not_found", "no such entity", {})
    told: list[Any] = []

    def take(_entity: str, handler: str, _args: Any, *used: Any) -> bytes:
        told.append(list(used))
        return refusal if handler == "fail" else messages.encode_answer(None, False)

    outcome = run_source(
        """local s = self.state
        s.a = s.a + 1          self:call('o', 'go')
        s.b.n = s.b.n + 1      self:call('o', 'go')
        s.c = nil              pcall(self.call, self, 'o', 'fail')
                               self:call('o', 'go')
        s.a = 1 s.c = 7        self:call('o', 'go')
        s.c = nil""",
        host=Host(answers={"call": take}),
        state={"a": 1, "b": {"n": 2}, "c": 3},
        complete=True,
    )
    assert outcome.error is None, outcome.error
    assert told == [
        [["a"], [], {"a": 2}],
        [["b"], [], {"b": {"n": 3}}],
        [[], [], {"c": None}],
        [[], [], {"c": None}],
        [[], [], {"a": 1, "c": 7}],
    ]
    assert (outcome.reads, outcome.scans, outcome.writes) == ([], [], {"c": None})


def test_what_a_message_that_never_left_would_have_told_is_told_later() -> None:
    """A value that cannot be sent stops the call; the next message has all that it would have."""
    host = Host(answers={"call": messages.encode_answer(None, False)})
    outcome = run_source(
        """local n = self.state.a
        for _ in self:scan('x') do end
        self.state.b, self.state.c = 2, print
        assert(not pcall(self.call, self, 'o', 'h'))
        self:log('info', 'between')
        self.state.c = nil
        self:call('o', 'h')""",
        host=host,
        state={"a": 1},
        complete=True,
    )
    assert outcome.error is None, outcome.error
    assert host.calls[-1][4:] == [["a"], ["x"], {"b": 2, "c": None}]

"""self.state: what is asked of the host, what is reported as used, what is written."""

from __future__ import annotations

import pytest

from lithox.sandbox import messages
from tests.conformance.lua.driver import Host, LuaGuest, Outcome, run_source


def names(host: Host) -> list[str]:
    return [call[0] for call in host.calls]


def test_counter_needs_no_system_call() -> None:
    """A preloaded key is read and written without asking the host."""
    host = Host()
    outcome = run_source(
        "self.state.count = (self.state.count or 0) + 1", host=host, state={"count": 4}
    )
    assert host.calls == []
    assert (outcome.reads, outcome.scans, outcome.writes) == (["count"], [], {"count": 5})


def test_complete_state_needs_no_call_for_absent_keys() -> None:
    """When the whole state was sent, an absent key is known to be absent, and counts as read."""
    host = Host()
    outcome = run_source("return self.state.nothing", host=host, state={"a": 1}, complete=True)
    assert host.calls == []
    assert (outcome.value, outcome.reads) == (None, ["nothing"])


def test_missing_key_is_asked_once() -> None:
    """A key that was not sent is fetched at its first use and kept."""
    host = Host(state={"a": {"x": 1}})
    outcome = run_source("return self.state.a.x + self.state.a.x", host=host)
    assert host.calls == [["get", "a"]]
    assert (outcome.value, outcome.reads, outcome.writes) == (2, ["a"], {})


def test_unused_keys_are_not_read() -> None:
    """Keys sent along but not used are no part of the read set."""
    outcome = run_source("return self.state.a", state={"a": 1, "b": 2})
    assert outcome.reads == ["a"]


def test_blind_write_is_not_a_read() -> None:
    """Writing a key without looking is a write, even of the value it has, and no read."""
    outcome = run_source("self.state.a = 1 return self.state.a", state={"a": 1})
    assert (outcome.value, outcome.reads, outcome.writes) == (1, [], {"a": 1})


def test_nested_change_is_seen() -> None:
    """A change deep inside a table that came out of state becomes a write of its key."""
    outcome = run_source("self.state.a.list[2].x = 5", state={"a": {"list": [1, {"x": 2}]}})
    assert outcome.writes == {"a": {"list": [1, {"x": 5}]}}


def test_change_and_back_is_no_write() -> None:
    """What ends as it was loaded is not written."""
    outcome = run_source("self.state.a.x = 9 self.state.a.x = 1", state={"a": {"x": 1}})
    assert (outcome.reads, outcome.writes) == (["a"], {})


def test_table_put_into_state_is_followed() -> None:
    """A table assigned to a key is written as it is at the end, and shared tables are copied."""
    outcome = run_source("local t = {1} self.state.a = t self.state.b = {t, t} t[2] = 2")
    assert outcome.writes == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


def test_nil_deletes() -> None:
    """Assigning nil deletes a key that was there, and afterwards it reads as absent."""
    outcome = run_source(
        "local v = self.state.a self.state.a = nil return self.state.a == nil", state={"a": 1}
    )
    assert (outcome.value, outcome.writes) == (True, {"a": None})


def test_blind_delete_is_a_write() -> None:
    """Deleting a key unseen is a write of nil."""
    outcome = run_source("self.state.a = nil")
    assert (outcome.reads, outcome.writes) == ([], {"a": None})


def test_rawset_loses_nothing() -> None:
    """Rawset goes past the metatable, and is still a write."""
    assert run_source("rawset(self.state, 'a', 1)").writes == {"a": 1}


@pytest.mark.parametrize("value", [[], {}, {"a": []}, [[], {}], {"b": {}, "l": [[]]}])
def test_empty_tables_keep_their_kind(value: object) -> None:
    """An empty list stays a list and an empty map a map, wherever it was loaded."""
    outcome = run_source("self.state.copy = self.state.v", state={"v": value})
    assert outcome.writes == {"copy": value}


def test_emptied_list_stays_a_list() -> None:
    """A list whose last element is removed is an empty list."""
    outcome = run_source("table.remove(self.state.v)", state={"v": [1]})
    assert outcome.writes == {"v": []}


def test_bytes_that_spell_text_are_not_rewritten() -> None:
    """Reading bytes that happen to be valid UTF-8 is no change."""
    outcome = run_source("return self.state.v", state={"v": b"abc"})
    assert outcome.writes == {}


def test_pairs_is_a_scan_in_byte_order() -> None:
    """pairs(self.state) pages through the host's keys by bytes; the host knows what it showed."""
    host = Host(state={"é": 1, "b": 2, "a": {"x": 1}, "a1": 3, "c": 4})
    outcome = run_source(
        "local t = lithox.list{} for k, v in pairs(self.state) do t[#t + 1] = k end return t",
        host=host,
    )
    assert outcome.value == ["a", "a1", "b", "c", "é"]
    assert (outcome.reads, outcome.scans) == ([], [])
    assert names(host) == ["scan", "scan"]


def test_complete_state_is_walked_without_calls() -> None:
    """When the whole state was sent, pairs needs no system call."""
    host = Host()
    outcome = run_source(
        "local n = 0 for k, v in pairs(self.state) do n = n + v end return n",
        host=host,
        state={"b": 2, "a": 1},
        complete=True,
    )
    assert (outcome.value, host.calls, outcome.scans) == (3, [], [""])


def test_scan_sees_own_changes() -> None:
    """A scan shows what the run wrote and not what it deleted, in place."""
    host = Host(state={"p/a": 1, "p/c": 3, "q": 9})
    outcome = run_source(
        """self.state["p/b"] = 2 self.state["p/a"] = nil self.state["p/d"] = 4
        local t = {} for k, v in self:scan("p/") do t[#t + 1] = {k, v} end return t""",
        host=host,
    )
    assert outcome.value == [["p/b", 2], ["p/c", 3], ["p/d", 4]]
    assert outcome.scans == []


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize(
    ("after", "keys"),
    [
        ("", ["p/a", "p/b", "p/bb", "p/d", "p/é"]),
        ("p/a", ["p/b", "p/bb", "p/d", "p/é"]),
        ("p/ba", ["p/bb", "p/d", "p/é"]),
        ("p/é", []),
        ("o", ["p/a", "p/b", "p/bb", "p/d", "p/é"]),
        ("q", []),
    ],
)
def test_a_scan_begins_behind_a_key(complete: bool, after: str, keys: list[str]) -> None:
    """`after` need not exist; own changes before it are left out, and only pages behind it read."""
    state = {"p/a": 1, "p/c": {"n": 3}, "p/d": 4, "p/é": 5, "q": 9}
    host = Host(state={} if complete else state)
    outcome = run_source(
        """self.state["p/b"] = 2 self.state["p/bb"] = {} self.state["p/c"] = nil
        local t = lithox.list{}
        for k in self:scan("p/", AFTER) do t[#t + 1] = k end
        return t""".replace("AFTER", f'"{after}"'),
        host=host,
        state=state if complete else None,
        complete=complete,
    )
    assert (outcome.value, outcome.scans) == (keys, ["p/"] if complete else [])
    scans = [call for call in host.calls if call[0] == "scan"]
    assert [call[1:3] for call in scans[:1]] == ([] if complete else [["p/", after]])


def test_after_is_a_text() -> None:
    """What is no key is refused, in the scan and not while it is walked."""
    for after in ("{}", '"\\255"', "true"):
        outcome = run_source(f'return pcall(self.scan, self, "p/", {after})')
        assert outcome.value is False


def test_tables_from_a_scan_are_followed() -> None:
    """Changing a table met in a scan is a write of its key."""
    host = Host(state={f"k{i}": {"n": i} for i in range(7)})
    outcome = run_source(
        "for k, v in pairs(self.state) do if v.n == 5 then v.n = 50 end end", host=host
    )
    assert outcome.writes == {"k5": {"n": 50}}


def test_deleting_while_walking() -> None:
    """A key deleted before the walk reaches it is not met."""
    host = Host(state={"a": 1, "b": 2, "c": 3})
    outcome = run_source(
        """local t = {} for k in pairs(self.state) do
        t[#t + 1] = k if k == "a" then self.state.b = nil end end return t""",
        host=host,
    )
    assert (outcome.value, outcome.writes) == (["a", "c"], {"b": None})


def test_call_carries_what_was_used_and_changed() -> None:
    """A call tells all reads, scans and writes; what it told is not told again."""
    host = Host(state={"a": 1}, answers={"call": messages.encode_answer("done", False)})
    outcome = run_source(
        """self.state.a = self.state.a + 1
        return self:call("other/x", "go", 1, "two", {3})""",
        host=host,
    )
    assert host.calls[-1] == [
        "call",
        "other/x",
        "go",
        [1, "two", [3]],
        ["a"],
        [],
        {"a": 2},
    ]
    assert (outcome.value, outcome.reads, outcome.writes) == ("done", [], {})


def test_change_sent_with_a_call_and_taken_back_is_a_change() -> None:
    """A key that went out changed and came back to its old value is written once more."""
    host = Host(answers={"call": messages.encode_answer(None, False)})
    outcome = run_source(
        "self.state.a = self.state.a + 1 self:call('o', 'h') self.state.a = 1",
        host=host,
        state={"a": 1},
    )
    assert outcome.writes == {"a": 1}


def test_call_that_changed_our_state_drops_the_cache() -> None:
    """After a cycle of calls has changed the state, values are asked anew."""
    host = Host(state={"a": 7}, answers={"call": messages.encode_answer(None, True)})
    outcome = run_source(
        "local before = self.state.a self:call('o', 'h') return {before, self.state.a}",
        host=host,
        state={"a": 1, "b": 2},
        complete=True,
    )
    assert outcome.value == [1, 7]
    assert host.calls[0][4] == outcome.reads == ["a"]
    assert names(host) == ["call", "get"]


def test_refusal_is_a_table_with_code_and_message() -> None:
    """What the host refuses is raised as a table a program can look into."""
    refusal = messages.encode_refusal(10, "request.not_found", "no such entity", {"entity": "o"})
    outcome = run_source(
        """local ok, e = pcall(self.call, self, "o", "h")
        return {ok, e.code, e.message, e.entity, tostring(e)}""",
        host=Host(answers={"call": refusal}),
    )
    assert outcome.value == [
        False,
        "request.not_found",
        "no such entity",
        "o",
        "no such entity",
    ]


@pytest.mark.parametrize("name", ["request", "send", "after"])
def test_calls_of_later_issues_raise_what_the_host_says(name: str) -> None:
    """self:request, self:send and self:after raise the host's refusal."""
    first = "5" if name == "after" else "'o'"
    outcome = run_source(f"self:{name}({first}, 'h', 1)")
    assert outcome.error is not None
    assert outcome.error.code == "request.not_available"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("self.state[1] = 1", "keys of self.state are text; found a number"),
        ("return self.state[{}]", "keys of self.state are text; found a table"),
        ("self.state['\\xff'] = 1", "keys of self.state are valid UTF-8 text"),
        ("rawset(self.state, 1, 1)", "keys of self.state are text; found a number"),
        ("return #self.state", "self.state is a map without a length; count with pairs"),
        ("return next(self.state)", "next does not walk self.state; use pairs(self.state)"),
        ("self.state = {}", "self.state cannot be set; what must last goes into self.state"),
        ("return self.state", "self and self.state are not values; copy what is needed"),
        ("setmetatable(self.state, nil)", "cannot change a protected metatable"),
        ("self.call('o', 'h')", "methods are called with a colon, as in self:call(...)"),
    ],
)
def test_misuse_is_explained(body: str, message: str) -> None:
    """What cannot work says what to do instead."""
    outcome = run_source(body)
    assert outcome.error is not None
    assert message in outcome.error.message


def test_state_is_not_there_while_a_module_loads() -> None:
    """No system call but log is possible before a run."""
    host = Host()
    guest = LuaGuest(host)
    guest.load("print('loading', os.time(), os.clock()) return {f = function() end}")
    assert host.log == [("info", "loading\t0\t0.0", None)]


def test_finalizer_makes_no_system_calls() -> None:
    """A finalizer that touches state is refused, so that it never comes between a call."""
    outcome: Outcome = run_source(
        """local seen
        setmetatable({}, {__gc = function() seen = {pcall(function() return self.state.x end)} end})
        collectgarbage()
        return seen[2]"""
    )
    assert "a finalizer makes no system calls" in outcome.value

"""The storage service on a real node, pre-emptive and cooperative: programs that check it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lithox.errors import NotPermitted
from lithox.model.ids import AccountName, Identity
from lithox.model.request import Caller
from lithox.node.node import Node
from lithox.security.identities import LOCAL_OPERATOR
from tests.conformance.services.keeping import (
    LISTENER,
    MODES,
    check,
    publish,
    reach,
    wait_log,
    with_node,
)

HEAD = """
local S = os.contexts.storage
local function ok(name, ...)
  local r = table.pack(os.request(S, name, ...))
  if r[1] ~= 0 then error(name .. ": " .. tostring(r[1]) .. " " .. tostring(r[3] or r[2]), 2) end
  return table.unpack(r, 2, r.n)
end
local function refused(code, name, ...)
  local status, found, message = os.request(S, name, ...)
  if status == 0 or found ~= code then
    error(name .. ": " .. tostring(found) .. " instead of " .. code .. ": " .. tostring(message), 2)
  end
  return status
end
local function same(found, wanted)
  if found ~= wanted then error(tostring(found) .. " is not " .. tostring(wanted), 2) end
end
"""


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


def run_checks(data: Path, mode: str, *parts: str) -> None:
    """Runs each part as the program `app`, one after the other, on one node."""

    async def work(node: Node) -> None:
        for part in parts:
            await check(node, "app", HEAD + part)

    with_node(data, mode, work)


def test_keys_and_values(tmp_path: Path, mode: str) -> None:
    """Put, get, delete, scan, compare-and-set, counters: for every kind of value, and refusals."""
    run_checks(
        tmp_path,
        mode,
        """
        same(ok("get", "a"), nil)
        for key, value in pairs{text = "x", bytes = "\\255\\0", int = 1 << 62, float = 0.5,
                                no = false, list = lithox.list{1, 2}} do
          same(ok("put", key, value), true)
          local found = ok("get", key)
          if key == "list" then same(#found, 2) else same(found, value) end
        end
        same(ok("delete", "text"), true)
        same(ok("delete", "text"), false)
        local rows, more = ok("scan", "", nil, 2)
        same(#rows, 2) same(rows[1][1], "bytes") same(more, true)
        rows, more = ok("scan", "", rows[2][1], 10)
        same(#rows, 3) same(rows[1][1], "int") same(more, false)
        same(#ok("scan", "l"), 1)
        same(ok("compare_and_set", "c", nil, {1, {2}}), true)
        same(ok("compare_and_set", "c", {1, {3}}, "new"), false)
        same(ok("compare_and_set", "c", {1, {2}}, "new"), true)
        same(ok("compare_and_set", "c", "new", nil), true)
        same(ok("get", "c"), nil)
        same(ok("add", "n"), 1) same(ok("add", "n", 41), 42) same(ok("add", "n", -0.5), 41.5)
        same(refused("storage.not_a_number", "add", "int2", "x") > 0, true)
        """.replace(
            'same(refused("storage.not_a_number", "add", "int2", "x") > 0, true)',
            'refused("request.bad_arguments", "add", "int2", "x")',
        ),
        """
        same(ok("get", "n"), 41.5)
        same(refused("storage.not_a_number", "add", "bytes"), 1002)
        refused("request.bad_arguments", "put", "a", nil)
        refused("request.bad_arguments", "put", "", 1)
        refused("request.bad_arguments", "put", ("k"):rep(481), 1)
        refused("request.bad_arguments", "put", "\\255", 1)
        refused("request.bad_arguments", "put", {}, 1)
        refused("request.bad_arguments", "put", "a", 1, {ttl_ms = 0})
        refused("request.bad_arguments", "put", "a", 1, 5)
        refused("request.bad_arguments", "scan", "", nil, 0)
        refused("request.too_large", "put", "a", ("x"):rep(300000))
        refused("context.no_such_name", "open", "other")
        refused("context.no_such_name", "operate")
        """,
    )


def test_streams(tmp_path: Path, mode: str) -> None:
    """Read, write, append, truncate and the cursor, over the borders of chunks and with holes."""
    run_checks(
        tmp_path,
        mode,
        """
        same(ok("size"), 0)
        same(ok("append", "hello "), 0) same(ok("append", "world"), 6)
        same(ok("read", 0, 100), "hello world") same(ok("read", 6, 2), "wo")
        same(ok("read", 50, 2), "")
        same(ok("seek", "set", 6), 6) same(ok("read", nil, 3), "wor") same(ok("read", nil, 9), "ld")
        same(ok("write", nil, "!"), true) same(ok("size"), 12)
        same(ok("seek", "cur"), 12) same(ok("seek", "end", -1), 11) same(ok("read", nil, 5), "!")
        ok("seek", "set", 0)
        local cids, found = {}, {}
        cids[1], cids[2] = os.call(S, "read", nil, 2), os.call(S, "read", nil, 2)
        cids[3], cids[4] = os.call(S, "seek", "cur", 2), os.call(S, "read", nil, 1)
        for _ = 1, 4 do
          local event = os.pull()
          found[event.cid] = event.args[1]
        end
        same(found[cids[1]], "he") same(found[cids[2]], "ll")
        same(found[cids[3]], 6) same(found[cids[4]], "w")
        refused("request.bad_arguments", "seek", "set", -1)
        refused("request.bad_arguments", "seek", "middle", 1)
        local big = ("0123456789abcdef"):rep(12000)
        same(ok("write", 65530, big), true)
        same(ok("size"), 65530 + #big)
        same(ok("read", 65530, #big), big)
        same(ok("read", 12, 65518), ("\\0"):rep(65518))
        same(ok("write", 131060, "XYZ"), true)
        same(ok("read", 131058, 7), big:sub(65529, 65530) .. "XYZ" .. big:sub(65534, 65535))
        same(ok("truncate", 131061), true)
        same(ok("read", 131059, 100), big:sub(65530, 65530) .. "X")
        same(ok("truncate", 200000), true)
        same(ok("read", 131060, 4), "X\\0\\0\\0")
        refused("request.bad_arguments", "read", -1, 5)
        refused("request.bad_arguments", "write", 0, 5)
        refused("request.bad_arguments", "read", 0, 1 << 30)
        same(ok("truncate", 0), true) same(ok("usage").used, 0)
        """,
    )


def test_operations_of_one_process_keep_their_order(tmp_path: Path, mode: str) -> None:
    """Calls made without waiting are performed in their order, and all are answered."""
    run_checks(
        tmp_path,
        mode,
        """
        local cids, last = {}, nil
        for i = 1, 60 do
          local cid = os.call(S, i % 20 == 0 and "get" or "add", i % 20 == 0 and "n" or "n", 1)
          cids[cid] = i
        end
        local seen, value = 0, 0
        while seen < 60 do
          local event = os.pull()
          same(event.type, "answer") same(event.status, 0)
          local i = cids[event.cid]
          seen = seen + 1
          same(event.args[1], i - i // 20)
        end
        """,
    )


def test_too_many_at_once_are_refused_and_the_rest_answered(tmp_path: Path, mode: str) -> None:
    """A process that floods is told so; what was accepted is done, and others go on."""
    run_checks(
        tmp_path,
        mode,
        """
        local accepted, answered, over = 0, 0, 0
        for i = 1, 250 do
          local cid = os.call(S, "append", ("x"):rep(1000))
          if cid then accepted = accepted + 1 end
        end
        while answered < accepted do
          local event = os.pull()
          answered = answered + 1
          if event.status ~= 0 then over = over + 1 same(event.args[1], "request.overloaded") end
        end
        same(ok("size"), (accepted - over) * 1000)
        if accepted - over < 64 then error("fewer than the queue were accepted") end
        """,
    )


def test_the_quota_holds_and_deleting_makes_room(tmp_path: Path, mode: str) -> None:
    """Beyond the quota writes are refused with the code and nothing of them is kept."""

    async def work(node: Node) -> None:
        code = (
            HEAD
            + """
            same(ok("usage").quota, 8192)
            same(ok("put", "a", ("x"):rep(5000)), true)
            same(refused("storage.full", "put", "b", ("x"):rep(5000)), 1001)
            refused("storage.full", "append", ("x"):rep(4000))
            refused("storage.full", "write", 1 << 40, "x")
            refused("storage.full", "truncate", 1 << 40)
            same(ok("get", "b"), nil) same(ok("size"), 0)
            same(ok("put", "a", "small"), true)
            same(ok("append", ("x"):rep(4000)), 0)
            same(ok("delete", "a"), true) same(ok("truncate", 0), true)
            same(ok("usage").used, 0)
            """
        )
        await publish(node, app=code)
        definition = {
            "program": "app",
            "storage": True,
            "quota": 8192,
            "restart": "never",
            "contexts": ["log.*"],
        }
        await node.service_put("app", definition)
        row = await reach(node, "app", "stopped", "failed")
        assert row["last_exit"]["status"] == 0, row["last_exit"]["message"]

    with_node(tmp_path, mode, work)


def test_expiry_goes_by_the_time_of_the_run(tmp_path: Path, mode: str) -> None:
    """What has expired is gone for every operation, and its room can be used again."""
    run_checks(
        tmp_path,
        mode,
        """
        same(ok("put", "short", 1, {ttl_ms = 1}), true)
        same(ok("put", "long", 2, {ttl_ms = 3600000}), true)
        same(ok("put", "ever", 3), true)
        os.sleep(5)
        same(ok("get", "short"), nil) same(#ok("scan", ""), 2)
        same(ok("add", "short", 7), 7)
        same(ok("expire", "long", 1), true) same(ok("expire", "none", 1), false)
        same(ok("expire", "ever", 3600000), true) same(ok("expire", "ever", nil), true)
        os.sleep(5)
        same(ok("compare_and_set", "long", nil, "again"), true)
        same(ok("delete", "long"), true)
        for i = 1, 60 do ok("put", "e" .. i, ("x"):rep(200000), {ttl_ms = 1}) os.sleep(2) end
        for i = 1, 60 do ok("put", "f" .. i, ("x"):rep(200000), {ttl_ms = 1}) os.sleep(2) end
        same(#ok("scan", ""), 2)
        """,
    )


def test_locks_of_one_process(tmp_path: Path, mode: str) -> None:
    """Lock, unlock, renew and their refusals; each token is larger than all before."""
    run_checks(
        tmp_path,
        mode,
        """
        local first = ok("lock", "l")
        same(refused("storage.locked", "lock", "l"), 1003)
        same(ok("unlock", "l"), true)
        same(refused("storage.not_locked", "unlock", "l"), 1004)
        local second = ok("lock", "l", "shared", {lease_ms = 20})
        if second <= first then error("tokens must grow") end
        same(ok("renew", "l", 50), second)
        os.sleep(80)
        refused("storage.not_locked", "renew", "l", 50)
        refused("request.bad_arguments", "lock", "l", "both")
        refused("request.bad_arguments", "lock", {})
        refused("request.bad_arguments", "lock", "l", "shared", {lease_ms = -1})
        for i = 1, 256 do ok("lock", "many" .. i) end
        refused("request.overloaded", "lock", "one more")
        """,
    )


def test_locks_between_processes_are_fair_and_freed_by_death(tmp_path: Path, mode: str) -> None:
    """Waiters get a lock in their order; a killed holder's lock goes to the next."""
    run_checks(
        tmp_path,
        mode,
        """
        local out = os.context()
        os.bind(out, "say")
        local text = [[
          local S, out, name, how = os.contexts.storage, os.contexts.out, ...
          local status, token = os.request(S, "lock", "l", how)
          os.request(out, "say", name, status, token)
          os.pull(600000)
        ]]
        local function start(name, how)
          return os.run_code(text, {args = {name, how}, contexts = {storage = S, out = out}})
        end
        local function heard()
          local event
          repeat event = os.pull() until event.type == "call"
          os.answer(event.cid, 0)
          same(event.args[2], 0)
          return event.args[1], event.args[3]
        end
        local a = start("a", "exclusive")
        local name, token = heard()
        same(name, "a")
        refused("storage.locked", "lock", "l", "exclusive", {timeout_ms = 0})
        refused("request.deadline_passed", "lock", "l", "exclusive", {timeout_ms = 20})
        local b, c, d = start("b", "shared"), nil, nil
        os.sleep(30)
        c = start("c", "shared") os.sleep(30)
        d = start("d", "exclusive") os.sleep(30)
        os.kill(a)
        local one, token_b = heard()
        local two, token_c = heard()
        same(one, "b") same(two, "c")
        if not (token < token_b and token_b < token_c) then error("tokens must grow") end
        refused("storage.locked", "lock", "l", "shared", {timeout_ms = 0})
        os.kill(b) os.kill(c)
        same((heard()), "d")
        os.kill(d)
        ok("lock", "l", "exclusive", {timeout_ms = 20000})
        """,
    )


def test_who_ends_without_waiting_keeps_nobody_out(tmp_path: Path, mode: str) -> None:
    """Thirty short lives with operations and locks under way; storage opens for the next."""
    life = """
        local S = os.contexts.storage
        for i = 1, 8 do os.call(S, "lock", "l") end
        for i = 1, 40 do os.call(S, "put", "k" .. i, "x") end
        os.exit(0)
    """
    crowd = f"""
        ok("lock", "l")
        local text = [[{life}]]
        for _ = 1, 30 do
          assert(os.run_code(text, {{contexts = {{storage = S}}}}))
          local event
          repeat event = os.pull() until event.type == "exit"
        end
        -- Its answer comes after all that was asked for before.
        repeat local status = os.request(S, "get", "k1") until status == 0
        print("all have ended")
        while true do os.pull() end
    """
    many = """
        for i = 1, 40 do assert(os.call(S, "put", "k" .. i, i)) end
        for _ = 1, 40 do same(os.pull().status, 0) end
        ok("lock", "l", "exclusive")
    """

    async def work(node: Node) -> None:
        # It stays, and its space with it: the end of a space answers whatever is left there.
        pid = await node.run_program(code=HEAD + crowd, name="crowd")
        page: dict[str, Any] = {"chunks": [], "next": 0, "exit": None}
        while not page["chunks"] and page["exit"] is None:
            page = await node.read_output(pid, after=page["next"], wait_ms=10_000)
        assert [chunk["data"] for chunk in page["chunks"]] == [b"all have ended\n"]
        await check(node, "next", HEAD + many)

    with_node(tmp_path, mode, work)


def test_spaces_are_by_name_and_their_own(tmp_path: Path, mode: str) -> None:
    """A program finds what it stored when it runs again; another program does not."""

    async def work(node: Node) -> None:
        await check(node, "one", HEAD + 'ok("put", "k", "mine")')
        await check(node, "two", HEAD + 'same(ok("get", "k"), nil)')
        await check(node, "one", HEAD + 'same(ok("get", "k"), "mine")')
        long = "n" * 128
        await check(node, long, HEAD + 'ok("put", "k", "long")')
        state = node.admin_list_state(
            f"~storage/{'n' * 60}/~{'n' * 60}/~{'n' * 8}", "k/", "", 10, LOCAL_OPERATOR
        )
        assert state["items"]["k/k"]["v"] == "long"

    with_node(tmp_path, mode, work)


def test_nobody_else_reaches_the_entities(tmp_path: Path) -> None:
    """Only the storage service and administrators may call a space's entity."""

    async def work(node: Node) -> None:
        await check(node, "one", HEAD + 'ok("put", "k", 1)')
        alice = Caller(identity=Identity("alice"), account=AccountName("alice"))
        with pytest.raises(NotPermitted):
            await node.call("~storage/one", "operate", [{"op": "get", "key": "k"}], caller=alice)
        found = await node.call("~storage/one", "operate", [{"op": "get", "key": "k"}])
        assert found == [{"values": [1]}]
        code = 'print(os.request(0, "entity.request", "~storage/one", "operate", lithox.list{}))'
        await publish(node, thief=code)
        await node.service_put("thief", {"program": "thief", "contexts": ["*"], "restart": "never"})
        await reach(node, "thief", "stopped")
        assert b"request.not_permitted" in (await node.service_logs("thief"))["text"]

    with_node(tmp_path, "preemptive", work)


def test_storage_that_dies_comes_back_with_what_was_acknowledged(tmp_path: Path, mode: str) -> None:
    """After the storage service is killed its users start again with new contexts and old data."""

    async def work(node: Node) -> None:
        code = (
            HEAD
            + """
            local n = ok("add", "starts")
            print("start", n, "token", (ok("lock", "l")))
            """
            + LISTENER
        )
        await publish(node, app=code)
        await node.service_put("app", {"program": "app", "storage": True, "backoff_min": "1ms"})
        await wait_log(node, "app", "start\t1")
        row = await node.service_show("storage")
        node.kill(row["pid"], LOCAL_OPERATOR)
        text = await wait_log(node, "app", "start\t2")
        tokens = [int(line.rsplit("\t", 1)[1]) for line in text.splitlines() if "token" in line]
        assert len(tokens) == 2
        assert tokens == sorted(set(tokens))

    with_node(tmp_path, mode, work)

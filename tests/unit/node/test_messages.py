"""Messages and timers on a whole node: looked at, put right, audited, gone with their entity."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.records import DEAD, OUTBOX
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.dispatch.schedules.records import DUE, schedules_of
from lithox.errors import ConfigError, MessageQueueFull, NotFound, NotPermitted
from lithox.modules.bundle import Bundle
from lithox.node import message_admin
from lithox.node.config import NodeConfig, read_config
from lithox.node.node import Node
from lithox.security.identities import LOCAL_OPERATOR
from lithox.store.contract import Range
from lithox.testing.scripted import ScriptedEngine
from tests.unit.dispatch.schedules.clockwork import HOUR_MS, MODULE
from tests.unit.node.test_node import ALICE, run

QUICK = NodeConfig(messages=MessageBounds(tries_max=2, pause_first_ms=1, pause_last_ms=2))


def bundle(engine: ScriptedEngine) -> Bundle:
    source = engine.publish("box", MODULE)
    manifest = (
        '[[template]]\nmatch = "box/**"\nlanguage = "lua"\nsource = "box"\n'
        'access = ["entity:**", {who = "alice", rights = ["read", "call"]}]\n'
    )
    return Bundle(manifest=manifest, files={"box": source.text})


async def until(is_so: Callable[[], bool]) -> None:
    """Waits for what the node's own loop will bring about."""
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - it polls a loop that has no event for this
            await asyncio.sleep(0)


def count(node: Node, entity: str) -> int:
    """Returns how many rows a system entity has."""
    snapshot = node._store.open_snapshot()
    try:
        return len(snapshot.scan(Range(entity, "", None), 10_000).items)
    finally:
        snapshot.release()


def acts(node: Node) -> list[tuple[str, str, str, str]]:
    """Returns (who, act, outcome, detail) of all administrative acts but deploys, oldest first."""
    return [
        (one["identity"], one["act"], one["outcome"], one["detail"])
        for one in reversed(node.read_audit(100, LOCAL_OPERATOR))
        if one["act"].startswith("admin:")
    ]


async def kill_two(node: Node, engine: ScriptedEngine) -> list[str]:
    """Makes two dead letters from box/a to box/b; returns their ids, in order."""
    await node.deploy(bundle(engine))
    ids = [await node.call("box/a", "send", "box/b", "fail_until", word) for word in ("1", "2")]
    await until(lambda: count(node, DEAD) == 2)
    return sorted(ids)


def test_dead_letters_are_listed_with_all_that_tells_why(tmp_path: Path) -> None:
    """Sender, receiver, handler, arguments, tries and the last error, by id and in pages."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        ids = await kill_two(node, engine)
        rows, more = await node.messages_dead()
        assert ([row["id"] for row in rows], more) == (ids, False)
        row = rows[0]
        assert (row["sender"], row["receiver"], row["handler"]) == ("box/a", "box/b", "fail_until")
        assert (row["tries"], row["code"], row["account"]) == (2, "guest.raised", "operator")
        assert row["args"] in (["1"], ["2"])
        assert "not mended" in row["message"]
        first, more = await node.messages_dead(limit=1)
        assert ([one["id"] for one in first], more) == (ids[:1], True)
        rest, more = await node.messages_dead(after=ids[0], limit=1)
        assert ([one["id"] for one in rest], more) == (ids[1:], False)

    run(tmp_path, body, config=QUICK)


def test_a_dead_letter_is_delivered_again_once_however_often_it_is_asked_for(
    tmp_path: Path,
) -> None:
    """Of two acts at once one brings it back; it takes effect once, after the cause is mended."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        ids = await kill_two(node, engine)
        await node.call("box/b", "mend")
        moved = await asyncio.gather(
            node.messages_retry(ids[:1]), node.messages_retry(), node.messages_retry(["m.none"])
        )
        assert moved == [1, 1, 0]
        await until(lambda: count(node, OUTBOX) == 0)
        assert sorted(await node.call("box/b", "note", "end")) == ["1", "2"]
        assert node.dispatcher.mail.statistics()["dead"] == count(node, DEAD) == 0
        told = sorted(act[1:] for act in acts(node))
        assert told == [("admin:messages:retry", "ok", f"{n} messages") for n in (0, 1, 1)]

    run(tmp_path, body, config=QUICK)


def test_purged_letters_are_gone_for_good(tmp_path: Path) -> None:
    """By id, then all; each act is told in the audit."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        ids = await kill_two(node, engine)
        assert await node.messages_purge([ids[0], ids[0]]) == 1
        assert await node.messages_purge() == 1
        assert await node.messages_purge() == 0
        assert count(node, DEAD) == node.dispatcher.mail.statistics()["dead"] == 0
        assert [act[3] for act in acts(node)] == ["1 messages", "1 messages", "0 messages"]

    run(tmp_path, body, config=QUICK)


@pytest.mark.patches_source
def test_a_letter_without_room_stays_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The administrator is told, as a sender would be."""
    bounds = MessageBounds(tries_max=1, pair_max=1)

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle(engine))
        await node.call("box/a", "send", "box/b", "fail_until", "1")
        await until(lambda: node.dispatcher.mail.waiting.count == 0)
        monkeypatch.setattr(node.dispatcher.mail.delivery, "_pump", lambda: None)
        await node.call("box/a", "send", "box/b", "note", "2")
        with pytest.raises(MessageQueueFull):
            await node.messages_retry()
        assert count(node, DEAD) == 1

    run(tmp_path, body, config=NodeConfig(messages=bounds))


@pytest.mark.patches_source
def test_letters_without_room_keep_none_behind_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page without room is passed over: letters of other pairs behind it are brought back."""
    monkeypatch.setattr(message_admin, "BATCH_MAX", 1)
    bounds = MessageBounds(tries_max=1, pair_max=1)

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle(engine))
        names = ["box/b", "box/c", "box/d"]
        ids = {name: await node.call("box/a", "send", name, "fail_until", "1") for name in names}
        await until(lambda: node.dispatcher.mail.waiting.count == 0)
        monkeypatch.setattr(node.dispatcher.mail.delivery, "_pump", lambda: None)
        first = min(ids, key=lambda name: ids[name])
        await node.call("box/a", "send", first, "note", "2")
        assert await node.messages_retry() == 2
        assert [row["id"] for row in (await node.messages_dead())[0]] == [ids[first]]

    run(tmp_path, body, config=NodeConfig(messages=bounds))


def test_messages_that_wait_are_listed_to_administrators_only(tmp_path: Path) -> None:
    """With their tries; a refusal is an act in the audit too."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle(engine))
        message_id = await node.call("box/a", "send", "box/b", "fail_until", "x")
        await until(lambda: node.dispatcher.mail.statistics()["failed_total"] > 0)
        rows, more = await node.messages_list()
        assert ([row["id"] for row in rows], more) == ([message_id], False)
        assert rows[0]["tries"] >= 1
        for ask in (node.messages_list, node.messages_dead, node.messages_retry):
            with pytest.raises(NotPermitted):
                await ask(caller=ALICE)
        with pytest.raises(NotPermitted):
            await node.messages_purge(caller=ALICE)
        assert {act[2] for act in acts(node) if act[0] == "alice"} == {"request.not_permitted"}

    run(tmp_path, body)


def test_timers_are_listed_to_readers_and_cancelled_by_writers(tmp_path: Path) -> None:
    """A reader of the entity may look; only who may write its state may cancel."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle(engine))
        spec = {"handler": "note", "args": ["x"], "every": HOUR_MS, "name": "hourly"}
        await node.call("box/a", "arm", spec)
        rows, more = await node.timers_list("box/a", caller=ALICE)
        assert ([row["id"] for row in rows], more) == (["hourly"], False)
        assert (rows[0]["every"], rows[0]["args"]) == (HOUR_MS, ["x"])
        with pytest.raises(NotPermitted):
            await node.timers_cancel("box/a", "hourly", caller=ALICE)
        with pytest.raises(NotFound):
            await node.timers_cancel("box/a", "daily")
        await node.timers_cancel("box/a", "hourly")
        assert await node.timers_list("box/a") == ([], False)
        assert count(node, DUE) == node.dispatcher.timers.armed.count == 0
        assert [act[1:3] for act in acts(node)] == [
            ("admin:cancel_timer:hourly", "request.not_permitted"),
            ("admin:cancel_timer:daily", "request.not_found"),
            ("admin:cancel_timer:hourly", "ok"),
        ]

    run(tmp_path, body)


def test_deleting_an_entity_deletes_its_timers(tmp_path: Path, monkeypatch: Any) -> None:
    """In pages when there are many; another's timers stay."""
    monkeypatch.setattr("lithox.node.timer_deletion.PAGE_MAX", 4)

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle(engine))
        for name in ("box/a", "box/b"):
            await node.call(name, "arm_many", 10, HOUR_MS)
        await node.admin_delete("box/a", LOCAL_OPERATOR)
        assert (count(node, schedules_of("box/a")), count(node, DUE)) == (0, 10)
        assert node.dispatcher.timers.armed.count_of_entity("box/a") == 0
        assert node.dispatcher.timers.armed.count == 10
        with pytest.raises(NotFound):
            await node.admin_show("box/a", LOCAL_OPERATOR)

    run(tmp_path, body)


def test_messages_and_timers_outlast_the_node(tmp_path: Path) -> None:
    """What waits when a node closes is delivered by the next one."""

    async def first(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle(engine))
        node.messages_side.stop()
        await node.call("box/a", "send", "box/b", "note", "message")
        await node.call("box/b", "arm", {"handler": "note", "args": ["timer"], "after": 1})

    async def second(node: Node, engine: ScriptedEngine) -> None:
        engine.publish("box", MODULE)
        await until(lambda: count(node, OUTBOX) == count(node, DUE) == 0)
        assert sorted(await node.call("box/b", "note", "end")) == ["message", "timer"]

    run(tmp_path, first)
    run(tmp_path, second)


def test_figures_of_messages_and_timers_are_metrics(tmp_path: Path) -> None:
    """What waits, what is dead, what is armed."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await kill_two(node, engine)
        await node.call("box/a", "arm", {"handler": "note", "after": HOUR_MS})
        figures = node.statistics()
        assert (figures["messages_dead"], figures["messages_died_total"]) == (2, 2)
        assert (figures["messages_waiting"], figures["timers_armed"]) == (0, 1)

    run(tmp_path, body, config=QUICK)


def test_bounds_are_configured_in_tables(tmp_path: Path) -> None:
    """`[messages]` and `[timers]`, sizes and durations with their units."""
    path = tmp_path / "node.toml"
    path.write_text(
        '[messages]\npair = 5\nnode_size = "1MiB"\naccount_size = "1KiB"\ndead_size = 9\n'
        'pause_last = "2s"\ntries = 3\n'
        '[timers]\nentity = 7\ninterval = "1s"\nlate = "1m"\n'
    )
    config = read_config(path)
    assert config.messages == MessageBounds(
        pair_max=5,
        account_bytes_max=1024,
        node_bytes_max=1 << 20,
        dead_bytes_max=9,
        pause_last_ms=2_000,
        tries_max=3,
    )
    assert config.timers == TimerBounds(entity_max=7, interval_min_ms=1_000, late_ms=60_000)
    assert lithox.Node(tmp_path / "data", config=config).config.messages.pair_max == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[messages]\nspeed = 1\n",
            "messages: unknown key 'speed'; known are account, account_size, dead, ",
        ),
        ("[messages]\npair = 0\n", "messages: pair_max is a whole number above 0"),
        ("[timers]\nlate = true\n", "timers: late_ms is a whole number above 0"),
        ("timers = 1\n", "timers is a table"),
    ],
)
def test_wrong_bounds_are_told_by_name(tmp_path: Path, text: str, words: str) -> None:
    """An unknown key or a wrong value names file, table and key."""
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_config(path)
    assert raised.value.message.startswith(f"{path}: {words}")

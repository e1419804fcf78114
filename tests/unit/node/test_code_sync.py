"""The code of handlers reaches every process of a server, as the lead has it, and whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.dispatch.module_cells import chunk_keys
from lithox.dispatch.records import ModuleRecord, encode_record
from lithox.errors import NotFound, PeerProtocolError
from lithox.node import code_sync
from lithox.node.code_sync import MODULE, TEMPLATES
from lithox.node.node import Node
from tests.unit.node.test_deploying import SlowEngine, large
from tests.unit.node.test_node import COUNTER, bundle_of


def asker(lead: Node, asked: list[str]) -> Callable[[str, Any], Awaitable[Any]]:
    """Returns what asks `lead`, as a link does."""

    async def ask(name: str, payload: Any) -> Any:
        asked.append(name)
        sync = lead.code_sync
        return await {TEMPLATES: sync.tell_templates, MODULE: sync.tell_module}[name](payload)

    return ask


def run(tmp_path: Path, body: Callable[[Node, Node, SlowEngine], Awaitable[None]]) -> None:
    async def main() -> None:
        engine = SlowEngine()
        engine.publish("counter", COUNTER)
        engines: Any = {"lua": engine, "wasm": engine}
        async with (
            Node(tmp_path / "lead", engines=engines) as lead,
            Node(tmp_path / "other", engines=engines) as other,
        ):
            await body(lead, other, engine)

    asyncio.run(main())


def test_what_the_lead_has_is_served_here(tmp_path):
    """Templates and modules, a large one too; what is here already is not sent again."""

    async def body(lead, other, engine):
        asked: list[str] = []
        ask = asker(lead, asked)
        assert not await other.code_sync.pull(ask)
        await lead.deploy(bundle_of(engine))
        await lead.deploy(large())
        with pytest.raises(NotFound):
            await other.call("counter/a", "increment")
        assert await other.code_sync.pull(ask)
        assert await other.call("counter/a", "increment", 2) == 2
        assert await other.call("big/a", "increment", 3) == 3
        asked.clear()
        assert not await other.code_sync.pull(ask)
        assert asked == [TEMPLATES]
        await lead.deploy(large("other/*"))
        assert await other.code_sync.pull(ask)
        assert asked == [TEMPLATES, TEMPLATES]
        assert await other.call("other/a", "increment") == 1

    run(tmp_path, body)


def test_a_template_that_is_replaced_is_replaced_here(tmp_path):
    """The newest code runs from the moment `pull` returns."""

    async def body(lead, other, engine):
        ask = asker(lead, [])
        await lead.deploy(large("counter/*", 100))
        await other.code_sync.pull(ask)
        await lead.deploy(large("counter/*", 200))
        await other.code_sync.pull(ask)
        digests = [one.module for one in other.dispatcher.catalog.templates]
        assert digests == [one.module for one in lead.dispatcher.catalog.templates]
        assert await other.call("counter/a", "increment") == 1

    run(tmp_path, body)


def test_a_lead_that_deploys_meanwhile_is_asked_again(tmp_path):
    """A module that is gone when it is asked for is no failure."""

    async def body(lead, other, engine):
        await lead.deploy(large("counter/*", 100))
        plain = asker(lead, [])
        failures = ["once"]

        async def ask(name, payload):
            if name == MODULE and failures:
                failures.pop()
                raise NotFound("it is gone")
            return await plain(name, payload)

        assert await other.code_sync.pull(ask)
        assert await other.call("counter/a", "increment") == 1

    run(tmp_path, body)


def test_two_at_once_take_turns(tmp_path):
    """The second finds nothing to do."""

    async def body(lead, other, engine):
        await lead.deploy(large("counter/*", 100))
        ask = asker(lead, [])
        found = await asyncio.gather(*(other.code_sync.pull(ask) for _ in range(3)))
        assert found == [True, False, False]

    run(tmp_path, body)


@pytest.mark.parametrize("rows", [None, [1], [["a"]], [["a", 3]], {"a": 1}])
def test_rows_that_are_none_change_nothing(tmp_path, rows):
    """A lead that talks rubbish is a fault of the peer."""

    async def body(lead, other, engine):
        async def ask(_name, _payload):
            return rows

        with pytest.raises(PeerProtocolError):
            await other.code_sync.pull(ask)

    run(tmp_path, body)


def test_a_module_that_is_cut_off_is_not_taken():
    """A module arrives whole or not at all."""
    record = ModuleRecord(language="wasm", name="m", size=200 << 10)
    keys = chunk_keys(record)

    async def ask(_name, payload):
        if payload[1] is None:
            return encode_record(record)
        return [[key, b"x"] for key in keys[:2] if key >= payload[1]]

    with pytest.raises(NotFound, match="not whole"):
        asyncio.run(code_sync._fetch("d", ask))


@pytest.mark.parametrize("payload", [None, [], ["a"], ["a", 1], [b"a", None]])
def test_a_question_that_is_none_is_refused(tmp_path, payload):
    """Whoever asks is told."""

    async def body(lead, other, engine):
        with pytest.raises(lithox.BadArguments):
            await lead.code_sync.tell_module(payload)
        with pytest.raises(NotFound):
            await lead.code_sync.tell_module(["unknown", None])

    run(tmp_path, body)


def test_what_could_not_be_taken_over_is_tried_again_until_it_is(tmp_path):
    """With growing pauses; meanwhile the node does not say that it is ready."""

    async def body(lead, other, engine):
        pauses: list[float] = []
        left = [10]
        plain = asker(lead, [])

        async def rest(pause_s):
            pauses.append(pause_s)
            assert not other.is_ready()
            await asyncio.sleep(0)

        async def ask(name, payload):
            if left[0]:
                left[0] -= 1
                raise lithox.StoreUnavailable("the lead is away", retry_after_ms=1)
            return await plain(name, payload)

        sync = other.code_sync
        sync._sleep = rest
        await lead.deploy(bundle_of(engine))
        with pytest.raises(lithox.StoreUnavailable):
            await sync.pull(ask)
        with pytest.raises(lithox.StoreUnavailable):
            await sync.pull(ask)
        assert not other.is_ready()
        await sync._again
        assert await other.call("counter/a", "increment") == 1
        assert other.is_ready()
        assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]

    run(tmp_path, body)


def test_a_commit_that_fails_when_nobody_waits_for_it_is_made_again(tmp_path, monkeypatch):
    """Who asked is gone with its link, and the disk recovers later."""

    async def body(lead, other, engine):
        sync = other.code_sync
        held: list[Callable[[Exception | None], None]] = []
        submit = other._store.submit

        def hold(commit, on_done):
            held.append(on_done)
            return 1

        async def rest(_pause_s):
            monkeypatch.setattr(other._store, "submit", submit, raising=False)

        sync._sleep = rest
        await lead.deploy(bundle_of(engine))
        monkeypatch.setattr(other._store, "submit", hold, raising=False)
        waiting = asyncio.create_task(sync.pull(asker(lead, [])))
        while not held:  # noqa: ASYNC110 - there is nothing to wait for but the turn
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        held[0](lithox.StoreUnavailable("the disk is full", retry_after_ms=1))
        assert sync.is_behind
        await sync._again
        assert await other.call("counter/a", "increment") == 1

    run(tmp_path, body)


def test_a_node_that_closes_tries_nothing_again(tmp_path):
    """Nothing is left on the loop."""

    async def body(lead, other, engine):
        async def ask(_name, _payload):
            raise lithox.StoreUnavailable("the lead is away", retry_after_ms=1)

        sync = other.code_sync
        with pytest.raises(lithox.StoreUnavailable):
            await sync.pull(ask)
        again = sync._again
        sync.stop()
        with pytest.raises(asyncio.CancelledError):
            await again
        with pytest.raises(lithox.StoreUnavailable):
            await sync.pull(ask)
        assert sync._again is None

    run(tmp_path, body)

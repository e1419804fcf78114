"""A whole node in this process, on a temporary directory, with scripted guests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.modules.bundle import Bundle
from lithox.node.config import NodeConfig
from lithox.node.node import Node
from lithox.security.identities import LOCAL_OPERATOR, KnownIdentity, digest_of_token
from lithox.testing.script import Module, ScriptedSelf
from lithox.testing.scripted import ScriptedEngine

ALICE = lithox.Caller(identity="alice", account="alice")  # type: ignore[arg-type]
BOB = lithox.Caller(identity="bob", account="bob")  # type: ignore[arg-type]


def increment(_self: ScriptedSelf, by: int = 1) -> Any:
    count = (yield ("get", "count")) or 0
    yield ("set", "count", count + by)
    return count + by


def spin(_self: ScriptedSelf) -> Any:
    yield ("spin",)


COUNTER: Module = {"increment": increment, "spin": spin}


def bundle_of(engine: ScriptedEngine, *, match: str = "counter/*", extra: str = "") -> Bundle:
    source = engine.publish("counter", COUNTER)
    manifest = f'[[template]]\nmatch = "{match}"\nlanguage = "lua"\nsource = "counter"\n{extra}'
    return Bundle(manifest=manifest, files={"counter": source.text})


def run(
    tmp_path: Path,
    body: Callable[[Node, ScriptedEngine], Awaitable[None]],
    *,
    config: NodeConfig | None = None,
) -> None:
    """Runs `body` with an open node in a loop of its own."""

    async def main() -> None:
        engine = ScriptedEngine()
        async with Node(tmp_path / "data", engines={"lua": engine}, config=config) as node:
            await body(node, engine)

    asyncio.run(main())


def test_what_was_deployed_and_written_survives_the_node(tmp_path: Path) -> None:
    """State, templates and recorded answers are there when the node opens again."""

    async def first(node: Node, engine: ScriptedEngine) -> None:
        report = await node.deploy(bundle_of(engine))
        assert report.templates == ["counter/*"]
        assert report.handlers == {"counter/*": ["increment", "spin"]}
        assert await node.call("counter/a", "increment", 5, request_id="r") == 5

    async def second(node: Node, engine: ScriptedEngine) -> None:
        engine.publish("counter", COUNTER)
        assert await node.call("counter/a", "increment", 5, request_id="r") == 5
        assert await node.call("counter/a", "increment") == 6

    run(tmp_path, first)
    run(tmp_path, second)


def test_second_node_on_one_directory_is_refused(tmp_path: Path) -> None:
    """One data directory has one node; the message names the holder."""

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        with pytest.raises(lithox.StoreInUse, match="in use by process"):
            await Node(node.data, engines={}).open()
        await node.call("~node", "info")

    run(tmp_path, body)


def test_deploy_is_all_or_nothing(tmp_path: Path) -> None:
    """When one template of two cannot be published, neither is."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        good = bundle_of(engine)
        bad = Bundle(
            manifest=good.manifest
            + '[[template]]\nmatch = "x/*"\nlanguage = "lua"\nsource = "x"\n',
            files={**good.files, "x": b"not published"},
        )
        with pytest.raises(lithox.CompileFailed):
            await node.deploy(bad)
        with pytest.raises(lithox.NotFound):
            await node.call("counter/a", "increment")

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("extra", "error", "text"),
    [
        ("[template.handlers.nope]\n", lithox.NotFound, "does not give; it gives increment, spin"),
        ('access = [{who = "a", rights = ["fly"]}]\n', lithox.ConfigError, "found 'fly'"),
        (
            '[[template]]\nmatch = "*/a"\nlanguage = "lua"\nsource = "counter"\n',
            lithox.ConfigError,
            "equally literal",
        ),
        (
            '[[template]]\nmatch = "~lithox/x"\nlanguage = "lua"\nsource = "counter"\n',
            lithox.ConfigError,
            "node's own",
        ),
        (
            '[[template]]\nmatch = "p/*"\nlanguage = "python"\nsource = "counter"\n',
            lithox.NotAvailable,
            "no engine for 'python'",
        ),
    ],
)
def test_wrong_manifest_is_told(
    tmp_path: Path, extra: str, error: type[Exception], text: str
) -> None:
    """What is wrong with a bundle is said, and nothing of it is published."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        with pytest.raises(error, match=text):
            await node.deploy(bundle_of(engine, extra=extra))
        assert node.info()["templates"] == []

    run(tmp_path, body)


def test_only_administrators_deploy(tmp_path: Path) -> None:
    """A caller without the admin right may not publish code, and it is on record."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        with pytest.raises(lithox.NotPermitted):
            await node.deploy(bundle_of(engine), caller=ALICE)
        newest = node.read_audit(1, LOCAL_OPERATOR)
        assert (newest[0]["identity"], newest[0]["act"]) == ("alice", "deploy")

    run(tmp_path, body)


def test_administrative_interface_reads_and_writes_state(tmp_path: Path) -> None:
    """Put, get, list and delete work on keys; runs see what was put; it is on record."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        await node.admin_put_state("counter/a", "count", 41, LOCAL_OPERATOR)
        assert await node.call("counter/a", "increment") == 42
        assert node.admin_get_state("counter/a", "count", LOCAL_OPERATOR) == 42
        await node.admin_put_state("counter/a", "name", b"\xff", LOCAL_OPERATOR)
        listed = node.admin_list_state("counter/a", "", "", 10, LOCAL_OPERATOR)
        assert listed == {"items": {"count": 42, "name": b"\xff"}, "more": False}
        shown = await node.admin_show("counter/a", LOCAL_OPERATOR)
        assert (shown["owner"], shown["template"], shown["keys"]) == ("operator", "counter/*", 2)
        await node.admin_delete_state("counter/a", "name", LOCAL_OPERATOR)
        with pytest.raises(lithox.NotFound):
            node.admin_get_state("counter/a", "name", LOCAL_OPERATOR)
        acts = [one["act"] for one in node.read_audit(10, LOCAL_OPERATOR)]
        assert acts[:3] == ["admin:delete:name", "admin:put:name", "admin:put:count"]

    run(tmp_path, body)


def test_deleted_entity_is_gone_whole(tmp_path: Path) -> None:
    """Delete takes record and state; a later run begins afresh."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        await node.call("counter/a", "increment", 5)
        assert node.list_entities("counter/", "", 10, LOCAL_OPERATOR)["entities"] == ["counter/a"]
        await node.admin_delete("counter/a", LOCAL_OPERATOR)
        assert node.list_entities("counter/", "", 10, LOCAL_OPERATOR)["entities"] == []
        with pytest.raises(lithox.NotFound):
            await node.admin_show("counter/a", LOCAL_OPERATOR)
        assert await node.call("counter/a", "increment") == 1

    run(tmp_path, body)


def test_strangers_may_neither_read_nor_write(tmp_path: Path) -> None:
    """The administrative interface asks the entity's access list, and no entity can change it."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        extra = 'access = [{who = "bob", rights = ["read"]}]\n'
        await node.deploy(bundle_of(engine, extra=extra))
        await node.call("counter/a", "increment")
        assert node.admin_get_state("counter/a", "count", BOB) == 1
        with pytest.raises(lithox.NotPermitted):
            await node.admin_put_state("counter/a", "count", 0, BOB)
        with pytest.raises(lithox.NotPermitted):
            node.admin_get_state("counter/a", "count", ALICE)
        assert node.list_entities("", "", 10, ALICE)["entities"] == []
        assert node.list_entities("", "", 10, BOB)["entities"] == ["counter/a"]
        with pytest.raises(lithox.NotPermitted):
            node.admin_get_state("~lithox/templates", "counter/*", LOCAL_OPERATOR)

    run(tmp_path, body)


def test_handlers_of_an_entity_can_be_overridden(tmp_path: Path) -> None:
    """`put_handlers` changes the entity's own limits from the next run on."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        await node.admin_put_handlers(
            "counter/a", {"spin": {"priority": 9, "limits": {"fuel": 1000}}}, LOCAL_OPERATOR
        )
        shown = node.admin_get_handlers("counter/a", LOCAL_OPERATOR)["spin"]
        assert (shown["priority"], shown["limits"]["fuel"]) == (9, 1000)
        with pytest.raises(lithox.LimitExceeded) as caught:
            await node.call("counter/a", "spin")
        assert caught.value.fields["allowed"] == 1000
        with pytest.raises(lithox.BadArguments):
            await node.admin_put_handlers("counter/a", {"spin": {"x": 1}}, LOCAL_OPERATOR)

    run(tmp_path, body)


def test_kill_reaches_only_ones_own_processes(tmp_path: Path) -> None:
    """A caller sees and ends processes of its own account; an administrator all."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        extra = 'access = ["*"]\nlimits = {fuel = 2_000_000_000}\n'
        await node.deploy(bundle_of(engine, extra=extra))
        call = asyncio.ensure_future(node.call("counter/a", "spin", caller=ALICE))
        while not node.processes(ALICE):  # noqa: ASYNC110 - one turn of the loop starts it
            await asyncio.sleep(0)
        [row] = node.processes(ALICE)
        assert (row["entity"], row["handler"], row["account"]) == ("counter/a", "spin", "alice")
        assert node.processes(BOB) == []
        with pytest.raises(lithox.NotFound):
            node.kill(row["pid"], BOB)
        node.kill(row["pid"], ALICE)
        with pytest.raises((lithox.Cancelled, lithox.LimitExceeded)):
            await call

    run(tmp_path, body)


def test_tokens_name_callers(tmp_path: Path) -> None:
    """With identities configured a token is needed, and names identity and account."""
    known = KnownIdentity(
        name="alice",  # type: ignore[arg-type]
        account="acme",  # type: ignore[arg-type]
        token_sha256=digest_of_token("secret"),
    )

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        caller = node.identify("secret", is_loopback=False)
        assert (caller.identity, caller.account, caller.is_admin) == ("alice", "acme", False)
        for token in (None, "wrong", "x" * 1000):
            with pytest.raises(lithox.Unauthenticated):
                node.identify(token, is_loopback=True)

    run(tmp_path, body, config=NodeConfig(identities=(known,)))


def test_closing_ends_what_runs_and_refuses_what_comes(tmp_path: Path) -> None:
    """A request that came before the close is answered; one that comes after is refused."""

    async def main() -> None:
        engine = ScriptedEngine()
        node = Node(tmp_path / "data", engines={"lua": engine})
        await node.open()
        await node.deploy(bundle_of(engine))
        call = asyncio.ensure_future(node.call("counter/a", "increment"))
        await asyncio.sleep(0)
        await node.close()
        assert await call == 1
        with pytest.raises(lithox.StoreUnavailable):
            await node.call("counter/a", "increment")
        await node.close()

    asyncio.run(main())


def test_node_tells_what_it_is(tmp_path: Path) -> None:
    """Info and statistics are plain data; the node entity gives the same natively."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        info = await node.call("~node", "info")
        assert info["templates"] == ["counter/*"]
        assert info["languages"] == ["lua"]
        assert node.statistics()["requests_total"] >= 1
        assert node.is_ready()

    run(tmp_path, body)

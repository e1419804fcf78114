"""The administrative interface under load, abuse and cancellation, on a whole node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.dispatch.records import ENTITY_KEY, EntityRecord, encode_record
from lithox.errors import BadArguments, ConfigError, LithoxError, NotFound, StoreUnavailable
from lithox.node import admin as admin_module
from lithox.node import deletion as deletion_module
from lithox.node import deploy as deploy_module
from lithox.node import opening as opening_module
from lithox.node import pages
from lithox.node.commits import submit_durably
from lithox.node.node import Node
from lithox.security.identities import LOCAL_OPERATOR
from lithox.store.contract import Commit
from lithox.store.memory import MemoryDisk, MemoryStore
from lithox.testing.scripted import ScriptedEngine
from tests.unit.node.test_node import ALICE, BOB, COUNTER, bundle_of, run

OPEN_TO_BOB = 'access = [{who = "bob", rights = ["read"]}]\n'


async def write(node: Node, writes: dict[tuple[str, str], bytes | None]) -> None:
    """Writes cells as they are."""
    store = node._store
    done = submit_durably(store, Commit(store.visible_version, (), (), writes), lambda _: None)
    assert done is not None
    await done


def acts(node: Node, count: int) -> list[tuple[str, str, str]]:
    return [
        (one["identity"], one["act"], one["outcome"])
        for one in node.read_audit(count, LOCAL_OPERATOR)
    ]


def test_page_of_state_is_bounded_in_bytes(tmp_path: Path) -> None:
    """A page ends with the item that crosses the bound; going on from it misses nothing."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        value = b"\xc4\xff" + b"x" * 255
        names = [f"k{number:03}" for number in range(100)]
        await write(node, {("counter/a", name): value for name in names})
        found: list[str] = []
        more = True
        while more:
            page = node.admin_list_state(
                "counter/a", "k", found[-1] if found else "", 1000, LOCAL_OPERATOR
            )
            assert 1 <= len(page["items"]) <= 1000 // len(value) + 1
            found += page["items"]
            more = page["more"]
        assert found == names
        one = node.admin_list_state("counter/a", "k", "", 1, LOCAL_OPERATOR)
        assert (list(one["items"]), one["more"]) == (["k000"], True)
        last = node.admin_list_state("counter/a", "k099", "", 1, LOCAL_OPERATOR)
        assert (list(last["items"]), last["more"]) == (["k099"], False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admin_module, "PAGE_BYTES_MAX", 1000)
        run(tmp_path, body)


def test_no_prefix_shows_the_nodes_own_record(tmp_path: Path) -> None:
    """A prefix of NUL finds nothing, whoever asks."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        await node.call("counter/a", "increment")
        listed = node.admin_list_state("counter/a", "\0", "", 10, LOCAL_OPERATOR)
        assert listed == {"items": {}, "more": False}

    run(tmp_path, body)


def test_listing_entities_looks_at_a_bounded_number(tmp_path: Path) -> None:
    """Who may read nothing gets empty pages with a place to go on, and the end in the end."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        await node.deploy(bundle_of(engine, match="bobs/*", extra=OPEN_TO_BOB))
        record = encode_record(EntityRecord(owner="operator", template="counter/*"))
        own = encode_record(EntityRecord(owner="operator", template="bobs/*"))
        await write(
            node,
            {(f"counter/{number}", ENTITY_KEY): record for number in range(7)}
            | {("bobs/1", ENTITY_KEY): own, ("bobs/2", ENTITY_KEY): own},
        )
        looked: list[str] = []
        resolve = node.dispatcher.catalog.resolve

        def count(entity: str, item: Any) -> Any:
            looked.append(entity)
            return resolve(entity, item)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(node.dispatcher.catalog), "resolve", lambda _, *two: count(*two))
            page = node.list_entities("", "", 100, BOB)
            assert (page["entities"], page["more"]) == (["bobs/1", "bobs/2"], True)
            assert len(looked) == 4
            page = node.list_entities("", page["after"], 100, BOB)
            assert (page["entities"], page["more"]) == ([], True)
            page = node.list_entities("", page["after"], 100, BOB)
            assert (page["entities"], page["more"]) == ([], False)
        assert node.list_entities("", "", 1, BOB) == {
            "entities": ["bobs/1"],
            "more": True,
            "after": "bobs/1",
        }
        everything = node.list_entities("", "", 1000, LOCAL_OPERATOR)
        assert (len(everything["entities"]), everything["more"]) == (9, False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "LOOKED_AT_MAX", 4)
        run(tmp_path, body)


def test_large_entity_is_deleted_in_pieces(tmp_path: Path) -> None:
    """No commit of a deletion is larger than its bound; the record goes with the last."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        await node.call("counter/a", "increment")
        await write(node, {("counter/a", f"k{number}"): b"\x01" for number in range(25)})
        sizes: list[int] = []
        submit = node._store.submit

        def watch(commit: Commit, on_done: Any) -> int | None:
            sizes.append(len(commit.writes))
            return submit(commit, on_done)

        node._store.submit = watch  # type: ignore[method-assign]
        await node.admin_delete("counter/a", LOCAL_OPERATOR)
        assert sizes == [10, 10, 7]
        assert node.list_entities("", "", 10, LOCAL_OPERATOR)["entities"] == []
        assert node.admin_list_state("counter/a", "", "", 10, LOCAL_OPERATOR)["items"] == {}
        assert acts(node, 1) == [("operator", "admin:delete", "ok")]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deletion_module, "DELETE_CELLS_MAX", 10)
        run(tmp_path, body)


@pytest.mark.parametrize(
    "handlers",
    [
        {"spin": {"module": 5}},
        {"spin": {"module": ["a"]}},
        {"spin": {"module": "abc"}},
        {"spin": {"priority": "9"}},
        {"spin": {"limits": 5}},
        {"spin": 5},
        {5: {}},
        [],
        {f"h{number}": {} for number in range(257)},
    ],
)
def test_overrides_of_a_wrong_shape_are_refused(tmp_path: Path, handlers: Any) -> None:
    """Another type, a digest that is none, and too many are the caller's mistake."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        with pytest.raises(BadArguments):
            await node.admin_put_handlers("counter/a", handlers, LOCAL_OPERATOR)

    run(tmp_path, body)


def test_override_keeps_the_priority_it_does_not_mention(tmp_path: Path) -> None:
    """Limits alone leave the template's priority as it is."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        extra = "[template.handlers.spin]\npriority = 9\n"
        await node.deploy(bundle_of(engine, extra=extra))
        await node.admin_put_handlers(
            "counter/a", {"spin": {"limits": {"fuel": 9}}}, LOCAL_OPERATOR
        )
        shown = node.admin_get_handlers("counter/a", LOCAL_OPERATOR)["spin"]
        assert (shown["priority"], shown["limits"]["fuel"]) == (9, 9)

    run(tmp_path, body)


def test_handlers_are_told_before_the_first_run_and_of_the_pinned_module(tmp_path: Path) -> None:
    """After a restart nothing is loaded yet; a pinned entity keeps its own module's names."""

    async def first(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine, extra="pin = true\n"))
        await node.call("counter/a", "increment")
        source = engine.publish("other", {"other": COUNTER["spin"]})
        changed = bundle_of(engine, extra="pin = true\n")
        changed.files["counter"] = source.text
        await node.deploy(changed)
        assert list(node.admin_get_handlers("counter/a", LOCAL_OPERATOR)) == ["increment", "spin"]
        assert list(node.admin_get_handlers("counter/b", LOCAL_OPERATOR)) == ["other"]

    async def second(node: Node, engine: ScriptedEngine) -> None:
        engine.publish("counter", COUNTER)
        engine.publish("other", {"other": COUNTER["spin"]})
        assert list(node.admin_get_handlers("counter/a", LOCAL_OPERATOR)) == ["increment", "spin"]
        assert list(node.admin_get_handlers("counter/b", LOCAL_OPERATOR)) == ["other"]

    run(tmp_path, first)
    run(tmp_path, second)


@pytest.mark.parametrize("args", [(), ("x",), (None,), (True,), (-1,), (1, 2), (1.5,)])
def test_kill_of_the_node_entity_wants_a_process_number(tmp_path: Path, args: Any) -> None:
    """A native handler checks what it is given; nothing counts as our bug."""

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        with pytest.raises(BadArguments):
            await node.call("~node", "kill", *args)
        assert node.dispatcher.counters.internal_errors == 0

    run(tmp_path, body)


@pytest.mark.parametrize("wrong", [{"limits": {"fuel": 1}}, {"deadline_ms": "5"}])
def test_embedded_call_checks_its_keywords(tmp_path: Path, wrong: Any) -> None:
    """Limits that are none, and a deadline that is no number, are told as such."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        with pytest.raises(BadArguments):
            await node.call("counter/a", "increment", **wrong)

    run(tmp_path, body)


@pytest.mark.parametrize("match", ["~lithox", "~lithox/*", "~node", "~node/**"])
def test_templates_of_the_nodes_own_entities_are_refused(tmp_path: Path, match: str) -> None:
    """No template can be for what only the node answers."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        with pytest.raises(ConfigError, match="node's own"):
            await node.deploy(bundle_of(engine, match=match))

    run(tmp_path, body)


def test_node_has_a_bound_of_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deploy that would cross it is refused and told; replacing needs no room."""
    monkeypatch.setattr(deploy_module, "NODE_TEMPLATES_MAX", 2)

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine, match="a/*"))
        await node.deploy(bundle_of(engine, match="b/*"))
        with pytest.raises(ConfigError, match="it may have 2"):
            await node.deploy(bundle_of(engine, match="c/*"))
        await node.deploy(bundle_of(engine, match="a/*"))

    run(tmp_path, body)


def test_what_was_submitted_is_followed_up_though_nobody_waits(tmp_path: Path) -> None:
    """A deploy and a deletion whose callers went away are served and on record all the same."""

    async def cancel(node: Node, work: Any) -> None:
        before = node._store.visible_version
        task = asyncio.ensure_future(work)
        while node._store.visible_version == before:  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def settle(node: Node) -> None:
        while node._store.durable_version < node._store.visible_version:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await cancel(node, node.deploy(bundle_of(engine)))
        await settle(node)
        assert await node.call("counter/a", "increment") == 1
        await cancel(node, node.admin_delete("counter/a", LOCAL_OPERATOR))
        await settle(node)
        assert acts(node, 2) == [
            ("operator", "admin:delete", "ok"),
            ("operator", "deploy", "ok"),
        ]

    run(tmp_path, body)


def test_only_durable_templates_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deploy that is visible and then withdrawn was never served."""
    disk = MemoryDisk()

    class OnDisk:
        @staticmethod
        def open(_path: Path, *, post: Any, options: Any) -> MemoryStore:
            del options
            return MemoryStore(post=post, disk=disk)

    monkeypatch.setattr(opening_module, "EmbeddedStore", OnDisk)

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        disk.hold()
        lost = asyncio.ensure_future(node.deploy(bundle_of(engine, match="f/*")))
        await asyncio.sleep(0)
        assert node.info()["templates"] == ["counter/*"]
        disk.fail(StoreUnavailable("full"))
        disk.release()
        with pytest.raises(StoreUnavailable):
            await lost
        assert node.info()["templates"] == ["counter/*"]
        disk.mend()
        await asyncio.sleep(0)
        assert acts(node, 1) == [("operator", "deploy", "store.unavailable")]

    run(tmp_path, body)


def test_refusals_and_failed_acts_are_on_record(tmp_path: Path) -> None:
    """Every refusal, and every act that failed, leaves one audit record with its outcome."""

    def told(work: Any) -> str:
        with pytest.raises(LithoxError) as caught:
            work()
        return caught.value.code

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        assert told(lambda: node.identify("wrong", is_loopback=False)) == "request.unauthenticated"
        assert told(lambda: node.identify("wrong", is_loopback=False)) == "request.unauthenticated"
        assert told(lambda: node.read_audit(1, BOB)) == "request.not_permitted"
        assert told(lambda: node.kill(99, BOB)) == "request.not_found"
        for entity, caller in (("~lithox/modules", BOB), ("counter/a", ALICE)):
            with pytest.raises(lithox.NotPermitted):
                await node.admin_show(entity, caller)
        with pytest.raises(lithox.NotPermitted):
            await node.admin_put_state("counter/a", "k", 1, ALICE)
        with pytest.raises(ConfigError):
            await node.deploy(bundle_of(engine, extra="x = 1\n"))
        with pytest.raises(NotFound):
            await node.admin_delete("counter/77", LOCAL_OPERATOR)
        assert acts(node, 9) == [
            ("operator", "admin:delete", "request.not_found"),
            ("operator", "deploy", "config.invalid"),
            ("alice", "admin:put:k", "request.not_permitted"),
            ("alice", "admin:read", "request.not_permitted"),
            ("bob", "admin:read", "request.not_permitted"),
            ("bob", "kill:99", "request.not_found"),
            ("bob", "read_audit", "request.not_permitted"),
            ("", "identify", "request.unauthenticated"),
            ("operator", "deploy", "ok"),
        ]

    run(tmp_path, body)
